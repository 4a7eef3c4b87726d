"""`mfc data`: whether the rows are what the spec says, how long they are, and what that means for the run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mfc.cli import options
from mfc.errors import SpecError

if TYPE_CHECKING:
    from mfc.data.lines import Advance
    from mfc.data.show import Account
    from mfc.spec.load import LoadedSpec


@click.command()
@click.argument("spec", metavar="SPEC")
@click.option(
    "--tokenizer", "tokens_by", metavar="PATH", help="A tokenizer.json, or its folder (default: that of the model)."
)
@click.option("--write", is_flag=True, help="Put mean_length and lengths into the spec, for planning.")
@options.target
@options.overrides
@options.as_format
def command(
    spec: str, tokens_by: str | None, write: bool, target: str | None, overrides: tuple[str, ...], form: str
) -> int:
    """Read the data of SPEC: check each row against its format, and say how many tokens rows have.

    Then what that means: what each max_length cuts, padding, packing, steps and hours.

    Exit code 1 where rows are bad, or none are there.
    """
    from mfc import api
    from mfc.data import show
    from mfc.data.account import account

    loaded = api.load(spec, overrides)
    done = account(loaded, target, Path(tokens_by) if tokens_by else None, _progress)
    if form == "json":
        print(options.dump(show.document(done)))
    else:
        print(show.text(done), end="")
        for note in done.notes:
            print(f"note: {note}", file=sys.stderr)
    if write:
        _write(loaded, done)
    parts = [done.summary, *([done.evaluation] if done.evaluation else [])]
    return 1 if any(part.bad or not part.rows for part in parts) else 0


def _write(loaded: LoadedSpec, done: Account) -> None:
    """The spec with what was measured in it; nothing else of it changes."""
    from mfc.data import block, moved
    from mfc.files import read

    path, fields = Path(done.spec), block.measured(done, moved.digest(moved.training_files(loaded)))
    try:
        path.write_bytes(block.written(read(path).decode(), done.spec, fields).encode())
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: error: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    print(f"wrote {' and '.join(f'data.{field}' for field in fields)} into {path}", file=sys.stderr)


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
