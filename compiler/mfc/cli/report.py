"""`mfc report`: plans as one HTML page that needs nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mfc import api, files
from mfc.cli import options
from mfc.errors import FileInTheWay, MfcError, SpecError

if TYPE_CHECKING:
    from mfc.page.sheet import Refused, Sheet

_GENERATOR = b'<meta name="generator" content="mfc '


@click.command()
@options.specs
@options.target
@options.overrides
@options.launcher
@click.option("-o", "--out", default="report.html", show_default=True, metavar="FILE", help="The page.")
def command(
    specs: tuple[str, ...], target: str | None, overrides: tuple[str, ...], launcher: str | None, out: str
) -> int:
    """Write the plans of SPEC... as one HTML page, in English and Chinese, with charts and nothing to load.

    Memory at each moment of a step, memory against time, what each setting saves and costs, every decision with its
    source, the files. What is refused is on the page too, with what would fit; exit codes are those of mfc plan.
    """
    from mfc.page import html

    overrides = options.with_launcher(overrides, launcher)
    found = [one for path in specs for one in _sheets(path, target, overrides)]
    title = f"mfc: {', '.join(os.path.basename(path) for path in specs)}"
    _write(Path(out), html.report(title, found).encode())
    plans = f"{len(found)} plan{'' if len(found) == 1 else 's'}"
    refused = sum(one.exit_code > 0 for one in found)
    print(f"wrote {out}: {plans}" + (f", {refused} refused" if refused else ""))
    return options.worst(one.exit_code for one in found)


def _sheets(path: str, target: str | None, overrides: tuple[str, ...]) -> list[Sheet | Refused]:
    """The sheets of one spec; what is wrong with it as a whole as one too."""
    from mfc.page.sheet import Refused, sheets

    try:
        return sheets(api.load(path, overrides), [target] if target else ())
    except MfcError as error:
        return [Refused(path, "", error)]


def _write(path: Path, content: bytes) -> None:
    """Write the page where nothing is, or an older page. Raises FileInTheWay for anything else that is there."""
    try:
        if os.path.lexists(path) and _GENERATOR not in files.read(path, 4096):
            raise FileInTheWay(
                f"{path}: error: is there already, and no page of mfc report; choose another name for -o"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: error: cannot be written: {getattr(error, 'strerror', None) or error}") from None
