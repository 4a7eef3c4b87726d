"""The public functions: load a spec, plan it, compile it. The command line is a thin layer over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfc.errors import CannotExpress, CannotFit, Fault, MfcError, Refused, SpecError

if TYPE_CHECKING:
    from mfc.emit.compiled import Compiled
    from mfc.planner.plan import Plan
    from mfc.problem import Problem
    from mfc.spec.load import LoadedSpec
    from mfc.spec.models import TargetSpec
    from mfc.target import Lowered, Target

Source = "str | os.PathLike[str] | Mapping[str, Any] | LoadedSpec"


def load(source: Any, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Read a spec from a file or a mapping. Raises SpecError saying where, what and how to mend it."""
    from mfc.spec.load import LoadedSpec, load

    return source if isinstance(source, LoadedSpec) and not overrides else load(source, overrides)


def plan(source: Any, target: str | None = None, overrides: Sequence[str] = (), *, hub_cache: bool = True) -> Plan:
    """Plan a spec for one target, or for a plain trainer when `target` is None.

    A plan that does not fit is returned too, with `fits` false. Raises SpecError for what the spec gets wrong and
    CannotExpress for what the target cannot say.
    """
    loaded = load(source, overrides)
    return plans(loaded, [target], hub_cache=hub_cache)[0]


def plans(loaded: LoadedSpec, targets: Sequence[str | None], *, hub_cache: bool = True) -> list[Plan]:
    """Plans of one spec for several targets (None: a plain trainer) that mean the same experiment.

    What the user means (method, rank, length ...) is what fits on all of them, and on the other targets that the spec
    names; what concerns only memory and time is each one's own.
    """
    problem = _agreed(loaded, _problem(loaded, hub_cache), targets)
    return [_plan(loaded, name, problem) for name in targets]


def compile(  # noqa: A001
    source: Any,
    targets: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
) -> list[Compiled]:
    """Compile a spec for some targets (default: those it names). Nothing is written.

    `out` is the output folder; with several targets each gets a folder of its name in it. Raises SpecError,
    CannotFit or CannotExpress.
    """
    loaded = load(source, overrides)
    names = list(dict.fromkeys(targets or loaded.spec.targets))
    if not names:
        from mfc import target as registry

        raise SpecError(
            f"{loaded.name}: error: no target to compile for: name one with --target, or in the spec under targets "
            f"({', '.join(registry.names())})"
        )
    _need_data(loaded)
    made = plans(loaded, names, hub_cache=False)
    return [
        _compile(loaded, plan, name, _folder(loaded, name, names, out)) for plan, name in zip(made, names, strict=True)
    ]


def _compile(loaded: LoadedSpec, made: Plan, name: str, out: Path) -> Compiled:
    """The outputs of a plan for one target in the folder `out`."""
    from mfc import emit
    from mfc.beside import probes
    from mfc.emit import place
    from mfc.emit.compiled import Compiled

    target = _target(loaded, name)
    if not made.fits:
        raise CannotFit(cannot_fit(made, loaded.name))
    problem = made.problem
    settings = _settings(problem, name)
    extra, verified = emit.check_extra(target, settings, loaded)
    if not verified:
        made = made._replace(verified=False)
    lowered = lower(loaded, made, out, extra)
    with _placed(loaded, name, problem):
        files = emit.produce(lowered, made, target, loaded)
    config = problem.spec.model.config
    return Compiled(
        target=name,
        plan=made,
        spec=loaded.path,
        out=out,
        files=files,
        executable=frozenset(file.path for file in lowered.files if file.executable),
        by_folders=bool(problem.beside),
        probes=probes(loaded),
        inputs=(*loaded.sources, *((loaded.folder("model.config") / config,) if config else ())),
        overrides=loaded.overrides,
        launch=lowered.launch,
        declared=place.is_declared(loaded, name, out),
    )


def lower(loaded: LoadedSpec, plan: Plan, out: Path, extra: Mapping[str, Any] | None = None) -> Lowered:
    """The native data of a plan for its target, as files in the folder `out` have it.

    `extra` are the user's own native keys. Raises SpecError and CannotExpress for what cannot be written.
    """
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
    """Why nothing fits and what would, as an error message."""
    from mfc.report.text import relaxation_lines, shortfall

    return "\n".join([f"{name}: error: {shortfall(plan)}", *relaxation_lines(plan)])


