"""Memory against time over all strategies of a plan's experiment, and the price of each lever beside the plan.

The frontier holds strategies that train the same as the plan does; a lever may be another optimizer or precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mfc.fields import CHOICES, RESULTS
from mfc.planner.costing import Candidate
from mfc.planner.plan import Plan
from mfc.planner.search import evaluate, trusted_seconds
from mfc.planner.space import Rejections, domain, facts
from mfc.rules.engine import Rule

_FIXED = ("method", "lora_rank", "max_length")  # what the experiment means, which no lever may change
_STEP = 0.02  # the next point of the frontier is at least so much faster


class Point(NamedTuple):
    """A strategy that no other beats in both memory and time. `changes` are where it differs from the plan."""

    changes: Mapping[str, Any]
    upper_bytes: int
    seconds_per_step: float
    fits: bool


class Lever(NamedTuple):
    """One field of the plan set to another value, all else kept: what it saves of memory, what it costs in time."""

    field: str
    value: Any
    saved_bytes: int  # below 0: it takes so much more
    added_seconds: float  # a step; below 0: it gains so much
    fits: bool


class Survey(NamedTuple):
    """What the search looked at, whether it fits or not."""

    evaluated: int
    frontier: tuple[Point, ...]  # the leanest first
    levers: tuple[Lever, ...]  # in the order of the fields, the most saving value first
    plan: Point | None  # where the plan itself lies, on the frontier or behind it


def survey(plan: Plan, rules: tuple[Rule, ...]) -> Survey:
    """The frontier and the levers of a plan; `rules` are those that it was made by.

    Times are those of training alone: rollouts, where there are some, take as long beside every strategy.
    """
    problem, strategy = plan.problem, plan.strategy
    start = facts(problem, plan.profile)
    rank = strategy.lora.rank if strategy.lora else domain("lora_rank", problem, start)[0]
    fixed = dict(zip(_FIXED, (strategy.method, rank, strategy.max_length), strict=True))
    found = evaluate(problem, start, rules, fixed, Rejections())
    chosen = {name: fixed.get(name, plan.values.get(name, getattr(strategy, name, None))) for name in CHOICES}
    alike = [one for one in found if all(one.value(name) == chosen[name] for name in CHOICES if name in RESULTS)]
    here = next((one for one in found if not _changes(one, chosen)), None)
    return Survey(
        len(found),
        tuple(_point(one, chosen) for one in _frontier(alike)),
        tuple(_levers(found, here, chosen)) if here else (),
        _point(here, chosen) if here else None,
    )


def _frontier(found: Sequence[Candidate]) -> Iterator[Candidate]:
    """By rising memory, those that are faster than all before; offload at the time that the search takes it at."""
    fastest = float("inf")
    for one in sorted(found, key=lambda one: (one.upper_bytes, trusted_seconds(one))):
        if trusted_seconds(one) < fastest * (1 - _STEP):
            fastest = trusted_seconds(one)
            yield one


def _changes(candidate: Candidate, chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name in CHOICES if (value := candidate.value(name)) != chosen[name]}


def _point(candidate: Candidate, chosen: Mapping[str, Any]) -> Point:
    return Point(_changes(candidate, chosen), int(candidate.upper_bytes), candidate.seconds_per_step, candidate.fits)


def _levers(found: Sequence[Candidate], here: Candidate, chosen: Mapping[str, Any]) -> Iterator[Lever]:
    near = [(one, _changes(one, chosen)) for one in found]
    levers = [
        Lever(
            *next(iter(changes.items())),
            saved_bytes=int(here.upper_bytes - one.upper_bytes),
            added_seconds=one.seconds_per_step - here.seconds_per_step,
            fits=one.fits,
        )
        for one, changes in near
        if len(changes) == 1
    ]
    yield from sorted(levers, key=lambda one: (CHOICES.index(one.field), -one.saved_bytes))
