"""Memory against time, and the price of each lever, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mfc.planner.search import OFFLOAD_DOUBT
from mfc.report.text import gib, seconds, show, strategy_parts

if TYPE_CHECKING:
    from mfc.planner.frontier import Lever, Survey
    from mfc.planner.plan import Plan


def text(plan: Plan, survey: Survey) -> str:
    """Both tables; the plan stands in the first where it is on the frontier."""
    return "\n".join(_lines(plan, survey))


def _lines(plan: Plan, survey: Survey) -> Iterator[str]:
    yield f"memory against time: of {survey.evaluated:,} strategies none is both leaner and faster than one of these"
    names = {name for point in survey.frontier for name in point.changes} | strategy_parts(plan).keys()
    if any(name.startswith("offload") for name in names):
        yield f"(where offload counts as {OFFLOAD_DOUBT - 1:.0%} slower, as in the search)"
    for point in survey.frontier:
        changes = ", ".join(f"{name} {show(value)}" for name, value in point.changes.items()) or "the plan"
        lack = "" if point.fits else "; does not fit"
        yield f"  {gib(point.upper_bytes):>10}  {seconds(point.seconds_per_step):>6}  {changes}{lack}"
    yield ""
    yield "what each lever saves and costs beside this plan"
    step = plan.speed.seconds_per_step
    for lever in shown_levers(survey.levers):
        memory = f"{'saves' if lever.saved_bytes >= 0 else 'takes'} {gib(abs(lever.saved_bytes))}"
        time = f"{'costs' if lever.added_seconds >= 0 else 'gains'} {abs(lever.added_seconds) / step:.0%} of a step"
        lack = "" if lever.fits else "; does not fit"
        yield f"  {lever.field} {show(lever.value)}: {memory}, {time}{lack}"


def shown_levers(levers: tuple[Lever, ...]) -> Iterator[Lever]:
    """Of values that do not fit, and that come the most saving first, only the first of each field."""
    lacking = set()
    for lever in levers:
        if lever.fits or lever.field not in lacking:
            yield lever
        if not lever.fits:
            lacking.add(lever.field)
