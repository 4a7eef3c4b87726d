"""Options and helpers that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from mfc.errors import MfcError

F = TypeVar("F", bound=Callable[..., Any])

specs = click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
overrides = click.option(
    "--set", "overrides", multiple=True, metavar="K=V", help="Override one field: hardware.count=8. Repeatable."
)
target = click.option(
    "--target", "-t", help="Plan for this target (default: those the spec names, else a plain trainer)."
)
targets = click.option(
    "--target", "-t", "targets", multiple=True, help="Compile for this target (default: those the spec names)."
)
as_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print the result."
)


def named(target: str | None, declared: Iterable[str]) -> list[str | None]:
    """The targets to plan for: the one asked for, else those of the spec, else a plain trainer (None)."""
    return [target] if target else [*declared] or [None]


def worst(codes: Iterable[int]) -> int:
    """The exit code of several results: a fault of mfc's, then 4, 3, 2, 1, 0."""
    return max(codes, default=0)


def report(error: MfcError) -> int:
    """Print an error to stderr; its exit code."""
    print(error, file=sys.stderr)
    return error.exit_code


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """Columns under a header, as plain text."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    head = "  ".join(cell.ljust(width) for cell, width in zip(header, widths, strict=True)).rstrip()
    return "\n".join([head, *lines])


def dump(value: object) -> str:
    """JSON as every command prints it."""
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)