def _problem(loaded: LoadedSpec, hub_cache: bool) -> Problem:
    from mfc.resolve import resolve

    return resolve(loaded, hub_cache=hub_cache)


def _agreed(loaded: LoadedSpec, problem: Problem, targets: Sequence[str | None]) -> Problem:
    """The problem with what its plans must have in common pinned, where the spec leaves room for that to differ."""
    from mfc.fields import SPEC_PATHS
    from mfc.planner.compare import common

    declared = loaded.spec.targets
    group = dict.fromkeys([*targets, *(declared if any(name in declared for name in targets) else ())])
    if len(group) < 2 or not (problem.ranges or "method" not in problem.pins):
        return problem
    made = []
    for name in group:
        try:
            made.append(_plan(loaded, name, problem))
        except MfcError:
            if name in targets:
                raise
    edits = common([plan for plan in made if plan.fits])
    pins = {name: edits[path] for name, path in SPEC_PATHS.items() if path in edits}
    ranges = {name: room for name, room in problem.ranges.items() if name not in pins}
    return problem._replace(pins={**problem.pins, **pins}, ranges=ranges, agreed=frozenset(pins))


def _plan(loaded: LoadedSpec, name: str | None, problem: Problem) -> Plan:
    with _placed(loaded, name, problem):
        return _planned(loaded, name, problem)


def _planned(loaded: LoadedSpec, name: str | None, problem: Problem) -> Plan:
    from mfc.fields import EVERYTHING
    from mfc.memory.stack import Stack
    from mfc.planner import plan
    from mfc.profile import Profile
    from mfc.rules import RULES

    if name is None:
        profile, rules = Profile("", "", Stack(), supports={**EVERYTHING, "sequence_parallel": (1,)}), RULES
    else:
        target, settings = _target(loaded, name), _settings(problem, name)
        profile, rules = target.profile(_version(target, settings), settings.packages), (*RULES, *target.RULES)
    return plan(_own(loaded, name, problem), profile, rules, _editor(loaded, name))


def _own(loaded: LoadedSpec, name: str | None, problem: Problem) -> Problem:
    """The problem as one target has it: what the spec says for it alone holds in place of what it says for all."""
    path = f"targets.{name}.template"
    said = _settings(problem, name).template if name else "auto"
    if said == "auto":
        return problem
    pins, origin = {**problem.pins, "template": said}, {**problem.origin, "template": str(loaded.where(path))}
    return problem._replace(pins=pins, origin=origin, places={"template": path})


@contextmanager
def _placed(loaded: LoadedSpec, name: str | None, problem: Problem) -> Iterator[None]:
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


def _editor(loaded: LoadedSpec, name: str | None) -> Callable[[Mapping[str, Any]], Problem | None]:
    """Problems of a target for edited specs, by way of the loader, so that an edit is checked like any spec."""

    def edited(edit: Mapping[str, Any]) -> Problem | None:
        sets = [f"{path}={str(value).lower() if isinstance(value, bool) else value}" for path, value in edit.items()]
        try:
            other = load(loaded.path or loaded.raw, (*loaded.overrides, *sets))
            return _own(other, name, _problem(other, hub_cache=True))
        except SpecError:
            return None

    return edited


def _who_can(loaded: LoadedSpec, name: str | None, problem: Problem) -> str:
    """Which other targets can say what this one cannot: those for which a plan can be made."""
    from mfc.target import names

    able = []
    for other in names():
        if other != name:
            try:
                _planned(loaded, other, problem)
            except (CannotExpress, Fault):
                continue
            except MfcError:
                pass  # it could, were the spec mended
            able.append(other)
    return f"\n  targets that can: {', '.join(able)}" if able else ""


def _folder(loaded: LoadedSpec, name: str, names: Sequence[str], out: str | os.PathLike[str] | None) -> Path:
    from mfc.emit import place

    if out is None:
        return place.declared(loaded, name)
    return Path(out) / name if len(names) > 1 else Path(out)
