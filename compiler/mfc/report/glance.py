"""Plans of one spec on one screen: the verdict, what runs, what it takes, and what to look at before it starts.

Several targets stand side by side, with only what differs between them; what they share is said once. Text carries
colours as terminal codes, which whoever prints it leaves out where nobody looks (`click.echo`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

import click

from mfc.planner.decide import results_that_may_change
from mfc.planner.plan import Plan
from mfc.report import bar, text
from mfc.report.bill import Bill

GIB = 2**30
_LABEL = 12  # characters
_COLUMN = 28  # of the narrowest column
_BAR = 60  # of the widest bar
_WARNINGS = 3
_EDITS = 3  # of each of several targets


def to_text(
    plans: Sequence[Plan],
    name: str,
    bills: Sequence[Bill],
    measured: Sequence[str] = (),
    *,
    asked: bool = True,
    width: int = 100,
) -> str:
    """The plans of one spec, at least one. `measured`: for each what runs on this machine say, where they do.

    `asked`: the user named the target; else the first line says that mfc took the one most used.
    """
    rows = [
        _rows(plan, bill, said) for plan, bill, said in zip(plans, bills, measured or [""] * len(plans), strict=True)
    ]
    return "\n".join(_lines(plans, name, rows, asked, width))


def _lines(plans: Sequence[Plan], name: str, rows: Sequence[dict[str, str]], asked: bool, width: int) -> Iterator[str]:
    if len(plans) == 1:
        taken = "" if asked else " (no target is named: the most used that can say it)"
        yield f"{name} for {_called(plans[0])}{taken}: {_verdict(plans[0])}"
    else:
        fitting = sum(plan.fits for plan in plans)
        yield f"{name}: {_judged(f'fits on {fitting} of {len(plans)} targets', fitting == len(plans))}"
    yield ""
    same = {label: rows[0][label] for label in rows[0] if all(each.get(label) == rows[0][label] for each in rows)}
    if len(plans) == 1:
        same = _with_memory(same)
    yield from _shared(same, width, plans[0])
    if len(plans) > 1:
        yield from _beside(plans, [{key: row[key] for key in row if key not in same} for row in rows], width)
    for plan in plans:
        if not plan.fits:
            yield ""
            yield from _cure(plan, width, several=len(plans) > 1)
    yield from _warnings(plans, width)
    yield ""
    for line in textwrap.wrap("more: mfc plan -v SPEC; why a value is what it is: mfc explain SPEC FIELD", width):
        yield click.style(line, dim=True)


def _cure(plan: Plan, width: int, *, several: bool) -> Iterator[str]:
    """What would fit; where it is not the GPU's memory that is short, which the bar shows, what is."""
    whose = f"{_called(plan)}: " if several else ""
    why = "" if plan.limited_by == "gpu" else f": {text.lacking(plan)}"
    yield from textwrap.wrap(f"{whose}nothing fits, and what is shown comes nearest{why}", width)
    edits = list(text.relaxation_lines(plan))
    yield from edits[: _EDITS + 1] if several else edits


def _called(plan: Plan) -> str:
    return f"{plan.profile.target} {plan.profile.version}"


def _judged(words: str, good: bool) -> str:
    return click.style(words, fg="green" if good else "red", bold=True)


def _verdict(plan: Plan) -> str:
    """Whether it fits, and by how much."""
    over = plan.memory.upper_bytes - plan.budget_bytes
    if plan.fits:
        return f"{_judged('fits', True)}, {text.gib(-over)} to spare"
    return _judged("DOES NOT FIT", False) + (f", {text.gib(over)} too much" if plan.limited_by == "gpu" else "")


def _rows(plan: Plan, bill: Bill, measured: str) -> dict[str, str]:
    """What there is to say of a plan, but memory; parts of a joined line have its name before a dot."""
    found = {"model": text.model_line(plan), "hardware": text.hardware_line(plan)}
    found |= {f"strategy.{part}": said for part, said in text.strategy_parts(plan).items()}
    if "rollout_share" in plan.decisions:
        found["rollout"] = text.rollout_line(plan)
    found["batch"] = text.batch_line(plan)
    found["host"] = _host(plan)
    found["time"] = f"{text.seconds(plan.speed.seconds_per_step)} a step, bound by {plan.speed.bound_by} (estimate)"
    found["run"] = text.run_line(plan, bill)
    if hint := text.hint_line(bill):
        found["hint"] = hint
    if cost := text.cost_line(bill):
        found["cost"] = cost
    if measured:
        found["measured"] = measured
    if plan.needs:
        found["needs"] = f"{', '.join(plan.needs)} (the spec does not say whether installed)"
    for one in results_that_may_change(plan.decisions):
        found[f"mfc chose.{one.field}"] = f"{one.field} {text.show(one.value)}"
    return found


def _host(plan: Plan) -> str:
    """What a node's memory holds."""
    memory, known = plan.memory, plan.problem.hardware.host_memory_bytes
    most = max(memory.host_bytes_per_node, memory.save_host_bytes, memory.load_host_bytes)
    room = "its size is not given" if known is None else f"of {known / GIB:.0f} GiB"
    return f"at most {most / GIB:.0f} GiB of a node's RAM ({room})"


