"""The public functions: load a spec, plan it, compile it. The command line is a thin layer over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mfc.errors import CannotFit, MfcError, SpecError
from mfc.plans import attempt, placed, plan_each, planned_for, settings_of, target_of

if TYPE_CHECKING:
    from mfc.emit.compiled import Compiled
    from mfc.planner.frontier import Survey
    from mfc.planner.plan import Plan
    from mfc.spec.load import LoadedSpec
    from mfc.target import Lowered, Start

__all__ = [
    "cannot_fit",
    "compile",
    "compile_each",
    "compiled_for",
    "load",
    "lower",
    "outputs",
    "plan",
    "plan_each",
    "planned_for",
    "plans",
    "survey",
    "writable",
]

T = TypeVar("T")


def load(source: Any, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Read a spec from a file or a mapping. Raises SpecError saying where, what and how to mend it."""
    from mfc.spec.load import LoadedSpec, load

    return source if isinstance(source, LoadedSpec) and not overrides else load(source, overrides)


def plan(source: Any, target: str | None = None, overrides: Sequence[str] = (), *, hub_cache: bool = True) -> Plan:
    """Plan a spec for one target: `target`, else the first that the spec names, else the one most often met.

    A plan that does not fit is returned too, with `fits` false. Raises SpecError for what the spec gets wrong and
    CannotExpress for what the target cannot say.
    """
    loaded = load(source, overrides)
    names = [target] if target else planned_for(loaded)[:1]
    return plans(loaded, names, hub_cache=hub_cache)[0]


def plans(loaded: LoadedSpec, targets: Sequence[str], *, hub_cache: bool = True) -> list[Plan]:
    """Plans of one spec for several targets that mean the same experiment; raises the first error of any of them."""
    return [_or_raise(made) for made in plan_each(loaded, targets, hub_cache=hub_cache)]


def compile(  # noqa: A001
    source: Any,
    targets: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
) -> list[Compiled]:
    """Compile a spec for some targets (default: those it names). Nothing is written.

    `out` is the output folder; with several targets each gets a folder of its name in it. Raises SpecError, CannotFit
    or CannotExpress: the first error of any target.
    """
    loaded = load(source, overrides)
    return [_or_raise(made) for made in compile_each(loaded, compiled_for(loaded, targets), out)]


def compiled_for(loaded: LoadedSpec, targets: Sequence[str] | None) -> list[str]:
    """The targets to compile for: those asked for, else those of the spec. Raises SpecError when there are none."""
    names = list(dict.fromkeys(targets or loaded.spec.targets))
    if not names:
        from mfc import target as registry

        raise SpecError(
            f"{loaded.name}: error: no target to compile for: name one with --target, or in the spec under targets "
            f"({', '.join(registry.names())})"
        )
    return names


def compile_each(
    loaded: LoadedSpec, targets: Sequence[str], out: str | os.PathLike[str] | None = None
) -> list[Compiled | MfcError]:
    """For each target what is to be written, or what stands in the way: one refusal does not silence the others.

    Raises SpecError for what no target can mend.
    """
    _need_data(loaded)
    made = plan_each(loaded, targets, hub_cache=False)
    return [
        plan if isinstance(plan, MfcError) else attempt(partial(_compile, loaded, plan, targets, out)) for plan in made
    ]


def _compile(loaded: LoadedSpec, made: Plan, targets: Sequence[str], out: str | os.PathLike[str] | None) -> Compiled:
    """The outputs of a plan for one target of several."""
    return outputs(loaded, made, _folder(loaded, made.profile.target, targets, out))


def outputs(loaded: LoadedSpec, made: Plan, folder: Path | None = None) -> Compiled:
    """The outputs of a plan that was made without a hub's cache, in `folder` (default: that which the spec declares).

    Raises SpecError, CannotFit and CannotExpress.
    """
    from mfc import emit
    from mfc.beside import probes
    from mfc.emit import place
    from mfc.emit.compiled import Compiled

    _need_data(loaded)
    if not made.fits:
        raise CannotFit(cannot_fit(made, loaded.name))
    name, problem = made.profile.target, made.problem
    folder = place.declared(loaded, name) if folder is None else folder
    run, lowered, command = _written(loaded, made, folder)
    with placed(loaded, name, problem):
        files = emit.produce(lowered, run, target_of(loaded, name), loaded)
    executable = frozenset(file.path for file in lowered.files if file.executable)
    trial = _probe(loaded, made, folder) if loaded.spec.run.probe else None
    config = problem.spec.model.config
    return Compiled(
        target=name,
        plan=run,
        spec=loaded.path,
        out=folder,
        files=files | trial.files if trial else files,
        executable=executable | trial.executable if trial else executable,
        by_folders=bool(problem.beside),
        probes=probes(loaded),
        inputs=(*loaded.sources, *((loaded.folder("model.config") / config,) if config else ())),
        overrides=loaded.overrides,
        launch=command,
        trial=trial.command if trial else "",
        declared=place.is_declared(loaded, name, folder),
    )


class _Trial(NamedTuple):
    """The files of a probe by their paths in the output folder, and the command that starts it from its own folder."""

    files: dict[str, str]
    executable: frozenset[str]
    command: str


