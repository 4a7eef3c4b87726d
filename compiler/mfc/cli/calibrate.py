"""`mfc calibrate`: keep what runs really took, for later plans on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from mfc import api, calibration
from mfc.calibration.store import Condition, MeasuredRun, load, save
from mfc.cli import options
from mfc.errors import SpecError
from mfc.files import read as read_file

if TYPE_CHECKING:
    from mfc.calibration.logs import Metric
    from mfc.calibration.store import Kind
    from mfc.planner.plan import Plan

METRICS = ("nvidia-smi", "reserved", "allocated")
# Above this share of the card the allocator holds all it can get, so a peak of the process says nothing of the need.
FULL = 0.92


class Asked(NamedTuple):
    """One run: its spec as it was compiled, and where its logs may lie."""

    spec: Path
    target: str | None
    overrides: tuple[str, ...]
    folder: Path | None


@click.command()
@click.argument("runs", nargs=-1, metavar="[SPEC | FOLDER]...")
@options.target
@options.overrides
@click.option("--measured", metavar="SIZE", help="The run's peak on the GPU that took most: 21.3GiB.")
@click.option("--metric", type=click.Choice(METRICS), default="nvidia-smi", help="What --measured is (nvidia-smi).")
@click.option("--log", "logs", multiple=True, metavar="PATH", help="A training log, or a folder of them. Repeatable.")
@click.option("--list", "listing", is_flag=True, help="Show what is kept, and change nothing.")
def command(
    runs: tuple[str, ...],
    target: str | None,
    overrides: tuple[str, ...],
    measured: str | None,
    metric: Metric,
    logs: tuple[str, ...],
    listing: bool,
) -> int:
    """Learn from measured memory: a SPEC with --measured or --log, or a FOLDER that mfc compiled with its logs in it.

    Later plans of the same target, attention, loss, quantisation and GPU tell what these runs say about them.
    Compiling is not affected.
    """
    file = calibration.path()
    if file is None:
        raise SpecError(f"error: calibration is switched off: {calibration.VARIABLE} is set and empty")
    known = load(file)
    if listing:
        _list(file, known)
        return 0
    if not runs:
        raise SpecError("error: nothing to learn from: name a spec with --measured or --log, or a compiled folder")
    if len(runs) > 1 and (measured or logs):
        raise SpecError("error: --measured and --log are of one run: name one spec or folder")
    learnt: list[MeasuredRun] = []
    for each in runs:
        asked = _asked(Path(each), target, overrides)
        learnt += _learn(asked, {metric: _size(measured)} if measured else None, logs)
    save(file, [*known, *learnt])
    print(f"kept in {file}: {len(learnt)} figure{'' if len(learnt) == 1 else 's'}; `mfc plan` tells what they say")
    return 0


def _learn(asked: Asked, given: Mapping[Metric, int] | None, logs: tuple[str, ...]) -> list[MeasuredRun]:
    """The figures of one run beside their predictions."""
    from mfc._version import __version__

    loaded = api.load(asked.spec, asked.overrides)
    names = [asked.target] if asked.target else api.planned_for(loaded)
    if len(names) > 1:
        raise SpecError(f"{loaded.name}: error: which target ran? --target {' or '.join(names)}")
    plan = api.plan(loaded, names[0])
    peaks = given or _logged(asked, plan, logs)
    learnt = []
    for metric, size in peaks.items():
        kind, size_there, predicted = _comparable(metric, size, plan)
        said = f"{asked.spec}: {metric} {size / 2**30:.2f} GiB"
        if kind == "process" and size_there > FULL * plan.problem.hardware.gpu.memory_bytes:
            print(f"{said}: not kept: with the card nearly full the allocator holds what it can get, needed or not")
            continue
        run = MeasuredRun(Condition.of(plan), loaded.name, loaded.sha256, kind, size_there, predicted, __version__)
        print(f"{said}: {100 * (run.ratio - 1):+.1f} % against the prediction ({kind})")
        learnt.append(run)
    return learnt


def _comparable(metric: Metric, size: int, plan: Plan) -> tuple[Kind, int, int]:
    """(kind, measured, predicted) in bytes: what the allocator holds is told with the context added, as predicted."""
    memory = plan.memory
    if metric == "allocated":
        return "allocated", size, memory.allocated_bytes
    outside = memory.components.get("context", 0) if metric == "reserved" else 0
    return "process", size + outside, memory.process_bytes


def _logged(asked: Asked, plan: Plan, logs: tuple[str, ...]) -> Mapping[Metric, int]:
    from mfc.calibration.logs import peaks

    paths = [Path(log) for log in logs]
    if not paths and asked.folder is not None:
        results = asked.folder / str(plan.values["output_dir"])
        paths = [asked.folder, *([results] if os.path.isdir(results) else [])]
    if not paths:
        raise SpecError(f"{asked.spec}: error: say what the run took: --measured 21.3GiB, or --log PATH")
    found: dict[Metric, int] = {}
    for path in paths:
        for metric, size in peaks(path).items():
            found[metric] = max(found.get(metric, 0), size)
    if not found:
        looked = ", ".join(map(str, paths))
        raise SpecError(
            f"{looked}: error: no log there tells of memory; docs/calibration.md says how to have it logged"
        )
    return found


def _asked(path: Path, target: str | None, overrides: tuple[str, ...]) -> Asked:
    """A spec as it is, or the one from which a folder was compiled. Raises SpecError when it has changed since."""
    if not os.path.isdir(path):
        return Asked(path, target, overrides, None)
    from mfc._version import __version__
    from mfc.emit import manifest

    try:
        made = manifest.read(path)
    except manifest.Broken as error:
        raise SpecError(f"{path / manifest.NAME}: error: {error}") from None
    if made is None or not made.spec:
        raise SpecError(f"{path}: error: no {manifest.NAME} here that names a spec: mfc compiled nothing into it")
    if target or overrides:
        raise SpecError(f"{path}: error: its own {manifest.NAME} says what was compiled: --target and --set do not go")
    for name, sha in made.inputs.items():
        file = path / name
        try:
            same = manifest.digest(read_file(file)) == sha
        except (OSError, ValueError):
            same = False
        if not same:
            raise SpecError(f"{path}: error: {file} is not what was compiled; a changed spec is another run")
    if made.version != __version__:
        raise SpecError(f"{path}: error: compiled by mfc {made.version}, this is {__version__}: give the spec itself")
    return Asked(Path(made.spec_from(str(path))), made.target, made.overrides, path)


def _size(text: str) -> int:
    from mfc.spec.quantities import size

    try:
        return size(text)
    except ValueError as error:
        raise SpecError(f"error: --measured {text}: give {error}") from None


def _list(file: Path, runs: tuple[MeasuredRun, ...]) -> None:
    from mfc._version import __version__

    print(f"{file}: {len(runs)} figure{'' if len(runs) == 1 else 's'}")
    for key in dict.fromkeys(run.key for run in runs):
        print(f"\n{key}")
        for run in runs:
            if run.key == key:
                old = "" if run.mfc == __version__ else f", predicted by mfc {run.mfc}: not counted"
                print(f"  {run.ratio - 1:+.1%} {run.kind} {run.measured_bytes / 2**30:.2f} GiB  {run.spec}{old}")
