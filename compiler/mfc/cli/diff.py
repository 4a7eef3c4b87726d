"""`mfc diff`: how two runs differ in what they really do."""

from __future__ import annotations

import click

from mfc.cli import options


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--from", "source", metavar="TARGET", help="Whose a file is that does not tell by itself.")
@click.option("--hardware", metavar="TEXT", help="What a file does not tell: '4x RTX 4090', or a mapping.")
@options.as_format
def command(a: str, b: str, source: str | None, hardware: str | None, form: str) -> int:
    """Tell how two configs differ in what they really do: files of any framework, or specs, in any mix.

    Defaults of the frameworks count; what changes results stands apart from what costs memory and time. Exit code 0
    where they do the same, 1 where they differ, 2 for errors.
    """
    from mfc import diff
    from mfc.diff import show

    one = diff.diff(a, b, source, hardware)
    print(options.dump(show.document(one)) if form == "json" else show.text(one), end="\n" if form == "json" else "")
    return one.exit_code
