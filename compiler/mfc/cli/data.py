"""`mfc data`: whether the rows are what the spec says, how long they are, and what that means for the run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from mfc.cli import options

if TYPE_CHECKING:
    from mfc.data.lines import Advance


@click.command()
@click.argument("spec", metavar="SPEC")
@options.target
@options.overrides
@options.as_format
def command(spec: str, target: str | None, overrides: tuple[str, ...], form: str) -> int:
    """Read the data of SPEC: check each row against its format, and say how many tokens rows have.

    Then what that means: what each max_length cuts, padding, packing, steps and hours. Exit code 1 for bad rows.
    """
    from mfc import api
    from mfc.data import show
    from mfc.data.account import account

    done = account(api.load(spec, overrides), target, _progress)
    if form == "json":
        print(options.dump(show.document(done)))
    else:
        print(show.text(done), end="")
        for note in done.notes:
            print(f"note: {note}", file=sys.stderr)
    return 1 if done.summary.bad or (done.evaluation and done.evaluation.bad) else 0


@contextmanager
def _progress(size: int) -> Iterator[Advance]:
    """A line on a terminal that tells how much has been read."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    read, shown = 0, 0.0

    def advance(more: int) -> None:
        nonlocal read, shown
        read += more
        if (now := time.monotonic()) - shown > 0.2:
            shown = now
            share = min(read / max(size, 1), 1.0)
            bar = "#" * int(30 * share)
            print(f"\r[{bar:<30}] {share:>4.0%} of {size / 1e6:,.0f} MB", end="", file=sys.stderr, flush=True)

    try:
        yield advance
    finally:
        if shown:
            print(f"\r{'':<60}\r", end="", file=sys.stderr, flush=True)
