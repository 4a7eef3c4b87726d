"""One spec planned for its targets: what they agree on, what is each one's own, and what one of them cannot say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mfc.errors import CannotExpress, Fault, MfcError, Refused, SpecError

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.problem import Problem
    from mfc.profile import Profile
    from mfc.spec.load import LoadedSpec
    from mfc.spec.models import TargetSpec
    from mfc.target import Target

T = TypeVar("T")


def planned_for(loaded: LoadedSpec) -> list[str]:
    """The targets to plan for when none is asked for: those of the spec, else the commonest that can say it."""
    if loaded.spec.targets:
        return list(loaded.spec.targets)
    from mfc.target import commonest

    problem, names = _problem(loaded, hub_cache=True), commonest()
    return [next((name for name in names if _can(loaded, name, problem)), names[0])]


def plan_each(loaded: LoadedSpec, targets: Sequence[str], *, hub_cache: bool = True) -> list[Plan | MfcError]:
    """For each target its plan, or why there is none; the plans mean the same experiment.

    What the user means (method, rank, length ...) is what fits on all of these targets, and of those that the spec
    names, that can; what concerns only memory and time is each one's own. Raises SpecError for what no target can mend.
    """
    problem = _agreed(loaded, _problem(loaded, hub_cache), targets)
    return [attempt(partial(_plan, loaded, name, problem)) for name in targets]


def attempt(make: Callable[[], T]) -> T | MfcError:
    """What is made, or the error in its way."""
    try:
        return make()
    except MfcError as error:
        return error


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
    made = [attempt(partial(_plan, loaded, name, problem, relaxed=False)) for name in group]
    edits = common([plan for plan in made if not isinstance(plan, MfcError) and plan.fits])
    pins = {name: edits[path] for name, path in SPEC_PATHS.items() if path in edits}
    ranges = {name: room for name, room in problem.ranges.items() if name not in pins}
    return problem._replace(pins={**problem.pins, **pins}, ranges=ranges, agreed=frozenset(pins))


def _plan(loaded: LoadedSpec, name: str, problem: Problem, *, relaxed: bool = True) -> Plan:
    with placed(loaded, name, problem):
        return _planned(loaded, name, problem, relaxed=relaxed)


def _planned(loaded: LoadedSpec, name: str, problem: Problem, *, relaxed: bool) -> Plan:
    """The plan for one target; where nothing fits, with what would only if `relaxed`, as that takes many searches."""
    from mfc.planner import plan
    from mfc.rules import RULES

    target = target_of(loaded, name)
    rules = (*RULES, *target.RULES)
    edited = editor(loaded, target) if relaxed else None
    return plan(_own(loaded, name, problem), _profile(target, problem), rules, edited)


def replanned(loaded: LoadedSpec, made: Plan, pins: Mapping[str, Any]) -> Plan:
    """The plan of a changed spec for the target of another plan, with these choices. Raises what planning raises."""
    from mfc.planner import plan
    from mfc.rules import RULES

    name = made.profile.target
    target, problem = target_of(loaded, name), _problem(loaded, hub_cache=False)
    with placed(loaded, name, problem):
        problem = _own(loaded, name, problem)
        problem = problem._replace(pins={**problem.pins, **pins}, ranges={})
        return plan(problem, _profile(target, problem), (*RULES, *target.RULES), None)


def _own(loaded: LoadedSpec, name: str, problem: Problem) -> Problem:
    """The problem as one target has it: what the spec says for it alone holds in place of what it says for all."""
    path = f"targets.{name}.template"
    said = settings_of(problem, name).template
    if said == "auto":
        return problem
    pins, origin = {**problem.pins, "template": said}, {**problem.origin, "template": str(loaded.where(path))}
    return problem._replace(pins=pins, origin=origin, places={"template": path})


def _profile(target: Target, problem: Problem) -> Profile:
    settings = settings_of(problem, target.NAME)
    return target.profile(_version(target, settings), settings.packages)


@contextmanager
def placed(loaded: LoadedSpec, name: str, problem: Problem) -> Iterator[None]:
    """Give a refusal its place in the spec, or the name of the spec and the targets that can."""
    try:
        yield
    except Refused as error:
        raise loaded.error(error.path, error.text, hint=error.hint) from None
    except CannotExpress as error:
        raise CannotExpress(f"{loaded.name}: error: {error}{_who_can(loaded, name, problem)}") from None


def target_of(loaded: LoadedSpec, name: str) -> Target:
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


def settings_of(problem: Problem, name: str) -> TargetSpec:
    """What the spec says of a target; the defaults where it says nothing."""
    from mfc.spec.models import TargetSpec

    return problem.spec.targets.get(name) or TargetSpec()


def _version(target: Target, settings: TargetSpec) -> str:
    """The version as the spec has it; unknown ones are planned as the nearest that mfc knows."""
    if settings.version == "auto":
        return target.VERSIONS[0]
    return settings.version


def editor(loaded: LoadedSpec, target: Target) -> Callable[[Mapping[str, Any]], tuple[Problem, Profile] | None]:
    """Problems of a target for edited specs, by way of the loader, so that an edit is checked like any spec."""
    from mfc.spec.load import load

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
    from mfc.planner import possible
    from mfc.rules import RULES

    try:
        target = target_of(loaded, name)
        if not possible(_own(loaded, name, problem), _profile(target, problem), (*RULES, *target.RULES)):
            _planned(loaded, name, problem, relaxed=False)  # says who is in the way
    except (CannotExpress, Fault):
        return False
    except MfcError:
        pass
    return True
