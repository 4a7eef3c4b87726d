"""Finding specs and their outputs: through git's file list, or outside a repository by walking the folder.

Candidates are told by their text alone, so that looking costs no YAML parser. Light: imports only the standard library.
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

_KEYS = re.compile(rb"""^(?:\xef\xbb\xbf)?["']?(mfc|model|hardware|targets|extends)["']?[ \t]*:""", re.MULTILINE)
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
    for path in sorted(_listing()):
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
        keys = {match.decode() for match in _KEYS.findall(read_file(path))}
    except OSError:
        return False  # listed by git but deleted, or a link to nowhere
    whole = {"model", "hardware"} <= keys or "extends" in keys
    # Without the version line it takes more than one key that other YAML files have too.
    ours = "mfc" in keys or len(keys) > (1 if "extends" in keys else 2)
    return whole and ours and bool(keys & {"targets", "extends"})


def absolute(path: str | os.PathLike[str]) -> str:
    """A path by which the same spec is always known: its folder resolved, a link as the file itself kept."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def ignored(path: str) -> bool:
    """Whether git is told not to keep this file."""
    import subprocess

    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    try:
        return (
            subprocess.run(["git", "check-ignore", "-q", path], cwd=folder, capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False


def _listing() -> Iterable[str]:
    """Absolute paths: YAML files below the current folder, and manifests anywhere in the repository."""
    import subprocess

    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]
    patterns = ["*.yaml", "*.yml", f":(top)*{manifest.NAME}"]
    try:
        listed = subprocess.run([*command, *patterns], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # no git here, or no repository
        return _walk(os.getcwd())
    here = os.getcwd()
    return {os.path.normpath(os.path.join(here, os.fsdecode(name))) for name in listed.split(b"\0") if name}


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
