"""What is wrong with a framework's own file: keys without effect, what cannot go together, traps, and whether it fits.

No spec is needed: the file is imported, and what the plan of that import says is told of the file's own keys and lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from mfc import api, imports
from mfc.errors import CannotFit, MfcError, SpecError
from mfc.imports import lines as places
from mfc.imports import source
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

    def fix(self, *, strict: bool) -> mend.Mend | None:
        """The edit to write first: of what counts as a failure, so of warnings where they do."""
        return next((way for way in self.mends if strict or way.level == "error"), None)

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
    refused, silent = _refusal(one), frozenset() if told else _looking(one.target)
    findings = [*_keys(one, lines), *_plan(one, lines, refused, silent, hardware=told)]
    lintable = mend.Lintable(found.text, found, target, hardware if told else STAND_IN, one, told)
    ways = tuple(mend.mends(lintable, refused, silent)) if file != "-" else ()
    ordered = sorted(findings, key=lambda each: (each.line, ("error", "warning", "note").index(each.level)))
    return Linted(file, one, tuple(dict.fromkeys(ordered)), ways, found.text, told)


def _refusal(one: Imported) -> MfcError | None:
    """What compiling the run would refuse, if anything."""
    if one.plan is None:
        return SpecError(one.refused) if one.refused else None
    try:
        api.writable(api.load(one.spec), one.plan)
    except MfcError as error:
        return error
    return None


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


def _plan(
    one: Imported, lines: _Lines, refused: MfcError | None, silent: frozenset[str], *, hardware: bool
) -> Iterator[Finding]:
    """What cannot go together, whether it fits, and what to look out for."""
    from mfc.report.text import shortfall

    for note in one.notes:
        if hardware or not note.startswith("the file does not tell"):
            yield Finding("note", "import", note)
    if one.plan is None and "model" not in one.spec:
        yield Finding("note", "import", "it names no model, as part of a run: only its keys were looked at")
    elif refused is not None:
        found = _finding(refused, lines)
        yield Finding("note", "beyond-mfc", found.message, found.line) if one.beyond else found
    if one.plan is None:
        return
    if not one.plan.fits and hardware:
        yield Finding("error", "does-not-fit", shortfall(one.plan))
    for warning in one.plan.warnings:
        if warning.id not in silent:
            yield Finding("warning", warning.id, warning.message, lines.named(warning.message))


def _finding(error: MfcError, lines: _Lines) -> Finding:
    rule, message = mend.told(error)
    return Finding("error", rule, message, lines.named(message))


def _looking(target: str) -> frozenset[str]:
    """The rules that look at the hardware."""
    from mfc.rules import RULES
    from mfc.target import get

    return frozenset(rule.id for rule in (*RULES, *get(target).RULES) if _HARDWARE & {*rule.reads})
