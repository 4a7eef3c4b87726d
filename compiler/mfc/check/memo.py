"""The memo of `mfc check`: this very spec was recompiled here, by this very mfc, and its outputs matched.

One small file per spec in the user's cache folder. It holds digests of every input read and every output compared,
the files that were looked for in vain, and the identity of mfc and all that is installed beside it. Whatever differs,
is missing or cannot be read is a miss, and a miss recompiles. What others may have written is a miss too: a
memo cannot prove that outputs are what a spec gives, only who says so. An editable install has no memo: its code may
change without a sign. Light: a hit parses no YAML and imports no dependency.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING, Any

from mfc.check import discover
from mfc.emit.manifest import digest, leftovers
from mfc.files import linked, runs
from mfc.files import read as read_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

_SIGNS = (".dist-info", ".egg-info", ".egg-link", ".pth")


def identity() -> str | None:
    """Digest of what may change an answer besides the files: mfc, Python, what is installed, the environment.

    None when mfc is installed editable, or run from its sources.
    """
    import mfc

    package = os.path.dirname(os.path.abspath(mfc.__file__))
    home = os.path.dirname(package)
    if not any(name.startswith("mfc_compiler-") and name.endswith(".dist-info") for name in os.listdir(home)):
        return None
    facts: list[Any] = [sys.version, sys.implementation.name, sys.platform, sys.path]
    facts.append(sorted(item for item in os.environ.items() if item[0].startswith(("MFC_", "PYTHON"))))
    facts.append([_stat(path) for path in sorted(_sources(package))])
    for folder in sys.path:
        if os.path.isdir(folder):
            signs = sorted(name for name in os.listdir(folder) if name.endswith(_SIGNS))
            facts.append([(name, _stat(_record(os.path.join(folder, name)))) for name in signs])
    return digest(json.dumps(facts).encode())


def unchanged(arguments: Sequence[str], tracked: bool = False) -> int | None:
    """How many specs there are to check, when all of them are known to be clean; None otherwise.

    `tracked`: clean is only what git has no untracked output of.
    """
    who = identity()
    if who is None:
        return None
    specs, outputs = discover.scope(arguments)
    known = outputs.keys() <= set(specs)
    known = known and all(recall(spec, outputs.get(spec, ()), who, bool(arguments)) for spec in specs)
    if known and tracked:
        new = discover.untracked()
        known = not any(
            path.startswith(os.path.join(folder, "")) for each in outputs.values() for folder in each for path in new
        )
    return len(specs) if known else None


def recall(spec: str, folders: Collection[str], who: str, named: bool) -> list[str] | None:
    """The inputs of a spec that was found clean before, when nothing that mattered then has changed; None otherwise.

    `folders` are the output folders known to come from it; `who` is the identity. A spec with no outputs is clean only
    as long as it was not `named` by the user.
    """
    try:
        file = _file(spec)
        if not (_own(os.path.dirname(file)) and _own(file)):
            return None
        entry = json.loads(read_file(file))
        same = (
            entry["identity"] == who
            and entry["spec"] == spec
            and (entry["outputs"] or not named)
            and set(folders) <= entry["outputs"].keys()
            and all(_is(path, sha) for path, sha in entry["inputs"].items())
            and not any(os.path.lexists(path) for path in entry["absent"])
            and all(_stat(path) == then for path, then in entry["code"].items())
            and all(
                state(folder, path, read_file(os.path.join(folder, path))) == known
                for folder, files in entry["outputs"].items()
                for path, known in files.items()
            )
            and not any(map(leftovers, entry["outputs"]))
        )
        return list(entry["inputs"]) if same else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _own(path: str) -> bool:
    """Whether a file or folder is this user's, and nobody else may write to it."""
    if not hasattr(os, "getuid"):
        return True  # Windows keeps the cache in the user's own profile
    found = os.lstat(path)
    return found.st_uid == os.getuid() and not stat.S_ISLNK(found.st_mode) and not found.st_mode & 0o022


def state(folder: str, path: str, content: bytes) -> str:
    """What a file of an output folder is: a digest, and whether it is a link or may be started."""
    return f"{digest(content)}{'@' * linked(folder, path)}{'*' * runs(os.path.join(folder, path))}"


def save(
    spec: str,
    who: str,
    inputs: Collection[str],
    absent: Collection[str],
    outputs: Mapping[str, Mapping[str, str]],
    started: int,
) -> None:
    """Remember that a spec is clean. `outputs` are `state`s by folder and path, `started` is when the check began (ns).

    Nothing is kept when an input is as new as the check, or a target's code is editable. A cache that cannot be
    written is no error.
    """
    code = _registered()
    if code is None:
        return
    try:
        if any(os.stat(path).st_mtime_ns >= started for path in inputs):
            return  # it may have changed after it was read
        entry = {
            "identity": who,
            "spec": spec,
            "inputs": {path: _digest(path) for path in inputs},
            "absent": sorted(absent),
            "outputs": outputs,
            "code": code,
        }
        file = _file(spec)
        os.makedirs(os.path.dirname(os.path.dirname(file)), exist_ok=True)
        os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
        # Another check may do the same at this moment: each writes its own file, the last rename wins whole.
        temporary = f"{file}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8", opener=_private) as stream:
            json.dump(entry, stream)
        os.replace(temporary, file)
    except OSError:
        return


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _file(spec: str) -> str:
    return os.path.join(_cache(), "check", digest(os.fsencode(spec))[:32] + ".json")


def _cache() -> str:
    """The user's cache folder for mfc."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(chosen):
        return os.path.join(chosen, "mfc")
    if sys.platform == "win32":
        return os.path.join(os.environ.get("LOCALAPPDATA") or os.path.expanduser("~"), "mfc", "cache")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/mfc")
    return os.path.expanduser("~/.cache/mfc")


def _is(path: str, sha: str) -> bool:
    return _digest(path) == sha


def _digest(path: str) -> str:
    return digest(read_file(path))


def _stat(path: str) -> list[int]:
    """What changes with a file's content, without reading it; empty when it is gone."""
    try:
        found = os.stat(path)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _record(sign: str) -> str:
    """The file that every new installation of a distribution rewrites."""
    return os.path.join(sign, "RECORD") if sign.endswith(".dist-info") else sign


def _sources(folder: str) -> Iterator[str]:
    for entry in os.scandir(folder):
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _sources(entry.path)
        else:
            yield entry.path


def _registered() -> dict[str, list[int]] | None:
    """The code of other packages' targets; None when one is editable, so that its changes would go unseen."""
    from importlib.metadata import entry_points

    code = {}
    for point in entry_points(group="mfc.targets"):
        files = point.dist.files if point.dist else None
        if not files or any(file.name.startswith("__editable__") or file.suffix == ".pth" for file in files):
            return None
        code.update({path: _stat(path) for path in (str(file.locate()) for file in files if file.suffix != ".pyc")})
    return code
