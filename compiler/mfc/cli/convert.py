"""`mfc convert`: a run of one framework as files of another."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mfc import api
from mfc.cli import options
from mfc.errors import CannotFit


@click.command()
@click.argument("file")
@click.option("--to", required=True, metavar="TARGET", help="The framework to write it for.")
@click.option("--from", "source", metavar="TARGET", help="Whose file it is (default: it tells by itself).")
@click.option("--hardware", metavar="TEXT", help="What the file does not tell: '4x RTX 4090', or a mapping.")
@click.option("-o", "--out", metavar="SPEC", help="Write the spec here and the files beside it (default: print them).")
@options.overrides
@options.as_format
def command(
    file: str, to: str, source: str | None, hardware: str | None, out: str | None, overrides: tuple[str, ...], form: str
) -> int:
    """Write a framework's own config or script as the files of another: import and compile in one step.

    The table tells what is the same, what the other framework cannot say, what differs and why, and which defaults do.
    With -o run.yaml the spec lies there and the files in run/TARGET/, as `mfc compile run.yaml` has them.
    """
    from mfc import emit, imports
    from mfc.imports import convert, converted, table

    path = Path(out) if out else None
    one = convert.convert(imports.read(file, source, hardware, path.parent if path else None), to, overrides)
    if form == "text":
        print(converted.text(one), end="", file=sys.stdout if path else sys.stderr)
    if not one.plan.fits:
        raise CannotFit(api.cannot_fit(one.plan, file))
    if path:
        options.write_new(path, table.spec_text(one.source._replace(spec=one.spec)), "-o")
    (made,) = api.compile(path or one.spec, [to], overrides)
    if path:
        emit.write(made)
    if form == "json":
        print(options.dump({**converted.document(one), "files": dict(made.files)}))
    elif path:
        print(f"wrote {path} and {made.out}/: {', '.join(sorted(made.files))}; start it there with: {made.launch}")
    else:
        options.show_files([made])
    return 0
