"""Two runs side by side for people and programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mfc.diff.reading import machines
from mfc.diff.words import effect, turn
from mfc.report import json
from mfc.report.text import GIB, gib, seconds, show
from mfc.spec.marks import printable

if TYPE_CHECKING:
    from mfc.diff.compare import Compared, Difference
    from mfc.diff.side import Side, Stated

_HEADINGS = {
    "result": "changes what is learnt",
    "cost": "changes only memory and time",
    "run": "changes only what is around the run",
}


def text(one: Compared) -> str:
    """What each run takes, then every difference: the most telling first."""
    return "\n".join(_lines(one)) + "\n"


def _lines(one: Compared) -> Iterator[str]:
    yield from _table([("", "-", "+"), *_heads(one.a, one.b)])
    for kind, heading in _HEADINGS.items():
        if found := [each for each in one.differences if each.kind == kind]:
            yield ""
            yield heading
            for each in found:
                yield from _difference(each)
    if one.own:
        yield ""
        yield "in words of a framework's own, which mfc only hands on"
        for own in one.own:
            yield f"  {printable(own.key)}"
            yield from _pair(own.a, own.b)
    if one.only:
        yield ""
    for mark, side in (("-", "a"), ("+", "b")):
        if only := [f"{name} {_value(value)}" for name, (whose, value) in one.only.items() if whose == side]:
            yield f"{mark} alone has: {', '.join(only)}"
    yield ""
    told = (name for name in sorted(one.same, key=turn) if effect(name).kind == "result")
    same = [f"{name} {_value(one.same[name])}" for name in told]
    yield f"the same: {', '.join(same) or 'nothing'}"
    for mark, whole in (("-", one.a), ("+", one.b)):
        if whole.unsaid:
            yield f"{mark} does not say: {', '.join(_unsaid(whole))}"
        yield from (f"{mark} note: {printable(note)}" for note in whole.notes)
        if whole.plan is None and whole.refused:
            yield f"{mark} cannot be planned: {printable(whole.refused.partition(chr(10))[0])}"
    if one.equal:
        yield "they do the same"


def _difference(one: Difference) -> Iterator[str]:
    yield f"  {one.field}"
    yield from _pair(one.a, one.b)
    yield f"      {one.why}{_cost(one)}"


def _pair(a: Stated, b: Stated) -> Iterator[str]:
    shown = [_value(one.value) if one.where else "not said" for one in (a, b)]
    width = max(map(len, shown))
    for mark, value, one in zip("-+", shown, (a, b), strict=True):
        where = one.where or f"planned with {_value(one.value)}"
        yield f"    {mark} {value:<{width}}  {printable(where)}"


def _cost(one: Difference) -> str:
    if one.cost is None:
        return ""
    size, time = one.cost.bytes, one.cost.seconds
    said = [f"{gib(abs(size))} per GPU {'more' if size > 0 else 'less'}"] if size else []
    said += [f"{seconds(abs(time))} a step {'more' if time > 0 else 'less'}"] if time else []
    return f"; with that alone as + has it, - would take {' and '.join(said)}"


def _heads(a: Side, b: Side) -> Iterator[tuple[str, str, str]]:
    """What the two are and take, row by row."""
    yield "file", printable(a.name), printable(b.name)
    yield "framework", a.framework, b.framework
    told = [(side.plan if side.hardware else None) for side in (a, b)]
    if not any(told):
        yield "memory", "add --hardware", "add --hardware"
        return
    yield from _figures("hardware", told, machines)
    yield from _figures("fits", told, lambda plan: "yes" if plan.fits else "NO")
    yield from _figures("trains", told, lambda plan: f"{plan.trainable_parameters / 1e6:,.1f}M parameters")
    yield from _figures("memory per GPU", told, lambda plan: gib(plan.memory.process_bytes))
    yield from _figures("  at most", told, lambda plan: gib(plan.memory.upper_bytes))
    yield from _figures("  budget", told, lambda plan: gib(plan.budget_bytes))
    yield from _figures("  peak in", told, lambda plan: plan.memory.moment)
    peaks = dict.fromkeys(plan.memory.moment for plan in told if plan)
    for moment in peaks if len(peaks) > 1 else ():
        yield from _figures(f"  {moment}", told, lambda plan, at=moment: _moment(plan, at))
    parts = dict.fromkeys(part for plan in told if plan for part in plan.memory.components)
    for part in parts:
        sizes = [plan.memory.components.get(part, 0) if plan else 0 for plan in told]
        if abs(sizes[0] - sizes[1]) >= GIB / 20:
            yield from _figures(f"  {part}", told, lambda plan, part=part: gib(plan.memory.components.get(part, 0)))
    yield from _figures("host per node", told, lambda plan: gib(plan.memory.host_bytes_per_node))
    yield from _figures("a step", told, lambda plan: seconds(plan.speed.seconds_per_step))
    yield from _figures("tokens/s", told, lambda plan: f"{plan.speed.tokens_per_second:,.0f}")


def _figures(name: str, plans: Any, of: Any) -> Iterator[tuple[str, str, str]]:
    first, second = (of(plan) if plan else "?" for plan in plans)
    yield name, first, second


def _moment(plan: Any, moment: str) -> str:
    return gib(plan.memory.moments[moment]) if moment in plan.memory.moments else "-"


def _table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for first, second, third in rows:
        yield f"{first:<{widths[0]}}  {second:<{widths[1]}}  {third}".rstrip()


def _unsaid(side: Side) -> list[str]:
    return [f"{name} (planned with {_value(side.values[name].value)})" for name in side.unsaid]


def _value(value: Any) -> str:
    return printable(show(value))


def document(one: Compared) -> dict[str, Any]:
    """All of it as plain data. Sizes are bytes, times seconds."""
    return {
        "schema_version": 1,
        "equal": one.equal,
        "a": _side(one.a),
        "b": _side(one.b),
        "differences": [
            {
                "field": each.field,
                "changes": each.kind,
                "a": _stated(each.a),
                "b": _stated(each.b),
                "why": each.why,
                "alone": {"bytes": each.cost.bytes, "seconds_per_step": each.cost.seconds} if each.cost else None,
            }
            for each in one.differences
        ],
        "own": [{"key": own.key, "a": _stated(own.a), "b": _stated(own.b)} for own in one.own],
        "only": {name: {"in": whose, "value": json.plain(value)} for name, (whose, value) in one.only.items()},
        "same": json.plain(dict(one.same)),
    }


def _stated(one: Stated) -> dict[str, Any]:
    return {"value": json.plain(one.value), "where": one.where, "by": one.by}


def _side(side: Side) -> dict[str, Any]:
    plan = side.plan if side.hardware else None
    made: dict[str, Any] = {
        "file": side.name,
        "target": side.target,
        "version": side.version,
        "unsaid": list(side.unsaid),
        "notes": list(side.notes),
    }
    if plan is None:
        return made | {"predicted": None, "refused": side.refused or None}
    return made | {
        "predicted": {
            "fits": plan.fits,
            "peak_bytes": plan.memory.process_bytes,
            "upper_bytes": plan.memory.upper_bytes,
            "budget_bytes": plan.budget_bytes,
            "moment": plan.memory.moment,
            "moments": dict(plan.memory.moments),
            "components": dict(plan.memory.components),
            "host_bytes_per_node": plan.memory.host_bytes_per_node,
            "seconds_per_step": plan.speed.seconds_per_step,
            "tokens_per_second": plan.speed.tokens_per_second,
            "trainable_parameters": plan.trainable_parameters,
        },
        "refused": side.refused or None,
    }
