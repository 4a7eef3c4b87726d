"""Finding specs and their outputs: through git's file list, or outside a repository by walking the folder.

Candidates are told by their text alone, so that looking costs no YAML parser: one is asked only where a text could be a
spec in another style. Light: imports only the standard library otherwise. Git is asked with nothing switched on by
which a repository's own settings could have it start a program.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from mfc.emit import manifest
from mfc.files import read as read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mfc.errors import MfcError

_NAMES = b"mfc|model|hardware|data|train|objective|strategy|run|targets|extends"
_KEYS = re.compile(rb"""^(?:\xef\xbb\xbf)?["']?(%b)["']?[ \t]*:""" % _NAMES, re.MULTILINE)
_ANYWHERE = re.compile(rb"""(?<![\w-])(%b)["']?\s*:""" % _NAMES)  # flow style, indented, `? key`, old line ends
_BASE = re.compile(rb"""(?<![\w-])extends["']?\s*:[^:]*?\.ya?ml""")
_SKIP = frozenset({"node_modules", "__pycache__", "site-packages"})


def specs() -> list[Path]:
    """The specs below the current folder that say themselves what to compile for, in order of their paths."""
    from pathlib import Path

    return [Path(os.path.relpath(path)) for path in sorted(filter(asks, _listing()))]


def everything() -> tuple[list[str], dict[str, list[str]]]:
    """The specs below the current folder, and folder by spec of all committed or new outputs of this repository.

    All paths are absolute. Outputs whose manifest cannot be read are listed under the spec "".
    """
    found, outputs = [], dict[str, list[str]]()
    for path in sorted(_listing(nested=True)):
        if os.path.basename(path) == manifest.NAME:
            folder = os.path.dirname(path)
            outputs.setdefault(owner(folder), []).append(folder)
        elif asks(path):
            found.append(path)
    return found, outputs


def whole(overrides: Sequence[str] = ()) -> tuple[list[Path], list[MfcError]]:
    """The specs found that do name targets once their bases are merged, and what is wrong with those that do not load.

    A base need not be a whole spec: its faults do not count as long as another spec builds on it.
    """
    from mfc import api
    from mfc.errors import MfcError

    good, errors, bases = [], dict[str, MfcError](), set[str]()
    for path in specs():
        try:
            loaded = api.load(path, overrides)
        except MfcError as error:
            errors[absolute(path)] = error
            continue
        bases.update(map(absolute, loaded.sources[1:]))
        if loaded.spec.targets:
            good.append(path)
    return good, [error for path, error in errors.items() if path not in bases]


def scope(arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The specs to check, and the known output folders by spec: for the arguments, or for the current folder."""
    specs, outputs = everything()
    if arguments:
        specs = list(dict.fromkeys(map(absolute, arguments)))
        return specs, {spec: sorted({*outputs.get(spec, ()), *beside(spec)}) for spec in specs}
    here = os.path.join(os.getcwd(), "")
    near = {
        spec: folders for spec, folders in outputs.items() if any(path.startswith(here) for path in (spec, *folders))
    }
    return sorted({*specs, *filter(os.path.exists, near)}), near


def owner(folder: str) -> str:
    """The spec that the outputs in a folder come from, as an absolute path; "" when the manifest does not say."""
    try:
        recorded = manifest.read(folder)
    except manifest.Broken:
        return ""
    return recorded.spec_from(folder) if recorded and recorded.spec else ""


def beside(spec: str) -> Iterator[str]:
    """The output folders at the default place of a spec, listed by git or not."""
    stem = os.path.splitext(spec)[0]
    if os.path.isdir(stem):
        for entry in sorted(os.scandir(stem), key=lambda entry: entry.name):
            if os.path.isfile(os.path.join(entry.path, manifest.NAME)):
                yield entry.path


def asks(path: str) -> bool:
    """Whether a file looks like a whole spec that names its targets, or extends one that may."""
    if not path.endswith((".yaml", ".yml")):
        return False
    try:
        text = read_file(path)
    except OSError:
        return False  # listed by git but deleted, or a link to nowhere
    extends = bool(_BASE.search(text))
    if _like_a_spec(set(_KEYS.findall(text)), extends):
        return True
    return _like_a_spec(set(_ANYWHERE.findall(text)), extends) and _like_a_spec(_top(text), extends)


def _like_a_spec(keys: set[bytes], extends: bool) -> bool:
    """Whether these keys at the top are those of a spec; `extends`: the text names a YAML file as a base."""
    if b"extends" in keys:
        return extends or b"mfc" in keys or len(keys) > 1
    # Without the version line it takes more than one key that other YAML files have too.
    return keys >= {b"model", b"hardware", b"targets"}


def _top(text: bytes) -> set[bytes]:
    """The keys of the mapping that a YAML text is, as far as it can be read."""
    import yaml

    keys, depth, key = set[bytes](), 0, True
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif depth == 1 and key and isinstance(event, yaml.ScalarEvent):
                keys.add(event.value.encode())
            if depth == 1 and not isinstance(event, yaml.DocumentEndEvent):
                key = not key
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth == 1:
                    if not isinstance(event, yaml.MappingStartEvent):
                        return set()
                    key = True
    except (yaml.YAMLError, ValueError, OverflowError):
        pass
    return keys


def absolute(path: str | os.PathLike[str]) -> str:
    """A path by which the same spec is always known: its folder resolved, a link as the file itself kept."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def ignored(path: str) -> bool:
    """Whether git is told not to keep this file."""
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return _git(folder, "check-ignore", "-q", path) is not None


def untracked() -> frozenset[str]:
    """The files of this repository that git has not been told of, and is not told to ignore; absolute paths."""
    here = os.getcwd()
    listed = _git(here, "ls-files", "-z", "--others", "--exclude-standard", "--", ":(top)") or b""
    return frozenset(os.path.normpath(os.path.join(here, os.fsdecode(name))) for name in listed.split(b"\0") if name)


def _listing(*, nested: bool = False) -> Iterable[str]:
    """Absolute paths: YAML files below the current folder, and manifests anywhere in the repository.

    `nested`: those in submodules and other repositories below this folder too.
    """
    here = os.getcwd()
    return _walk(here) if (listed := _listed(here, nested)) is None else listed


def _listed(folder: str, nested: bool) -> set[str] | None:
    words = ["-z", "--cached", "--others", "--exclude-standard", "--", "*.yaml", "*.yml", f":(top)*{manifest.NAME}"]
    # Of another repository in it, git lists the folder alone.
    listed = _git(folder, "ls-files", *words, *(["*/"] if nested else []))
    if listed is None:  # no git here, or no repository
        return None
    found, others = set[str](), set(_submodules(folder)) if nested else set[str]()
    for name in filter(None, listed.split(b"\0")):
        path = os.path.normpath(os.path.join(folder, os.fsdecode(name)))
        (others if name.endswith(b"/") else found).add(path)
    for other in others:
        if os.path.exists(os.path.join(other, ".git")):
            found |= _listed(other, nested) or set()
    return found


def _submodules(folder: str) -> Iterator[str]:
    """The folders of submodules below a folder."""
    top = folder
    while not os.path.exists(os.path.join(top, ".git")) and os.path.dirname(top) != top:
        top = os.path.dirname(top)
    try:
        said = read_file(os.path.join(top, ".gitmodules"))
    except OSError:
        return
    for name in re.findall(rb"^\s*path\s*=\s*(.+?)\s*$", said, re.MULTILINE):
        path = os.path.normpath(os.path.join(top, os.fsdecode(name)))
        if path.startswith(os.path.join(folder, "")):
            yield path


def _git(folder: str, *words: str) -> bytes | None:
    """What git prints; None where it fails or is not there.

    A repository's settings may name programs (a file monitor, remotes, those of a bare repository that lies in it as
    files): none of them is started.
    """
    import subprocess

    safe = ("core.fsmonitor=false", "safe.bareRepository=explicit")
    command = ["git", *(word for one in safe for word in ("-c", one)), *words]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": ""}
    if folder != os.getcwd():  # where a hook of git's runs, they speak of its own repository
        environment = {
            key: value
            for key, value in environment.items()
            if key not in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE")
        }
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _walk(top: str) -> Iterator[str]:
    for folder, folders, files in os.walk(top):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in _SKIP
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
        ]
        for name in files:
            if name.endswith((".yaml", ".yml")) or name == manifest.NAME:
                yield os.path.join(folder, name)
