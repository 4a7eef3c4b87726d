"""Plans in the words of a page: what depends on the language, made from numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.fields import SPEC_PATHS
from mfc.page import charts
from mfc.page.words import Said, named, said
from mfc.planner.compare import Difference, differences
from mfc.planner.decide import results_that_may_change
from mfc.planner.search import OFFLOAD_DOUBT
from mfc.report import text
from mfc.report.levers import shown_levers

if TYPE_CHECKING:
    from mfc.page.sheet import Refused, Sheet
    from mfc.planner.frontier import Lever, Point
    from mfc.planner.plan import Decision, Plan

_PLOT = 220  # pixels that the frontier is high
_UNITS = {" min": " 分钟", " h": " 小时", " days": " 天", " s": " 秒"}


class Fact(NamedTuple):
    """A row of what a plan is."""

    name: Said
    value: Said


def called(plan: Plan) -> str:
    """The target and its version."""
    return f"{plan.profile.target} {plan.profile.version}"


def margin(plan: Plan) -> Said:
    """By how much it fits, or what is too small."""
    over = plan.memory.upper_bytes - plan.budget_bytes
    if plan.fits:
        return said("to_spare", size=text.gib(-over))
    return said("too_much", size=text.gib(over)) if plan.limited_by == "gpu" else said(f"short_{plan.limited_by}")


def duration(time: float) -> Said:
    """A long time in both languages."""
    english = text.duration(time)
    unit = next(each for each in _UNITS if english.endswith(each))
    return Said(english, english.removesuffix(unit) + _UNITS[unit])


def beside(one: Said, other: Said) -> Said:
    """Two sentences in a row."""
    return Said(f"{one.en}; {other.en}", f"{one.zh}；{other.zh}")


def run(sheet: Sheet) -> Said:
    """How long the whole run takes, or a thousand rows."""
    bill = sheet.bill
    if bill.steps is not None and bill.seconds is not None:
        return said("run_steps", steps=f"{bill.steps:,}", time=duration(bill.seconds))
    if bill.thousand_seconds is None:
        return said("run_unknown")
    return said("run_thousand", time=duration(bill.thousand_seconds))


def cost(sheet: Sheet) -> Said | None:
    """What it costs; None where no price is known, or no time."""
    bill = sheet.bill
    if bill.price is None:
        return None
    price = bill.price.said(bill.price.an_hour)
    for key, time in (("cost_run", bill.seconds), ("cost_thousand", bill.thousand_seconds)):
        if (amount := bill.cost(time)) is not None:
            return said(key, amount=bill.price.said(amount), price=price)
    return None


def fitting(sheets: Sequence[Sheet]) -> int:
    """How many can run."""
    return sum(sheet.plan.fits and not sheet.refused for sheet in sheets)


def verdict(sheets: Sequence[Sheet], refused: Sequence[Refused]) -> Said:
    """How many of all can run."""
    whole, able = len(sheets) + len(refused), fitting(sheets)
    return said("verdict_all" if able == whole else "verdict_some", fitting=able, of=whole)


def unlike(sheets: Sequence[Sheet]) -> list[tuple[str, tuple[Difference, ...]]]:
    """For each spec that has several plans, where they differ."""
    by_spec: dict[str, list[Plan]] = {}
    for sheet in sheets:
        by_spec.setdefault(sheet.spec, []).append(sheet.plan)
    found = [(spec, differences(plans)) for spec, plans in by_spec.items()]
    return [(spec, each) for spec, each in found if each]


def moment(name: str) -> Said:
    """The name of a moment."""
    return named("moments", name)


def component(name: str) -> Said:
    """The name of a component."""
    return named("components", name)


def names(sheet: Sheet) -> dict[str, Said]:
    """What the charts of a plan say, and what they are called for who cannot see them."""
    plan, memory = sheet.plan, sheet.plan.memory
    sizes = {"budget": text.gib(plan.budget_bytes), "card": text.gib(plan.problem.hardware.memory_bytes)}
    sizes |= {"likely": text.gib(memory.process_bytes), "most": text.gib(memory.upper_bytes)}
    found = {
        "memory_title": said("memory_title", name=called(plan)),
        "memory_desc": said("memory_desc", moment=moment(memory.moment), peak=sizes["likely"], **sizes),
        "bar_title": said("bar_title", name=called(plan)),
        "bar_desc": said("bar_desc", parts=parts(sheet), upper=sizes["most"], **sizes),
        **{key: said(key) for key in ("budget", "doubt", "axis_memory", "axis_time")},
    }
    if shown := [point for point, _ in points(sheet)]:
        found["frontier_title"] = said("frontier_title", name=called(plan))
        found["frontier_desc"] = said(
            "frontier_desc",
            least=text.gib(shown[0].upper_bytes),
            slowest=text.seconds(shown[0].seconds_per_step),
            most=text.gib(shown[-1].upper_bytes),
            fastest=text.seconds(shown[-1].seconds_per_step),
            budget=sizes["budget"],
        )
    return found


def facts(sheet: Sheet) -> Iterator[Fact]:
    """What runs on what, and what it takes."""
    plan, strategy, model = sheet.plan, sheet.plan.strategy, sheet.plan.problem.model
    ranks = strategy.world_size // strategy.sequence_parallel
    yield Fact(
        said("model"),
        said(
            "model_said",
            name=model.name,
            total=text.count(model.total_parameters),
            trainable=text.count(plan.trainable_parameters),
            share=f"{plan.trainable_parameters / model.total_parameters:.2%}",
        ),
    )
    hardware = plan.problem.hardware
    nodes = f"{hardware.nodes} × " if hardware.nodes > 1 else ""
    machine = f"{nodes}{hardware.gpus_per_node} × {hardware.gpu.name} ({text.gib(hardware.memory_bytes)})"
    yield Fact(said("hardware"), Said(machine, machine))
    yield Fact(
        said("batch"),
        said(
            "batch_said",
            micro=strategy.micro_batch,
            accumulated=strategy.gradient_accumulation,
            ranks=ranks,
            batch=strategy.micro_batch * strategy.gradient_accumulation * ranks,
            length=f"{strategy.max_length:,}",
        ),
    )
    speed = plan.speed
    yield Fact(
        said("time"),
        said(
            "time_said",
            time=text.seconds(speed.seconds_per_step),
            tokens=f"{speed.tokens_per_second:,.0f}",
            bound=said(f"bound_{speed.bound_by}"),
        ),
    )
    yield Fact(said("run"), beside(run(sheet), said("full_length")) if sheet.bill.full_length else run(sheet))
    if (price := cost(sheet)) is not None:
        yield Fact(said("cost"), price)
    memory, known = plan.memory, hardware.host_memory_bytes
    most = max(memory.host_bytes_per_node, memory.save_host_bytes, memory.load_host_bytes)
    room = Said("", "") if known is None else said("host_of", size=text.gib(known))
    node = said("host_said", size=text.gib(most))
    yield Fact(said("host"), Said(node.en + room.en, node.zh + room.zh))
    if plan.needs:
        yield Fact(said("needs"), said("needs_said", names=", ".join(plan.needs)))
    if sheet.compiled:
        yield Fact(said("start"), Said(sheet.compiled.launch, sheet.compiled.launch))


def stacked(sheet: Sheet) -> charts.Bars:
    """The bars of every moment."""
    plan = sheet.plan
    return charts.stacked(sheet.moments, plan.memory.moment, plan.budget_bytes, plan.problem.hardware.memory_bytes)


def card(sheet: Sheet) -> charts.Bars:
    """The one bar of the peak."""
    plan = sheet.plan
    peak = {plan.memory.moment: plan.memory.components}
    return charts.stacked(
        peak,
        plan.memory.moment,
        plan.budget_bytes,
        max(plan.problem.hardware.memory_bytes, plan.memory.upper_bytes),
    )


def doubt(sheet: Sheet, bars: charts.Bars) -> tuple[float, float]:
    """Where the doubt of the prediction begins and how wide it is, in percent; bars drawn by `card`."""
    plan = sheet.plan
    whole = plan.budget_bytes / bars.budget
    begin = min(plan.memory.process_bytes / whole, 100.0)
    return round(begin, 2), round(max(min(plan.memory.upper_bytes / whole, 100.0) - begin, 0.0), 2)


def parts(sheet: Sheet) -> Said:
    """The components of the peak in words, for who cannot see the bar."""
    each = sorted(sheet.plan.memory.components.items(), key=lambda item: -item[1])
    names = [(named("components", name), text.gib(size)) for name, size in each if size >= charts.GIB / 20]
    return Said(
        ", ".join(f"{name.en} {size}" for name, size in names), ",".join(f"{name.zh} {size}" for name, size in names)
    )


def points(sheet: Sheet) -> tuple[tuple[Point, bool], ...]:
    """The points of the frontier, the plan's own among them, and which that is."""
    own = sheet.survey.plan
    found = [*sheet.survey.frontier, *([own] if own and own not in sheet.survey.frontier else [])]
    return tuple((point, point == own) for point in sorted(found, key=lambda each: each.upper_bytes))


