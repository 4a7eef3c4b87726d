"""`mfc lint`: what is wrong with a framework's own file, and the smallest edit that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mfc.cli import options
from mfc.errors import MfcError, SpecError
from mfc.files import read

if TYPE_CHECKING:
    from mfc.lint import Linted


_ROUNDS = 12  # edits of one file; each mends what the others left


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--from", "source", metavar="TARGET", help="Whose files they are (default: they tell by themselves).")
@click.option("--hardware", metavar="TEXT", help="What a file does not tell: '4x RTX 4090', or a mapping.")
@click.option("--fix", is_flag=True, help="Write the first edit of each error; of warnings too with --strict.")
@click.option("--strict", is_flag=True, help="Warnings count as a failure (exit code 2).")
@click.option("--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", help="How to print it.")
def command(
    files: tuple[str, ...], source: str | None, hardware: str | None, fix: bool, strict: bool, form: str
) -> int:
    """Tell what is wrong with a framework's own config or script; no spec is needed and nothing is run.

    Keys that the framework does not know or look at, what cannot go together, traps, and whether it fits, with the
    edits of the files that would mend it. Exit code 2 for errors, 3 where a run does not fit; with --fix, for what is
    left then.
    """
    from mfc import lint
    from mfc.lint import show

    done: list[Linted] = []
    failed: dict[str, str] = {}
    codes: list[int] = []
    for file in files:
        try:
            if fix and file == "-":
                raise SpecError("error: --fix mends a file in its place, and standard input has none: name the file")
            one = lint.lint(file, source, hardware)
            for _ in range(_ROUNDS if fix else 0):
                if (way := one.fix(strict=strict)) is None:
                    break
                if form == "text":
                    print(f"{file}: writes {show.said(way)} [{way.of}]")
                for path, text in way.texts.items():
                    _write(path, text)
                one = lint.lint(file, source, hardware)
        except MfcError as error:
            failed[file] = str(error)
            codes.append(options.report(error))
            continue
        done.append(one)
        codes.append(one.exit_code)
        if strict and any(found.level == "warning" for found in one.findings):
            codes.append(SpecError.exit_code)
        if form == "text":
            print(show.text(one), end="")
    if form == "json":
        print(options.dump({"schema_version": 1, "files": [show.document(one) for one in done], "failed": failed}))
    elif form == "sarif":
        print(options.dump(show.sarif(done, failed)))
    return options.worst(codes)


def _write(file: str, text: str) -> None:
    """Write a mended file in the place of the old one."""
    try:
        mark = b"\xef\xbb\xbf" if read(file).startswith(b"\xef\xbb\xbf") else b""
        Path(file).write_bytes(mark + text.removeprefix("\ufeff").encode())
    except OSError as error:
        raise SpecError(f"{file}: error: cannot be written: {error.strerror}") from None
