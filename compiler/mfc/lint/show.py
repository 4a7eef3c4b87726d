"""Findings for people, as a patch, and as SARIF 2.1.0 for code hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfc import files
from mfc.lint.edit import GONE
from mfc.report import json
from mfc.report.text import gib, seconds
from mfc.spec.marks import printable, show

if TYPE_CHECKING:
    from mfc.lint import Finding, Linted
    from mfc.lint.mend import Mend

SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def text(one: Linted) -> str:
    """A line for each finding, then what would mend it, the first of it as a patch."""
    return "\n".join(_lines(one)) + "\n"


def _lines(one: Linted) -> Iterator[str]:
    name = printable(one.file)
    for found in one.findings:
        where = f"{name}:{found.line}" if found.line else name
        yield f"{where}: {found.level}: {printable(found.message)} [{found.id}]"
    if not one.hardware:
        yield f"{name}: note: nothing tells the GPU, so whether it fits was not looked at: add --hardware '8x A100-80G'"
    for of in dict.fromkeys(way.of for way in one.mends):
        yield f"any of these edits mends {of}:" if of != "does-not-fit" else "any of these edits makes it fit:"
        yield from (f"  {said(each)}{_elsewhere(one, each)}" for each in one.mends if each.of == of)
    if one.mends:
        first = one.fix(strict=True)
        flags = "--fix" if first and first.level == "error" else "--fix --strict"
        yield f"the first as a patch ({flags} writes it):"
        yield patch(one).rstrip("\n")
    if any(found.id == "does-not-fit" for found in one.findings) and not _fits(one) and one.one.plan:
        from mfc.report.text import relaxation_lines

        yield "no edit of these files alone makes it fit; as changes of its spec (`mfc import -o`):"
        yield from relaxation_lines(one.one.plan)
    counts = {level: sum(found.level == level for found in one.findings) for level in ("error", "warning", "note")}
    told = ", ".join(f"{number} {level}{'' if number == 1 else 's'}" for level, number in counts.items() if number)
    yield f"{name}: {one.one.title} {one.one.version}: {_verdict(one)}{told or 'nothing to tell'}"


def _fits(one: Linted) -> bool:
    return any(way.of == "does-not-fit" for way in one.mends)


def _verdict(one: Linted) -> str:
    plan = one.one.plan
    if not one.hardware or plan is None:
        return ""
    card = plan.problem.hardware
    return (
        f"{'fits' if plan.fits else 'DOES NOT FIT'} {card.world_size} x {card.gpu.name} "
        f"(needs {gib(plan.memory.upper_bytes)}, budget {gib(plan.budget_bytes)}); "
    )


def _elsewhere(one: Linted, way: Mend) -> str:
    """The files beside this one that an edit changes."""
    beside = [Path(path).name for path in way.texts if path != one.file]
    return f" (in {', '.join(beside)} too)" if beside else ""


def said(way: Mend) -> str:
    """The native keys of a mend with their values, and what it costs."""
    keys = ", ".join(f"{key}: {'(taken out)' if value is GONE else show(value)}" for key, value in way.keys.items())
    if way.plan is None or way.of != "does-not-fit":
        return keys
    time = seconds(way.plan.speed.seconds_per_step)
    return f"{keys}: at most {gib(way.plan.memory.upper_bytes)} per GPU, {time} a step"


def patch(one: Linted) -> str:
    """The first mend as a unified diff of the files that it changes; empty where there is none."""
    import difflib

    if not one.mends:
        return ""
    made: list[str] = []
    for path, text in one.mends[0].texts.items():
        name = Path(path).as_posix().lstrip("/")
        before = one.text if path == one.file else files.read(path).decode("utf-8", "replace")
        old, new = (each.splitlines(keepends=True) for each in (before, text))
        made += difflib.unified_diff(old, new, f"a/{name}", f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in made)


def document(one: Linted) -> dict[str, Any]:
    """One file as plain data. Sizes are bytes, times seconds."""
    return {
        "file": one.file,
        "target": one.one.target,
        "version": one.one.version,
        "hardware_told": one.hardware,
        "fits": one.one.plan.fits if one.one.plan and one.hardware else None,
        "findings": [found._asdict() for found in one.findings],
        "mends": [
            {
                "of": way.of,
                "files": sorted(way.texts),
                "keys": {key: None if value is GONE else json.plain(value) for key, value in way.keys.items()},
                "upper_bytes": way.plan.memory.upper_bytes if way.plan else None,
                "seconds_per_step": way.plan.speed.seconds_per_step if way.plan else None,
            }
            for way in one.mends
        ],
        "patch": patch(one),
        "exit_code": one.exit_code,
    }


def sarif(every: Sequence[Linted], failed: Mapping[str, str]) -> dict[str, Any]:
    """All files as one run; those that could not be read, with why, as errors."""
    from mfc._version import __version__

    results = [_result(one.file, found) for one in every for found in one.findings]
    results += [
        {"ruleId": "unreadable", "level": "error", "message": {"text": why}, "locations": [_location(file, 0)]}
        for file, why in failed.items()
    ]
    rules = [{"id": rule} for rule in dict.fromkeys(result["ruleId"] for result in results)]
    driver = {"name": "mfc", "version": __version__, "rules": rules}
    return {"$schema": SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(file: str, found: Finding) -> dict[str, Any]:
    return {
        "ruleId": found.id,
        "level": found.level,
        "message": {"text": found.message},
        "locations": [_location(file, found.line)],
    }


def _location(file: str, line: int) -> dict[str, Any]:
    from urllib.parse import quote

    place: dict[str, Any] = {"artifactLocation": {"uri": quote(Path(file).as_posix())}}
    return {"physicalLocation": {**place, "region": {"startLine": line}} if line else place}
