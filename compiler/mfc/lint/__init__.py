"""What is wrong with a framework's own file: keys without effect, what cannot go together, traps, and whether it fits.

No spec is needed: the file is imported, and what the plan of that import says is told of the file's own keys and lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from mfc import api, imports
from mfc.errors import CannotFit, MfcError, SpecError
from mfc.imports import convert, source
from mfc.imports import lines as places
from mfc.lint import mend

if TYPE_CHECKING:
    from mfc.imports import Imported

Level = Literal["error", "warning", "note"]

# A card on which a file is planned that does not tell its own, for the rules that look at no hardware.
STAND_IN = "H200"
_HARDWARE = {"gpu", "hardware", "memory", "speed", "budget_bytes"}
_LEVELS: Mapping[str, Level] = {
    "bad-value": "error",
    "unknown-key": "error",
    "overruled": "note",
    "no-effect": "warning",
    "idle": "note",
}
_PATH = re.compile(r"\b(?:model|hardware|data|train|strategy|run)(?:\.[a-z_]+)+")


class Finding(NamedTuple):
    """One thing to tell about a file. `line` counts from 1; 0 is the file as a whole."""

    level: Level
    id: str
    message: str
    line: int = 0


class Linted(NamedTuple):
    """All that was found in one file, and how it can be mended."""

    file: str
    one: Imported
    findings: tuple[Finding, ...]
    mends: tuple[mend.Mend, ...]
    text: str  # the file as it is
    hardware: bool  # False: nothing tells the hardware, so only what needs none was looked at

    @property
    def exit_code(self) -> int:
        """3 where the run does not fit, 2 for any other error, else 0."""
        errors = [one for one in self.findings if one.level == "error"]
        fits = not any(one.id == "does-not-fit" for one in errors)
        return (SpecError.exit_code if errors else 0) if fits else CannotFit.exit_code


def lint(file: str, target: str | None = None, hardware: str | None = None) -> Linted:
    """Look at one file. Raises SpecError for one that cannot be read as any framework's."""
    found = source.read(file)
    one = imports.read_found(found, target, hardware)
    told = "gpu" in one.spec.get("hardware", {})
    if not told:
        one = imports.read_found(found, target, STAND_IN)
    lines = _Lines(found.text, one)
    findings = [*_keys(one, lines), *_plan(one, lines, hardware=told)]
    ways = tuple(mend.mends(mend.Lintable(found.text, found, target, hardware, one))) if told else ()
    ordered = sorted(findings, key=lambda each: (each.line, ("error", "warning", "note").index(each.level)))
    return Linted(file, one, tuple(dict.fromkeys(ordered)), ways, found.text, told)


class _Lines:
    """Where the keys of a file stand."""

    def __init__(self, text: str, one: Imported) -> None:
        self._at = places.lines(one.file, text)
        self._keys = {path: row.key for row in one.rows if row.to for path in row.to.split(", ") if self.of(row.key)}

    def of(self, key: str) -> int:
        return self._at.get(key, 0)

    def named(self, text: str) -> int:
        """The line of the first key that says what a text names by its place in a spec."""
        return next((self.of(self._keys[path]) for path in _PATH.findall(text) if path in self._keys), 0)


def _keys(one: Imported, lines: _Lines) -> Iterator[Finding]:
    """Keys that the framework refuses or does not look at; those of other files together, as they share a reason."""
    apart: dict[tuple[str, str, str], list[str]] = {}
    for row in one.rows:
        if row.status != "dropped" or row.cause not in _LEVELS:
            continue
        if line := lines.of(row.key):
            yield Finding(_LEVELS[row.cause], row.cause, f"{row.key}: {row.why}", line)
        else:
            apart.setdefault((row.cause, row.part, row.why), []).append(row.key)
    for (cause, part, why), keys in apart.items():
        level: Level = "note" if cause == "no-effect" else _LEVELS[cause]  # a preset says more than one run needs
        yield Finding(level, cause, f"{', '.join(keys)} in {part}: {why}")


def _plan(one: Imported, lines: _Lines, *, hardware: bool) -> Iterator[Finding]:
    """What cannot go together, whether it fits, and what to look out for."""
    from mfc.report.text import shortfall

    for note in one.notes:
        if hardware or not note.startswith("the file does not tell"):
            yield Finding("note", "import", note)
    if one.plan is None:
        yield from _refused(one, lines)
        return
    if not one.plan.fits and hardware:
        yield Finding("error", "does-not-fit", shortfall(one.plan))
    blind = set() if hardware else _looking(one.target)
    for warning in one.plan.warnings:
        if warning.id not in blind:
            yield Finding("warning", warning.id, warning.message, lines.named(warning.message))
    try:
        loaded = api.load(one.spec)
        api.writable(loaded, one.plan)
    except MfcError as error:
        yield _finding(error, lines)


def _refused(one: Imported, lines: _Lines) -> Iterator[Finding]:
    if "model" not in one.spec:
        yield Finding("note", "import", "it names no model, as part of a run: only its keys were looked at")
    elif one.refused:
        found = _finding(SpecError(one.refused), lines)
        yield Finding("note", "beyond-mfc", found.message, found.line) if one.beyond else found


def _finding(error: MfcError, lines: _Lines) -> Finding:
    text = convert.reason(error)
    rule = re.search(r" \[([\w/-]+)\]$", text)
    message = text[: rule.start()] if rule else text
    return Finding("error", rule[1] if rule else "impossible", message, lines.named(message))


def _looking(target: str) -> set[str]:
    """The rules that look at the hardware."""
    from mfc.rules import RULES
    from mfc.target import get

    return {rule.id for rule in (*RULES, *get(target).RULES) if _HARDWARE & {*rule.reads}}