def _probe(loaded: LoadedSpec, made: Plan, out: Path, *, checked_only: bool = False) -> _Trial:
    """What proves a plan on its machine: the same run, for a few steps. Raises SpecError where it cannot be."""
    from mfc import emit
    from mfc.probe import files as probe
    from mfc.probe.plan import probed
    from mfc.probe.rows import recipe

    name, folder, home = made.profile.target, out / probe.FOLDER, _home(loaded)
    with placed(loaded, name, made.problem):
        changed, plan = probed(loaded, made, _relative(folder, home))
        rows = recipe(loaded.spec, plan, _relative(home, folder))
    plan, lowered, command = _written(changed, plan, folder, probe.start)
    with placed(changed, name, plan.problem):
        if checked_only:
            emit.check(lowered, plan, target_of(changed, name), changed)
            return _Trial({}, frozenset(), command)
        texts = emit.produce(lowered, plan, target_of(changed, name), changed)
        texts |= probe.beside(loaded, made, plan, lower(changed, plan, folder).start, rows)
    runs = {probe.SCRIPT, *(file.path for file in lowered.files if file.executable)}
    return _Trial(
        {f"{probe.FOLDER}/{path}": text for path, text in texts.items()},
        frozenset(f"{probe.FOLDER}/{path}" for path in runs),
        command,
    )


def survey(made: Plan) -> Survey:
    """Memory against time over all strategies of a plan's experiment, and what each lever saves and costs."""
    from mfc.planner.frontier import survey
    from mfc.rules import RULES
    from mfc.target import get

    return survey(made, (*RULES, *get(made.profile.target).RULES))


def writable(loaded: LoadedSpec, made: Plan) -> Plan:
    """The plan, with what the user's native keys do to it, once all is checked that compiling would refuse.

    Raises SpecError and CannotExpress.
    """
    from mfc import emit
    from mfc.emit import place

    name = made.profile.target
    out = place.declared(loaded, name)
    said, lowered, _ = _written(loaded, made, out)
    with placed(loaded, name, made.problem):
        emit.check(lowered, said, target_of(loaded, name), loaded)
    if loaded.spec.run.probe:
        _probe(loaded, made, out, checked_only=True)
    return said


def _written(
    loaded: LoadedSpec, made: Plan, out: Path, started: Callable[[Start], Start] = lambda start: start
) -> tuple[Plan, Lowered, str]:
    """A plan that knows whether the user's native keys may change it, its native data with them, and its command.

    The files are the target's, and those of who starts it: `started` says what that is, from the target's own start.
    """
    from mfc import emit, launchers

    name = made.profile.target
    extra, verified = emit.check_extra(target_of(loaded, name), settings_of(made.problem, name), loaded, made)
    made = made if verified else made._replace(verified=False)
    lowered = lower(loaded, made, out, extra)
    with placed(loaded, name, made.problem):
        called = f"{loaded.path.stem if loaded.path else 'mfc'}-{name}"
        there, back = _relative(out, _home(loaded)), _relative(_home(loaded), out)
        launched = launchers.launch(made, started(lowered.start), called, there, back)
    return made, lowered._replace(files=(*lowered.files, *launched.files)), launched.command


def lower(loaded: LoadedSpec, plan: Plan, out: Path, extra: Mapping[str, Any] | None = None) -> Lowered:
    """The native data of a plan for its target, as files in the folder `out` have it.

    `extra` are the user's own native keys. A plan needs no data: a made-up file stands in their place. Raises SpecError
    and CannotExpress for what cannot be written.
    """
    plan, name = _with_data(plan), plan.profile.target
    with placed(loaded, name, plan.problem):
        return target_of(loaded, name).lower(plan, extra or {}, _relative(_home(loaded), out))


def _home(loaded: LoadedSpec) -> Path:
    """The folder that paths of a spec are relative to."""
    return loaded.path.parent if loaded.path else Path()


def _relative(folder: Path, seen_from: Path) -> str:
    return Path(os.path.relpath(os.path.realpath(folder), os.path.realpath(seen_from))).as_posix()


def _with_data(plan: Plan) -> Plan:
    """A plan that has something to train on."""
    spec = plan.problem.spec
    if spec.data.train:
        return plan
    from mfc.spec.inputs import DatasetSpec

    data = spec.data.model_copy(update={"train": (DatasetSpec(path="train.jsonl", format=spec.data.format),)})
    return plan._replace(problem=plan.problem._replace(spec=spec.model_copy(update={"data": data})))


def _need_data(loaded: LoadedSpec) -> None:
    if not loaded.spec.data.train:
        raise SpecError(
            f"{loaded.name}: error: data is needed to compile: say what to train on, such as data: train.jsonl"
        )


def cannot_fit(plan: Plan, name: str) -> str:
    """Why nothing fits on a target and what would, as an error message."""
    from mfc.report.text import relaxation_lines, shortfall

    who = f"{plan.profile.target} {plan.profile.version}"
    return "\n".join([f"{name}: error: {who}: {shortfall(plan)}", *relaxation_lines(plan)])


def _or_raise(made: T | MfcError) -> T:
    if isinstance(made, MfcError):
        raise made
    return made


def _folder(loaded: LoadedSpec, name: str, names: Sequence[str], out: str | os.PathLike[str] | None) -> Path:
    from mfc.emit import place

    if out is None:
        return place.declared(loaded, name)
    return Path(out) / name if len(names) > 1 else Path(out)
