"""What was found, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mfc.report import json
from mfc.report.text import count, duration, gib, hint_line, seconds

if TYPE_CHECKING:
    from mfc.size.attempts import Fitting
    from mfc.size.cards import Offer

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # its header and its rows


def offers_table(offers: Sequence[Offer]) -> Table:
    """A row for each kind of card: how many it takes, and how long with more of them."""
    counts = sorted({one.hardware.world_size for offer in offers for one in offer.fitting})
    priced = any(offer.cost is not None for offer in offers)
    header = ("card", "GiB", "fewest", *(f"with {number}" for number in counts), *(("cost",) if priced else ()), "how")
    rows = []
    for offer in offers:
        times = {one.hardware.world_size: time(one) for one in offer.fitting}
        first = offer.fitting[0]
        cost = (_cost(offer),) if priced else ()
        fewest = str(first.hardware.world_size)
        if first.hardware.nodes > 1:
            fewest = f"{first.hardware.nodes} x {first.hardware.gpus_per_node}"
        row = (offer.gpu.name, f"{offer.gpu.memory_bytes / 2**30:.0f}", fewest)
        rows.append((*row, *(times.get(number, "-") for number in counts), *cost, how(first)))
    return header, rows


def models_table(found: Sequence[Fitting]) -> Table:
    """A row for each model: how, with how much memory, and how long."""
    rows = [(one.model, count(one.parameters), gib(one.upper_bytes), time(one), how(one)) for one in found]
    return ("model", "parameters", "at most", "time", "how"), rows


def time(one: Fitting) -> str:
    """How long the run takes, or a thousand rows once, or a step."""
    if (known := one.bill.seconds or one.bill.thousand_seconds) is not None:
        return duration(known)
    return f"{seconds(one.seconds_per_step)} a step"


def unit(one: Fitting) -> str:
    """What the times are of."""
    bill = one.bill
    if bill.seconds is not None:
        return f"the whole run ({bill.steps:,} steps)" if bill.rows is None else f"the whole run, {bill.rows:,} rows"
    return "a step" if bill.thousand_seconds is None else "1,000 rows once"


def notes(one: Fitting) -> Iterator[str]:
    """What the times rest on, and what would tell them better."""
    yield f"times are of {unit(one)}, by the model of time, without loading, evaluation and saving"
    if hint := hint_line(one.bill):
        yield f"for better ones {hint}"


def how(one: Fitting) -> str:
    """The strategy in a few words: what differs from plain training."""
    strategy = one.strategy
    said: list[str] = [strategy.method]
    if one.hardware.world_size > 1 or strategy.sharding != "ddp":
        said.append(strategy.sharding)
    said += [f"{part} on host" for part in ("optimizer", "parameters", "activations") if _away(one, part)]
    if strategy.gradient_checkpointing:
        said.append("checkpointing")
    if strategy.optimizer != "adamw":
        said.append(strategy.optimizer)
    if strategy.precision != "bf16":
        said.append(strategy.precision)
    if (batch := one.edit.get("train.batch_size")) is not None:
        said.append(f"batch_size {batch}")
    return ", ".join(said)


def _away(one: Fitting, part: str) -> bool:
    return str(getattr(one.strategy, f"offload_{part}")) != "none"


def _cost(offer: Offer) -> str:
    """Of the cheapest number of these cards, and how many those are."""
    for one in offer.fitting:
        bill = one.bill
        if bill.price is not None and bill.cost(bill.seconds or bill.thousand_seconds) == offer.cost:
            return f"{bill.price.said(offer.cost or 0.0)} with {bill.gpus}"
    return "-"


def report_json(spec: str, target: str, asked: int, fitting: Sequence[Fitting]) -> dict[str, Any]:
    """All of it for programs, as schemas/size.schema.json describes it."""
    said = [_fitting(one) for one in fitting]
    return {"schema_version": 1, "spec": spec, "target": target, "asked": asked, "fitting": said}


def _fitting(one: Fitting) -> dict[str, Any]:
    """One row for programs. Sizes are bytes, times seconds."""
    return {
        "set": json.plain(one.edit),
        "model": one.model,
        "parameters": one.parameters,
        "gpu": one.hardware.gpu.name,
        "gpus_per_node": one.hardware.gpus_per_node,
        "nodes": one.hardware.nodes,
        "method": one.strategy.method,
        "how": how(one),
        "upper_bytes": one.upper_bytes,
        "seconds_per_step": one.seconds_per_step,
        "run": json.bill_json(one.bill),
    }
