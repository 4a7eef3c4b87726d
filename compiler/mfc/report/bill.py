"""How long a whole run takes and what it costs: training alone, without loading, evaluation and saving."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.spec.load import LoadedSpec
    from mfc.spec.models import Spec
    from mfc.spec.quantities import Price
    from mfc.strategy import Strategy

THOUSAND = 1000  # rows, of which time and money are told where nobody knows how many there are


class Bill(NamedTuple):
    """The whole run. None stands for what cannot be known; without `rows` or `max_steps` that is most of it."""

    rows: int | None  # of one epoch
    steps: int | None
    seconds: float | None
    thousand_seconds: float | None  # that a thousand rows take once
    gpus: int
    price: Price | None
    full_length: bool  # every row was taken to be as long as data.max_length, for want of data.mean_length

    def cost(self, seconds: float | None) -> float | None:
        """What the GPUs cost for so long, in the currency of the price."""
        return None if seconds is None or self.price is None else self.price.an_hour * self.gpus * seconds / 3600


def bills(plans: Sequence[Plan], loaded: LoadedSpec) -> list[Bill]:
    """The bills of a spec's plans, by its own prices. Raises SpecError for a file of prices that cannot be read."""
    known: Mapping[str, Price] = {}
    if loaded.spec.hardware.price is not None:
        from mfc.report.prices import prices

        known = prices(loaded)
    return [bill(plan, known.get(plan.problem.hardware.gpu.name)) for plan in plans]


def bill(plan: Plan, price: Price | None) -> Bill:
    """The bill of a plan; `price` is that of one GPU for an hour."""
    return charge(plan.problem.spec, plan.strategy, plan.values, plan.speed.seconds_per_step, price)


def charge(spec: Spec, strategy: Strategy, values: Mapping[str, Any], seconds: float, price: Price | None) -> Bill:
    """The bill of a strategy whose step takes `seconds`; `values` are the fields of its plan."""
    a_step, known = _rows_of_a_step(strategy, spec, values), _rows(spec, strategy.max_length)
    steps: int | None = spec.train.max_steps
    if steps is None and known is not None and a_step is not None:
        steps = math.ceil(max(math.ceil(known / a_step), 1) * (spec.train.epochs or 1))
    return Bill(
        rows=known,
        steps=steps,
        seconds=None if steps is None else steps * seconds,
        thousand_seconds=None if a_step is None else THOUSAND / a_step * seconds,
        gpus=spec.hardware.count * spec.hardware.nodes,
        price=price,
        full_length=_mean(spec, strategy) is None and not strategy.fills_rows,
    )


def _rows(spec: Spec, limit: int) -> int | None:
    """Rows of one epoch, where the spec says how many there are: those that training sees.

    What evaluation keeps and what is dropped for its length are no part of them.
    """
    data = spec.data
    if data.lengths is not None:
        found: float = data.lengths.samples
    elif data.train and all(one.samples is not None for one in data.train):
        found = sum(one.samples or 0 for one in data.train)
    else:
        return None
    if data.distribution is not None and data.distribution.dropped:
        found *= data.distribution.within(limit)
    return math.floor(found * (1 - data.eval if isinstance(data.eval, float) else 1.0))


def _mean(spec: Spec, strategy: Strategy) -> float | None:
    """Tokens of a sample on average, cut at the longest that training takes; None where nobody knows."""
    data, limit = spec.data, strategy.max_length
    if data.distribution is not None:
        return data.distribution.mean(limit)
    return None if data.mean_length == "auto" else min(data.mean_length, limit)


def _rows_of_a_step(strategy: Strategy, spec: Spec, values: Mapping[str, Any]) -> float | None:
    """Rows of the data that an optimizer step consumes; None where packing hides it."""
    batch, mean = values["batch_size"], _mean(spec, strategy)
    if strategy.fills_rows:
        return None if mean is None else float(max(batch * strategy.max_length / mean, 1))
    if strategy.rollout is not None:  # each prompt has so many answers, and is trained on so many times
        return float(batch / (values["num_generations"] or 1) / (values["iterations"] or 1))
    return float(batch)
