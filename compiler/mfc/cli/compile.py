"""`mfc compile`: write each target's native configs."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

from mfc import api, cores, emit
from mfc.cli import options
from mfc.errors import MfcError, SpecError
from mfc.plans import attempt

if TYPE_CHECKING:
    from mfc.emit.compiled import Compiled
    from mfc.emit.writing import WriteReport
    from mfc.spec.load import LoadedSpec

Outcome = Literal["shown", "compared", "written"]


@click.command()
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@options.targets
@click.option("-o", "--out", metavar="DIR", help="Output folder (default: <stem>/<target>/ beside the spec).")
@options.overrides
@options.launcher
@options.probe
@click.option("--stdout", is_flag=True, help="Print the files instead of writing them.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when the files would change.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
@click.option("--force", is_flag=True, help="Overwrite files that were edited by hand or that mfc did not write.")
@click.option("--strict", is_flag=True, help="Warnings count as a failure: nothing is written.")
def command(
    specs: tuple[str, ...],
    targets: tuple[str, ...],
    out: str | None,
    overrides: tuple[str, ...],
    launcher: str | None,
    probe: bool,
    stdout: bool,
    check: bool,
    diff: bool,
    force: bool,
    strict: bool,
) -> int:
    """Write each target's native configs for a spec (default: for every spec here that names its targets).

    Where one target refuses, the others are written all the same; the exit code is the worst.
    """
    from mfc.check import discover

    overrides = options.with_launcher(overrides, launcher) + ("run.probe=true",) * probe
    paths, errors = ([Path(path) for path in specs], []) if specs else discover.whole(overrides)
    codes = [options.report(error) for error in errors]
    outcome: Outcome = "shown" if stdout else "compared" if check or diff else "written"
    asked = Asked(targets, out, len(paths) > 1, overrides, outcome, diff, force, strict)
    if stdout or len(paths) < cores.MANY:  # files are printed as bytes
        return options.worst(codes + [code for path in paths for code in _compile(asked, path)])
    for ended, said, complaints in cores.each(partial(_told, asked), paths, Path, "compiling"):
        codes += ended
        sys.stdout.write(said)
        sys.stdout.flush()
        sys.stderr.write(complaints)
    return options.worst(codes)


class Asked(NamedTuple):
    """What is asked of every spec."""

    targets: tuple[str, ...]
    out: str | None
    several: bool  # each spec gets a folder of its own in `out`
    overrides: tuple[str, ...]
    outcome: Outcome
    diff: bool
    force: bool
    strict: bool


def _told(asked: Asked, path: Path) -> tuple[list[int], str, str]:
    """Compile one spec: the exit codes of what went wrong, and what is to be printed and said of it."""
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as said, redirect_stderr(StringIO()) as errors:
        codes = _compile(asked, path)
    return codes, said.getvalue(), errors.getvalue()


def _compile(asked: Asked, path: Path) -> list[int]:
    """Compile one spec and tell of it; the exit codes of what went wrong."""
    try:
        loaded = api.load(path, asked.overrides)
        names = api.compiled_for(loaded, asked.targets)
        folder = None if asked.out is None else Path(asked.out) / path.stem if asked.several else Path(asked.out)
        made, refused = options.parted(names, api.compile_each(loaded, names, folder))
        codes = options.report_each(refused, several=len(names) > 1)
        done = [compiled for _, compiled in made]
        for warning in dict.fromkeys(warning for compiled in done for warning in compiled.plan.warnings):
            print(f"{loaded.name}: warning: {warning.message} [{warning.id}]", file=sys.stderr)
        if asked.strict and any(compiled.plan.warnings for compiled in done):
            return [*codes, SpecError.exit_code]
        if asked.outcome == "shown":
            options.show_files(done)
            return codes
        if asked.outcome == "compared":
            return [*codes, _compare(loaded, done, asked.diff)]
        return codes + _write(made, asked.force, several=len(names) > 1)
    except MfcError as error:
        return [options.report(error)]


def _compare(loaded: LoadedSpec, done: list[Compiled], diff: bool) -> int:
    """Say what differs from what lies there. As in `mfc check`, outputs made with --set are what that gives."""
    from mfc.check.audit import as_recorded

    findings = []
    for compiled in done:
        source = as_recorded(loaded, compiled.target, compiled.out)
        again = compiled if source is loaded else api.compile(source, [compiled.target], out=compiled.out)[0]
        findings += emit.compare(again)
    for finding in findings:
        print(f"{finding.path}: {finding.verdict}" + (f": {finding.note}" if finding.note else ""))
        if diff and finding.diff:
            print(finding.diff, end="")
    return 1 if findings else 0


def _write(made: list[tuple[str, Compiled]], force: bool, several: bool) -> list[int]:
    """Write the files of each target, whatever stands in the way of another; the exit codes of those that were not."""
    tried = [attempt(partial(emit.write, compiled, force)) for _, compiled in made]
    written = [
        (compiled, report)
        for (_, compiled), report in zip(made, tried, strict=True)
        if not isinstance(report, MfcError)
    ]
    for compiled, report in written:
        _tell(compiled, report)
    if len(written) > 1:
        from mfc.report import compare

        print(compare.text([compiled.plan for compiled, _ in written]), end="")
    _, refused = options.parted([name for name, _ in made], tried)
    return options.report_each(refused, several=several)


def _tell(compiled: Compiled, report: WriteReport) -> None:
    """What was written, and how to start it."""
    from mfc.report.text import seconds

    files = ", ".join(sorted(compiled.files))
    plan = compiled.plan
    changed = "" if report.written or report.removed else " (unchanged)"
    print(f"{compiled.out}{os.sep}: {files}{changed}")
    print(
        f"  needs at most {plan.memory.upper_bytes / 2**30:.2f} of "
        f"{plan.problem.hardware.memory_bytes / 2**30:.2f} GiB per GPU, about "
        f"{seconds(plan.speed.seconds_per_step)} a step; start it there with: {compiled.launch}"
    )
    if compiled.trial:
        print(f"  prove it there before, from {compiled.out / 'probe'}{os.sep}, with: {compiled.trial}")
    for path in report.kept:
        print(f"  {path} is no longer produced, but was edited by hand: kept", file=sys.stderr)