def _with_memory(rows: Mapping[str, str]) -> dict[str, str]:
    """The rows with a place for memory, after what runs."""
    made: dict[str, str] = {}
    for label, said in rows.items():
        if label == "host":
            made["memory"] = ""
        made[label] = said
    return made


def _shared(rows: Mapping[str, str], width: int, plan: Plan) -> Iterator[str]:
    """Rows across the whole width; the parts of a joined line together. Memory is that of `plan`."""
    lines: dict[str, str] = {}
    for label, said in rows.items():
        head = label.partition(".")[0]
        lines[head] = f"{lines[head]}, {said}" if head in lines else said
    if "mfc chose" in lines:
        lines["mfc chose"] += " (pin in the spec what you want otherwise)"
    for label, said in lines.items():
        room = width - _LABEL
        yield from _cells(
            label,
            [
                _bar(plan, room, f"({'; '.join(plan.memory.reasons)})")
                if label == "memory"
                else textwrap.wrap(said, room)
            ],
            room,
        )


def _bar(plan: Plan, width: int, why: str) -> list[str]:
    """The card as a bar, its figures and its legend. `why` a prediction may be further off than the bound says."""
    memory, card = plan.memory, plan.problem.hardware.memory_bytes
    drawn = bar.bar(memory.components, memory.upper_bytes, plan.budget_bytes, card, min(width, _BAR))
    most, likely, budget = (size / GIB for size in (memory.upper_bytes, memory.process_bytes, plan.budget_bytes))
    figures = f"at most {most:.1f} of the {budget:.1f} GiB to use" if plan.fits else f"up to {most:.1f} GiB"
    if not plan.fits:
        figures += f", and {budget:.1f} may be used"
    if likely > most:
        figures += f"; nvidia-smi will show about {likely:.1f}, as the allocator keeps what it once took"
    else:
        figures += f"; likely {likely:.1f}"
    parts = [f"{letter} {name} {size / GIB:.1f}" for letter, name, size in bar.legend(memory.components, card)]
    lines = [drawn, *textwrap.wrap(figures, width)]
    lines += textwrap.wrap("  ".join(part.replace(" ", "\0") for part in parts), width)
    if memory.confidence != "calibrated":
        lines += textwrap.wrap(f"{memory.confidence} {why}", width)
    return [line.replace("\0", " ") for line in lines]


def _beside(plans: Sequence[Plan], rows: Sequence[Mapping[str, str]], width: int) -> Iterator[str]:
    """Plans in columns, as many at once as the width allows."""
    fit = max((width - _LABEL) // _COLUMN, 1)
    blocks = -(-len(plans) // fit)
    each = -(-len(plans) // blocks)
    column = (width - _LABEL) // each
    for begin in range(0, len(plans), each):
        some = list(zip(plans[begin : begin + each], rows[begin : begin + each], strict=True))
        yield ""
        yield " " * _LABEL + _across([[click.style(_called(plan), bold=True)] for plan, _ in some], column)[0]
        yield from _cells("verdict", [_verdict(plan).split(", ") for plan, _ in some], column)
        yield from _cells("memory", [_bar(plan, column - 2, "(-v says why)") for plan, _ in some], column)
        labels = dict.fromkeys(label for _, row in some for label in row)
        parts = {label.partition(".")[2] for label in labels if label.startswith("strategy.")}
        for label in labels:
            if label.startswith("mfc chose.") and label.partition(".")[2] in parts:
                continue  # which the strategy says
            said = [textwrap.wrap(_value(label, row.get(label, "-")), column - 2) for _, row in some]
            yield from _cells(label.rpartition(".")[2], said, column)


def _value(label: str, said: str) -> str:
    """A value without the name that the row has already."""
    return said.removeprefix(f"{label.rpartition('.')[2]} ")


def _cells(label: str, cells: Sequence[Sequence[str]], column: int) -> Iterator[str]:
    name = textwrap.wrap(label.replace("_", " "), _LABEL - 1)
    lines = _across(cells, column)
    lines += [""] * (len(name) - len(lines))
    for index, line in enumerate(lines):
        head = name[index] if index < len(name) else ""
        yield (click.style(head.ljust(_LABEL), bold=True) + line).rstrip()


def _across(cells: Sequence[Sequence[str]], column: int) -> list[str]:
    """Cells of several lines beside each other; codes of colours take no width."""
    height = max(map(len, cells))
    padded = [[*cell, *[""] * (height - len(cell))] for cell in cells]
    return [
        "".join(part + " " * (column - len(click.unstyle(part))) for part in parts).rstrip()
        for parts in zip(*padded, strict=True)
    ]


def _warnings(plans: Sequence[Plan], width: int) -> Iterator[str]:
    """The first few warnings, each once, with the targets that it is of when it is not of all."""
    of: dict[str, list[str]] = {}
    for plan in plans:
        for warning in plan.warnings:
            of.setdefault(warning.message, []).append(plan.profile.target)
    if of:
        yield ""
        yield click.style("before you start", bold=True)
    for message, targets in list(of.items())[:_WARNINGS]:
        whose = "" if len(targets) == len(plans) else f"{', '.join(targets)}: "
        yield from textwrap.wrap(whose + message, width, initial_indent="  - ", subsequent_indent="    ")
    if len(of) > _WARNINGS:
        yield f"  - and {len(of) - _WARNINGS} more, with -v"