def plot(sheet: Sheet) -> charts.Plot:
    """The frontier as a plot."""
    drawn = [(point.upper_bytes, point.seconds_per_step, point.fits, own) for point, own in points(sheet)]
    return charts.plot(drawn, sheet.plan.budget_bytes, _PLOT)


def edits(changed: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a plan as edits of its spec."""
    return {SPEC_PATHS[name]: value for name, value in changed.items()}


def changes(changed: Mapping[str, Any]) -> str:
    """What differs from the plan, in the terms of the spec."""
    return ", ".join(f"{name} {text.show(value)}" for name, value in changed.items())


def offload_doubt(sheet: Sheet) -> str:
    """By how much the frontier takes offload to be slower; empty where it has none."""
    names = {name for point in sheet.survey.frontier for name in point.changes} | text.strategy_parts(sheet.plan).keys()
    return f"{OFFLOAD_DOUBT - 1:.0%}" if any(name.startswith("offload") for name in names) else ""


class Price(NamedTuple):
    """A lever, in words, with its bars."""

    lever: Lever
    memory: Said
    time: Said
    saved: charts.Span
    slower: charts.Span


def levers(sheet: Sheet) -> list[Price]:
    """The levers worth a row."""
    found, step = list(shown_levers(sheet.survey.levers)), sheet.plan.speed.seconds_per_step
    saved = charts.spans([-one.saved_bytes for one in found])
    slower = charts.spans([one.added_seconds for one in found])
    return [
        Price(one, _memory(one.saved_bytes), _time(one.added_seconds / step), *both)
        for one, both in zip(found, zip(saved, slower, strict=True), strict=True)
    ]


def _memory(saved: int) -> Said:
    return said("saves" if saved >= 0 else "takes", size=text.gib(abs(saved)))


def _time(share: float) -> Said:
    if abs(share) < 0.005:
        return said("as_fast")
    return said("slower" if share > 0 else "faster", share=f"{abs(share):.0%}")


def results(plan: Plan) -> list[Decision]:
    """What mfc chose that may change results."""
    return list(results_that_may_change(plan.decisions))
