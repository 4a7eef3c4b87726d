"""Drift: whether the files in an output folder still say what the spec gives.

| files against manifest | recompiled against files | verdict |
|---|---|---|
| same | same | clean |
| same | differ | stale |
| differ | differ | edited by hand |
| absent | | missing |
| a link | | edited by hand |
| same, not executable | | stale |
| not expected, or spec gone | | orphaned |

Files that differ from the manifest but are what the spec gives now (a write that was cut short) make the manifest
stale. A manifest that differs in nothing but the version of mfc or the digests of inputs is clean.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mfc.emit import manifest
from mfc.files import linked, runs
from mfc.files import read as read_file

if TYPE_CHECKING:
    from mfc.emit.compiled import Compiled
    from mfc.emit.manifest import Manifest

Verdict = Literal["stale", "edited", "missing", "orphaned", "uncommitted"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One file that is not clean. `diff` is a unified diff from what lies there to what the spec gives."""

    path: Path
    verdict: Verdict
    note: str = ""
    diff: str = ""


def compare(compiled: Compiled, seen: Callable[[str, bytes], object] | None = None) -> list[Finding]:
    """The verdict on each file of one output folder that is not clean.

    `seen`, when given, is told each file's path in the folder and the very content that was compared; the manifest's
    too.
    """
    folder, seen = compiled.out, seen or (lambda *_: None)
    findings: list[Finding] = []
    recorded, broken = _recorded(folder, seen)
    files: Mapping[str, str] = recorded.files if recorded else {}
    unlisted = False
    for path, text in compiled.files.items():
        if linked(folder, path):
            findings.append(Finding(folder / path, "edited", "a link, and mfc writes a file there"))
            continue
        there = _read(folder / path)
        if there is None:
            findings.append(Finding(folder / path, "missing"))
            continue
        seen(path, there)
        as_recorded = files.get(path) == manifest.digest(there)
        if there == text.encode():
            unlisted |= not as_recorded
            if path in compiled.executable and not runs(folder / path):
                findings.append(Finding(folder / path, "stale", "not executable"))
        else:
            verdict: Verdict = "stale" if as_recorded else "edited"
            note = "" if as_recorded or path in files else "not written by mfc"
            findings.append(Finding(folder / path, verdict, note, _diff(folder / path, there, text)))
    for path, sha in files.items():
        if path not in compiled.files and (there := _read(folder / path)) is not None:
            note = "no longer produced" + ("" if manifest.digest(there) == sha else "; edited by hand")
            findings.append(Finding(folder / path, "orphaned", note))
    name = folder / manifest.NAME
    if linked(folder, manifest.NAME):
        findings.append(Finding(name, "edited", "a link, and mfc writes a file there"))
    elif broken:
        findings.append(Finding(name, "edited", broken))
    elif recorded is None:
        findings.append(Finding(name, "missing"))
    elif unlisted or _owner(recorded) != _owner(manifest.of(compiled)):
        findings.append(Finding(name, "stale", "it does not record the files as they are"))
    elif not findings and (gone := sorted(files.keys() - compiled.files.keys())):
        findings.append(Finding(name, "stale", f"it lists {', '.join(gone)}"))
    return findings


def orphans(folder: Path, recorded: Manifest, why: str) -> list[Finding]:
    """All that is left of outputs whose spec is gone, or no longer asks for them."""
    left = [path for path in (*recorded.files, manifest.NAME) if os.path.lexists(folder / path)]
    return [Finding(folder / path, "orphaned", why) for path in left]


def _owner(recorded: Manifest) -> tuple[object, ...]:
    return recorded.spec, recorded.target, recorded.overrides


def _recorded(folder: Path, seen: Callable[[str, bytes], object]) -> tuple[Manifest | None, str]:
    """The manifest, and what is wrong with it."""
    content = _read(folder / manifest.NAME)
    if content is None:
        return None, ""
    seen(manifest.NAME, content)
    try:
        return manifest.parse(content), ""
    except manifest.Broken as error:
        return None, str(error)


def _read(file: Path) -> bytes | None:
    try:
        return read_file(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # a folder, or not ours to read: there, but not what the spec gives
        return f"\0{error.strerror}".encode()


def _diff(file: Path, there: bytes, text: str) -> str:
    import difflib

    name = os.path.relpath(file).replace(os.sep, "/")
    old, new = _lines(there.decode("utf-8", "replace")), _lines(text)
    lines = difflib.unified_diff(old, new, f"{name} (as it is)", f"{name} (from the spec)")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Lines as files count them; `splitlines` would also break at separators inside a string."""
    lines = [line + "\n" for line in text.split("\n")]
    return [*lines[:-1], lines[-1][:-1]] if lines[-1] != "\n" else lines[:-1]
