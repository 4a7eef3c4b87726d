"""Options and helpers that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mfc import files
from mfc.cli import streams
from mfc.errors import FileInTheWay, MfcError, SpecError

if TYPE_CHECKING:
    from mfc.emit.compiled import Compiled

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

specs = click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
overrides = click.option(
    "--set", "overrides", multiple=True, metavar="K=V", help="Override one field: hardware.count=8. Repeatable."
)
launcher = click.option("--launcher", metavar="NAME", help="What starts the run: --set run.launcher=NAME, in short.")
probe = click.option(
    "--probe", is_flag=True, help="Beside the run, a script that tries its first steps: --set run.probe=true, in short."
)
target = click.option(
    "--target", "-t", help="Plan for this target (default: those that the spec names, else the one most used)."
)
targets = click.option(
    "--target", "-t", "targets", multiple=True, help="Compile for this target (default: those the spec names)."
)
as_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print the result."
)


def with_launcher(overrides: tuple[str, ...], launcher: str | None) -> tuple[str, ...]:
    """The overrides with what `--launcher` stands for, which is one of them: so `mfc check` knows it too."""
    return overrides if launcher is None else (*overrides, f"run.launcher={launcher}")


def parted(
    names: Sequence[str], made: Sequence[T | MfcError]
) -> tuple[list[tuple[str, T]], list[tuple[str, MfcError]]]:
    """By target, what was made and what was refused."""
    both = list(zip(names, made, strict=True))
    return (
        [(name, one) for name, one in both if not isinstance(one, MfcError)],
        [(name, one) for name, one in both if isinstance(one, MfcError)],
    )


def report_each(refused: Iterable[tuple[str, MfcError]], several: bool) -> list[int]:
    """Print errors to stderr, those that are the same on several targets once; their exit codes.

    With several targets asked for, an error whose first line does not name its target gets a line that does.
    """
    by_text: dict[str, list[str]] = {}
    codes = []
    for name, error in refused:
        by_text.setdefault(str(error), []).append(name)
        codes.append(error.exit_code)
    for text, names in by_text.items():
        told = not several or (len(names) == 1 and names[0] in text.partition("\n")[0])
        print(text if told else f"{text}\n  target: {', '.join(names)}", file=sys.stderr)
    return codes


def worst(codes: Iterable[int]) -> int:
    """The exit code of several results: a fault of mfc's, then 4, 3, 2, 1, 0."""
    return max(codes, default=0)


def report(error: MfcError) -> int:
    """Print an error to stderr; its exit code."""
    print(error, file=sys.stderr)
    return error.exit_code


def one(made: Sequence[T | MfcError]) -> T:
    """The only result of several. Raises it where it is an error."""
    (result,) = made
    if isinstance(result, MfcError):
        raise result
    return result


def write_new(path: Path, text: str, flag: str) -> None:
    """Write a file where none is; one that is the same may stay. Another name comes from `flag`."""
    try:
        content = text.encode()
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None
    try:
        with open(path, "xb") as stream:
            stream.write(content)
    except FileExistsError:
        if _content(path) != content:
            raise FileInTheWay(
                f"{path}: error: is there already, and says something else; choose another name for {flag}"
            ) from None
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError | ValueError) -> SpecError:
    return SpecError(f"{path}: error: cannot be written: {getattr(error, 'strerror', None) or error}")


def _content(path: Path) -> bytes | None:
    """What a regular file says; None for what is none, or cannot be read."""
    try:
        return files.read(path)
    except OSError:
        return None


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """Columns under a header, as plain text."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    head = "  ".join(cell.ljust(width) for cell, width in zip(header, widths, strict=True)).rstrip()
    return "\n".join([head, *lines])


def show(text: str) -> None:
    """Print text that may hold colours: kept on a terminal, unless NO_COLOR is set (no-color.org)."""
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)


def width() -> int:
    """The characters of a line: the terminal's, within what reads well; a hundred in a pipe."""
    import shutil

    return min(max(shutil.get_terminal_size((100, 24)).columns, 60), 120)


def dump(value: object) -> str:
    """JSON as every command prints it: with escapes only for what the output could not hold."""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=2)
    return text


def show_files(done: Sequence[Compiled]) -> None:
    """Print the files of compilations, each under its name where there are several."""
    for compiled in done:
        for path, text in compiled.files.items():
            if len(compiled.files) > 1 or len(done) > 1:
                print(f"==> {compiled.out / path} <==")
            streams.exact(text if text.endswith("\n") else f"{text}\n")
