"""`mfc import`: read a framework's own config or script into a spec."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mfc.cli import options, streams


@click.command()
@click.argument("file")
@click.option("--from", "source", metavar="TARGET", help="Whose file it is (default: it tells by itself).")
@click.option("--hardware", metavar="TEXT", help="What the file does not tell: '4x RTX 4090', or a mapping.")
@click.option("-o", "--out", metavar="SPEC", help="Write the spec here (default: print it, and the table to stderr).")
@options.as_format
def command(file: str, source: str | None, hardware: str | None, out: str | None, form: str) -> int:
    """Read a framework's own config or script, never running it, into a spec with everything pinned.

    The table says of each key what became of it: kept, translated, defaulted (the framework's own default at that
    version), carried under extra, or dropped and why. FILE may be - for standard input.
    """
    from mfc import imports
    from mfc.imports import table as report

    path = Path(out) if out else None
    one = imports.read(file, source, hardware, path.parent if path else None)
    text = report.spec_text(one)
    if path:
        options.write_new(path, text, "-o")
    if form == "json":
        print(options.dump(report.document(one)))
    elif path:
        print(report.text(one), end="")
        print(f"wrote {path}")
    else:
        streams.exact(text)
        print(report.text(one), end="", file=sys.stderr)
    return 0
