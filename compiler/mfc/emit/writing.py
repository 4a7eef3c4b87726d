"""Writing outputs: all or nothing as far as a file system allows, and never over what is not mfc's.

`prepare` reads what lies in the folder and refuses before anything is touched; `commit` stages every file beside its
place, renames them one by one, and the manifest last. A crash in between leaves the old manifest with some new files,
which `mfc check` sees.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mfc.emit import manifest, place
from mfc.errors import FileInTheWay, MfcError
from mfc.files import read as read_file

if TYPE_CHECKING:
    from mfc.emit.compiled import Compiled


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What a write did, as paths in `folder`."""

    folder: Path
    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]  # written by mfc before, no longer produced
    kept: tuple[str, ...]  # no longer produced, but edited by hand


@dataclass(frozen=True, slots=True)
class Staged:
    """A checked write that has not happened yet."""

    folder: Path
    contents: Mapping[str, bytes]  # to write, the manifest last
    executable: frozenset[str]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]


def prepare(compiled: Compiled, force: bool = False) -> Staged:
    """Check that a write may happen. Raises FileInTheWay, naming every file that stands in the way."""
    folder = compiled.out
    with _told(folder):
        new = {path: text.encode() for path, text in compiled.files.items()}
        fresh = manifest.of(compiled)
        old, obstacles = _old(folder, fresh)
        files = old.files if old else {}
        changed = {}
        for path, content in new.items():
            if os.path.normpath(path) in map(os.path.normpath, fresh.inputs):
                raise FileInTheWay(f"error: {folder / path} is an input, and an output of that name would go there")
            there = _content(place.inside(folder, path))
            if there == content:
                continue
            changed[path] = content
            if there is not None and manifest.digest(there) != files.get(path):
                by = "edited by hand since mfc wrote it" if path in files else "not written by mfc"
                obstacles.append(f"{folder / path}: {by}")
        if obstacles and not force:
            raise FileInTheWay(
                "\n".join(f"error: {line}; kept, nothing was written to {folder}" for line in obstacles)
                + "\n  move your changes into the spec, or --force to overwrite"
            )
        gone = {path: _content(place.inside(folder, path)) for path in files if path not in new}
        ours = {path for path, there in gone.items() if there is not None and manifest.digest(there) == files[path]}
        record = manifest.text(fresh).encode()
        if _content(folder / manifest.NAME) != record:
            changed[manifest.NAME] = record
    return Staged(
        folder=folder,
        contents=changed,
        executable=compiled.executable,
        unchanged=tuple(path for path in new if path not in changed),
        removed=tuple(sorted(ours)),
        kept=tuple(sorted(path for path, there in gone.items() if there is not None and path not in ours)),
    )


def commit(staged: Staged) -> WriteReport:
    """Write what `prepare` checked. Raises MfcError when the folder cannot be written."""
    folder, waiting = staged.folder, {}
    with _told(folder):
        try:
            for path, content in staged.contents.items():
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                waiting[path] = _stage(file, content, path in staged.executable)
            for path in staged.contents:
                if path == manifest.NAME:
                    for gone in staged.removed:
                        (folder / gone).unlink(missing_ok=True)
                os.replace(waiting[path], folder / path)
                del waiting[path]
        finally:
            for temporary in waiting.values():
                temporary.unlink(missing_ok=True)
        for path in staged.executable.intersection(staged.unchanged):
            _make_executable(folder / path)
    written = tuple(path for path in staged.contents if path != manifest.NAME)
    return WriteReport(folder, written, staged.unchanged, staged.removed, staged.kept)


def _old(folder: Path, new: manifest.Manifest) -> tuple[manifest.Manifest | None, list[str]]:
    """The manifest in the way, and what it says against this write."""
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise FileInTheWay(f"error: {folder} is a file, and the outputs need a folder there; it is kept")
    try:
        old = manifest.read(folder)
    except manifest.Broken as error:
        return None, [f"{folder / manifest.NAME}: {error}"]
    if old and (old.spec, old.target) != (new.spec, new.target) and os.path.exists(old.spec_from(os.fspath(folder))):
        return old, [f"{folder} holds the outputs of {old.spec} for {old.target}"]
    return old, []


def _content(file: Path) -> bytes | None:
    """The bytes of a file; None when there is nothing. A link is content of its own kind: never followed, not ours."""
    if os.path.islink(file):
        return b"\0link to " + os.fsencode(os.readlink(file))
    if os.path.isdir(file):
        raise FileInTheWay(f"error: {file} is a folder, and a file must go there; it is kept")
    try:
        return read_file(file)
    except FileNotFoundError:
        return None


def _stage(file: Path, content: bytes, executable: bool) -> Path:
    handle, name = tempfile.mkstemp(prefix=manifest.STAGED[0], suffix=manifest.STAGED[1], dir=file.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        # mkstemp makes private files; outputs get the mode that any new file would.
        temporary.chmod(0o666 & ~_umask())
        if executable:
            _make_executable(temporary)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _make_executable(file: Path) -> None:
    mode = file.stat().st_mode & 0o777
    if (wanted := mode | (mode & 0o444) >> 2) != mode:
        file.chmod(wanted)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Failures of the file system as one clear line."""
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or folder
        raise MfcError(
            f"error: cannot write the outputs to {folder}: {os.fsdecode(where)}: {error.strerror}"
        ) from error
