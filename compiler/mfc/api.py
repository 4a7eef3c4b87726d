"""The public functions: load a spec, plan it, compile it. The command line is a thin layer over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mfc.errors import CannotExpress, CannotFit, Fault, MfcError, Refused, SpecError

if TYPE_CHECKING:
    from mfc.emit.compiled import Compiled
    from mfc.planner.plan import Plan
    from mfc.problem import Problem
    from mfc.profile import Profile
    from mfc.spec.load import LoadedSpec
    from mfc.spec.models import TargetSpec
    from mfc.target import Lowered, Target

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


def planned_for(loaded: LoadedSpec) -> list[str]:
    """The targets to plan for when none is asked for: those of the spec, else the commonest that can say it."""
    if loaded.spec.targets:
        return list(loaded.spec.targets)
    from mfc.target import commonest

    problem, names = _problem(loaded, hub_cache=True), commonest()
    return [next((name for name in names if _can(loaded, name, problem)), names[0])]


def plans(loaded: LoadedSpec, targets: Sequence[str], *, hub_cache: bool = True) -> list[Plan]:
    """Plans of one spec for several targets that mean the same experiment; raises the first error of any of them."""
    return [_or_raise(made) for made in plan_each(loaded, targets, hub_cache=hub_cache)]


def plan_each(loaded: LoadedSpec, targets: Sequence[str], *, hub_cache: bool = True) -> list[Plan | MfcError]:
    """For each target its plan, or why there is none; the plans mean the same experiment.

    What the user means (method, rank, length ...) is what fits on all of these targets, and of those that the spec
    names, that can; what concerns only memory and time is each one's own. Raises SpecError for what no target can mend.
    """
    problem = _agreed(loaded, _problem(loaded, hub_cache), targets)
    return [_attempt(partial(_plan, loaded, name, problem)) for name in targets]


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
        plan if isinstance(plan, MfcError) else _attempt(partial(_compile, loaded, plan, name, targets, out))
        for plan, name in zip(made, targets, strict=True)
    ]


def _compile(
    loaded: LoadedSpec, made: Plan, name: str, targets: Sequence[str], out: str | os.PathLike[str] | None
) -> Compiled:
    """The outputs of a plan for one target of several."""
    from mfc import emit
    from mfc.beside import probes
    from mfc.emit import place
    from mfc.emit.compiled import Compiled

    if not made.fits:
        raise CannotFit(cannot_fit(made, loaded.name))
    folder, problem = _folder(loaded, name, targets, out), made.problem
    made, lowered = _written(loaded, made, folder)
    with _placed(loaded, name, problem):
        files = emit.produce(lowered, made, _target(loaded, name), loaded)
    config = problem.spec.model.config
    return Compiled(
        target=name,
        plan=made,
        spec=loaded.path,
        out=folder,
        files=files,
        executable=frozenset(file.path for file in lowered.files if file.executable),
        by_folders=bool(problem.beside),
        probes=probes(loaded),
        inputs=(*loaded.sources, *((loaded.folder("model.config") / config,) if config else ())),
        overrides=loaded.overrides,
        launch=lowered.launch,
        declared=place.is_declared(loaded, name, folder),
    )


def writable(loaded: LoadedSpec, made: Plan) -> Plan:
    """The plan, with what the user's native keys do to it, once all is checked that compiling would refuse.

    A spec without data is checked with a made-up file in their place, as a plan needs none. Raises SpecError and
    CannotExpress.
    """
    from mfc import emit
    from mfc.emit import place

    name = made.profile.target
    spec = made.problem.spec
    if not spec.data.train:
        from mfc.spec.inputs import DatasetSpec

        data = spec.data.model_copy(update={"train": (DatasetSpec(path="train.jsonl", format=spec.data.format),)})
        made = made._replace(problem=made.problem._replace(spec=spec.model_copy(update={"data": data})))
    made, lowered = _written(loaded, made, place.declared(loaded, name))
    with _placed(loaded, name, made.problem):
        emit.check(lowered, made, _target(loaded, name), loaded)
    return made


def _written(loaded: LoadedSpec, made: Plan, out: Path) -> tuple[Plan, Lowered]:
    """A plan that knows whether the user's native keys may change it, and its native data with them."""
    from mfc import emit

    name = made.profile.target
    extra, verified = emit.check_extra(_target(loaded, name), _settings(made.problem, name), loaded, made)
    made = made if verified else made._replace(verified=False)
    return made, lower(loaded, made, out, extra)


def lower(loaded: LoadedSpec, plan: Plan, out: Path, extra: Mapping[str, Any] | None = None) -> Lowered:
    """The native data of a plan for its target, as files in the folder `out` have it.

    `extra` are the user's own native keys. Raises SpecError and CannotExpress for what cannot be written.
    """
    if not plan.problem.spec.data.train:
        _need_data(loaded)
    name = plan.profile.target
    home = loaded.path.parent if loaded.path else Path()
    back = Path(os.path.relpath(os.path.realpath(home), os.path.realpath(out))).as_posix()
    with _placed(loaded, name, plan.problem):
        return _target(loaded, name).lower(plan, extra or {}, back)


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


def _attempt(make: Callable[[], T]) -> T | MfcError:
    """What is made, or the error in its way."""
    try:
        return make()
    except MfcError as error:
        return error


def _or_raise(made: T | MfcError) -> T:
    if isinstance(made, MfcError):
        raise made
    return made


