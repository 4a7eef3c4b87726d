"""What one difference alone costs: the first run with this one thing as the second has it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc import memory, speed
from mfc.planner.costing import run_of

if TYPE_CHECKING:
    from mfc.diff.side import Side
    from mfc.planner.plan import Plan
    from mfc.strategy import Strategy

_LEAST = 0.01  # of a run's memory or time; less is not told
# Fields that are one part of what the strategy has as a whole.
_LORA = {
    "lora_rank": "rank",
    "lora_targets": "targets",
    "lora_variant": "variant",
    "modules_to_save": "modules_to_save",
}
_TOGETHER = {"micro_batch": ("micro_batch", "gradient_accumulation"), "gradient_accumulation": ()}


class Cost(NamedTuple):
    """Bytes per GPU and seconds a step more, or less; 0 where that is little. `share` is the larger, of all."""

    bytes: int
    seconds: float
    share: float


def cost(field: str, a: Side, b: Side) -> Cost | None:
    """What a field alone changes of the first run's memory and time; None where that is little, or unknown."""
    if not (a.plan and b.plan and a.hardware and b.hardware):
        return None
    old = a.plan.strategy
    new = _changed(field, old, b.plan.strategy)
    if new is None or new == old:
        return None
    try:
        (before, time), (after, later) = _predicted(a.plan, old), _predicted(a.plan, new)
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError):
        return None  # what the two strategies make together is none
    more, longer = (after - before) / before, (later - time) / time
    size, seconds = after - before if abs(more) >= _LEAST else 0, later - time if abs(longer) >= _LEAST else 0.0
    return Cost(size, seconds, max(abs(more), abs(longer))) if size or seconds else None


def _changed(field: str, old: Strategy, new: Strategy) -> Strategy | None:
    """The first strategy with a field as the second has it."""
    if field in _LORA:
        if old.lora is None or new.lora is None:
            return None
        name = _LORA[field]
        return old._replace(lora=dataclasses.replace(old.lora, **{name: getattr(new.lora, name)}))
    names = _TOGETHER.get(field, (field,))
    if not names or any(name not in old._fields for name in names):
        return None
    change: dict[str, Any] = {name: getattr(new, name) for name in names}
    if field == "method":
        change |= {"lora": new.lora, "quantization": new.quantization}
    return old._replace(**change)


def _predicted(plan: Plan, strategy: Strategy) -> tuple[int, float]:
    predicted = memory.predict(run_of(strategy, plan.problem, plan.profile))
    return predicted.process_bytes, speed.predict(strategy, plan.problem, plan.profile.stack).seconds_per_step
