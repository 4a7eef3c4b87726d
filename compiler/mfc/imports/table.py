"""An imported run for people and programs: the spec as a file, the table of its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mfc.emit import quote
from mfc.spec.marks import printable, show

if TYPE_CHECKING:
    from mfc.imports import Imported

_SHOWN = 44  # characters of a value in the table
# Sections on one line each: nobody reads them one key at a time.
_FLOW = 60


def spec_text(one: Imported) -> str:
    """The spec as YAML, with what is left to do above it."""
    lines = [quote.comment(f"Imported by mfc from {one.file}, a run of {one.title} {one.version}.")]
    lines += [quote.comment(f"Note: {note}.") for note in one.notes]
    lines += _lines(one.spec, "")
    return "\n".join(lines) + "\n"


def _lines(tree: Mapping[str, Any], indent: str) -> list[str]:
    made = []
    for key, value in tree.items():
        flow = quote.yaml(value)
        nests = isinstance(value, Mapping) and bool(value)
        if nests and (len(flow) > _FLOW or not indent) and key != "gpu":
            made += [f"{indent}{quote.yaml(key)}:", *_lines(value, f"{indent}  ")]
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            made += [f"{indent}{quote.yaml(key)}:", *(f"{indent}  - {quote.yaml(item)}" for item in value)]
        else:
            made.append(f"{indent}{quote.yaml(key)}: {flow}")
    return made


def text(one: Imported) -> str:
    """The table, part by part, and what there is to know besides."""
    lines = [f"{printable(one.file)}: {one.title} {one.version}"]
    for part in dict.fromkeys(row.part for row in one.rows):
        found = [row for row in one.rows if row.part == part]
        lines += ["", printable(part), *columns([(row.key, value(row.value), row.status, _said(row)) for row in found])]
    counts = {status: sum(row.status == status for row in one.rows) for status in _ORDER}
    lines += ["", ", ".join(f"{number} {status}" for status, number in counts.items() if number)]
    lines += [f"note: {printable(note)}" for note in one.notes]
    if one.refused:
        lines += ["note: as it is, the spec cannot be planned, so nothing was held against what mfc would write:"]
        lines += [f"  {line}" for line in one.refused.splitlines()]
    return "\n".join(lines) + "\n"


_ORDER = ("kept", "translated", "defaulted", "carried", "dropped")


def _said(row: Any) -> str:
    return printable("; ".join(filter(None, (f"{row.to}" if row.to else "", row.why))))


def value(native: Any) -> str:
    """A value of a file in one cell."""
    shown = printable(native if isinstance(native, str) else show(native))
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"


def columns(found: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """Rows in columns, indented."""
    widths = [max(len(row[column]) for row in found) for column in range(3)]
    return [
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]).rstrip()
        for row in found
    ]


def document(one: Imported) -> dict[str, Any]:
    """All of it as plain data."""
    return {
        "file": one.file,
        "target": one.target,
        "version": one.version,
        "spec": quote.plain(one.spec),
        "keys": [
            {
                "part": row.part,
                "key": row.key,
                "value": row.value,
                "status": row.status,
                **({"to": row.to} if row.to else {}),
                **({"why": row.why} if row.why else {}),
            }
            for row in one.rows
        ],
        "notes": list(one.notes),
        "verified": one.plan is not None,
        **({"refused": one.refused} if one.refused else {}),
    }