def _problem(loaded: LoadedSpec, hub_cache: bool) -> Problem:
    from mfc.resolve import resolve

    return resolve(loaded, hub_cache=hub_cache)


def _agreed(loaded: LoadedSpec, problem: Problem, targets: Sequence[str]) -> Problem:
    """The problem with what its plans must have in common pinned, where the spec leaves room for that to differ.

    A target that cannot say it, or on which nothing fits, has no part in what is agreed.
    """
    from mfc.fields import SPEC_PATHS
    from mfc.planner.compare import common

    declared = loaded.spec.targets
    group = dict.fromkeys([*targets, *(declared if any(name in declared for name in targets) else ())])
    if len(group) < 2 or not (problem.ranges or "method" not in problem.pins):
        return problem
    made = [_attempt(partial(_plan, loaded, name, problem, relaxed=False)) for name in group]
    edits = common([plan for plan in made if not isinstance(plan, MfcError) and plan.fits])
    pins = {name: edits[path] for name, path in SPEC_PATHS.items() if path in edits}
    ranges = {name: room for name, room in problem.ranges.items() if name not in pins}
    return problem._replace(pins={**problem.pins, **pins}, ranges=ranges, agreed=frozenset(pins))


def _plan(loaded: LoadedSpec, name: str, problem: Problem, *, relaxed: bool = True) -> Plan:
    with _placed(loaded, name, problem):
        return _planned(loaded, name, problem, relaxed=relaxed)


def _planned(loaded: LoadedSpec, name: str, problem: Problem, *, relaxed: bool) -> Plan:
    """The plan for one target; where nothing fits, with what would only if `relaxed`, as that takes many searches."""
    from mfc.planner import plan
    from mfc.rules import RULES

    target = _target(loaded, name)
    rules = (*RULES, *target.RULES)
    editor = _editor(loaded, target) if relaxed else None
    return plan(_own(loaded, name, problem), _profile(target, problem), rules, editor)


def _own(loaded: LoadedSpec, name: str, problem: Problem) -> Problem:
    """The problem as one target has it: what the spec says for it alone holds in place of what it says for all."""
    path = f"targets.{name}.template"
    said = _settings(problem, name).template
    if said == "auto":
        return problem
    pins, origin = {**problem.pins, "template": said}, {**problem.origin, "template": str(loaded.where(path))}
    return problem._replace(pins=pins, origin=origin, places={"template": path})


def _profile(target: Target, problem: Problem) -> Profile:
    settings = _settings(problem, target.NAME)
    return target.profile(_version(target, settings), settings.packages)


@contextmanager
def _placed(loaded: LoadedSpec, name: str, problem: Problem) -> Iterator[None]:
    """Give a refusal its place in the spec, or the name of the spec and the targets that can."""
    try:
        yield
    except Refused as error:
        raise loaded.error(error.path, error.text, hint=error.hint) from None
    except CannotExpress as error:
        raise CannotExpress(f"{loaded.name}: error: {error}{_who_can(loaded, name, problem)}") from None


def _target(loaded: LoadedSpec, name: str) -> Target:
    """The target of this name; where the spec itself names an unknown one, the error points at it."""
    from mfc.target import get, names

    try:
        return get(name)
    except SpecError:  # only now: to list the names takes importlib.metadata
        if name not in loaded.spec.targets:
            raise
        known = names()
        raise loaded.error(
            f"targets.{name}", f"unknown target {name}", allowed=", ".join(known), among=known, word=name
        ) from None


def _settings(problem: Problem, name: str) -> TargetSpec:
    from mfc.spec.models import TargetSpec

    return problem.spec.targets.get(name) or TargetSpec()


def _version(target: Target, settings: TargetSpec) -> str:
    """The version as the spec has it; unknown ones are planned as the nearest that mfc knows."""
    if settings.version == "auto":
        return target.VERSIONS[0]
    return settings.version


def _editor(loaded: LoadedSpec, target: Target) -> Callable[[Mapping[str, Any]], tuple[Problem, Profile] | None]:
    """Problems of a target for edited specs, by way of the loader, so that an edit is checked like any spec."""

    def edited(edit: Mapping[str, Any]) -> tuple[Problem, Profile] | None:
        sets = [f"{path}={str(value).lower() if isinstance(value, bool) else value}" for path, value in edit.items()]
        try:
            other = load(loaded.path or loaded.raw, (*loaded.overrides, *sets))
            problem = _own(other, target.NAME, _problem(other, hub_cache=True))
        except SpecError:
            return None
        return problem, _profile(target, problem)

    return edited


def _who_can(loaded: LoadedSpec, name: str, problem: Problem) -> str:
    """Which other targets can say what this one cannot."""
    from mfc.target import names

    able = [other for other in names() if other != name and _can(loaded, other, problem)]
    return f"\n  targets that can: {', '.join(able)}" if able else ""


def _can(loaded: LoadedSpec, name: str, problem: Problem) -> bool:
    """Whether a target can say a problem: a plan can be made for it, or could, were the spec mended."""
    try:
        _planned(loaded, name, problem, relaxed=False)
    except (CannotExpress, Fault):
        return False
    except MfcError:
        pass
    return True


def _folder(loaded: LoadedSpec, name: str, names: Sequence[str], out: str | os.PathLike[str] | None) -> Path:
    from mfc.emit import place

    if out is None:
        return place.declared(loaded, name)
    return Path(out) / name if len(names) > 1 else Path(out)
