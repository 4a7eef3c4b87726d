"""`mfc compile`: write each target's native configs."""

from __future__ import annotations

from pathlib import Path

import click

from mfc import api
from mfc.cli import options
from mfc.errors import MfcError


@click.command()
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@options.targets
@click.option("-o", "--out", metavar="DIR", help="Output folder (default: <stem>/<target>/ beside the spec).")
@options.overrides
@click.option("--stdout", is_flag=True, help="Print the files instead of writing them.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when the files would change.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
@click.option("--force", is_flag=True, help="Overwrite files that were edited by hand or that mfc did not write.")
@click.option("--keep-going", is_flag=True, help="One target's refusal does not stop the others.")
@click.option("--strict", is_flag=True, help="Warnings count as a failure: nothing is written.")
def command(
    specs: tuple[str, ...],
    targets: tuple[str, ...],
    out: str | None,
    overrides: tuple[str, ...],
    stdout: bool,
    check: bool,
    diff: bool,
    force: bool,
    keep_going: bool,
    strict: bool,
) -> int:
    """Write each target's native configs for a spec (default: for every spec here that names its targets)."""
    from mfc import emit
    from mfc.emit import discover

    codes: list[int] = []
    paths = [Path(path) for path in specs] or discover.specs()
    for path in paths:
        try:
            loaded = api.load(path, overrides)
        except MfcError as error:
            codes.append(options.report(error))
            continue
        names = list(targets or loaded.spec.targets)
        folder = None if out is None else Path(out) / path.stem if len(paths) > 1 else Path(out)
        done = []
        for group in [[name] for name in names] if keep_going else [names]:
            try:
                done += api.compile(loaded, group, out=_place(folder, group, names))
            except MfcError as error:
                codes.append(options.report(error))
        for compiled in done:
            codes.append(_finish(compiled, loaded.name, strict, stdout, check, diff, force))
    return options.worst(codes)


def _place(folder: Path | None, group: list[str], names: list[str]) -> Path | None:
    return folder / group[0] if folder and len(group) == 1 and len(names) > 1 else folder
