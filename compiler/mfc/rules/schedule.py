"""How the learning rate rises and falls. Every target is told all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import Value, derive, from_spec, require, said
from mfc.spec.quantities import whole_steps

if TYPE_CHECKING:
    from mfc.spec.models import Spec

_SPEC = "the spec language"
_FLOORED = ("cosine_with_min_lr", "warmup_stable_decay")


@derive("schedule", _SPEC + "; cosine decay: arXiv:1608.03983")
def schedule(spec: Spec) -> Value:
    """The learning rate falls along a cosine unless the spec says how."""
    return said(spec.train.optim, "schedule", "train.optim", "a cosine to zero, as most recipes have it")


@derive("warmup", _SPEC + "; 3 %: Alpaca and Vicuna recipes")
def warmup(spec: Spec) -> Value:
    """The learning rate rises in the first 3 % of steps unless the spec says how long, in a share or in steps."""
    return said(spec.train.optim, "warmup", "train.optim", "3 % of the steps, as the Alpaca and Vicuna recipes have it")


@derive("min_learning_rate", _SPEC)
def min_learning_rate(spec: Spec, schedule: str) -> Value:
    """The learning rate of schedules that end somewhere ends at 0 unless the spec says where."""
    optim = spec.train.optim
    if schedule not in _FLOORED:
        return Value(None, f"schedule {schedule} has no end of its own")
    if optim.min_learning_rate is None:
        return Value(0.0, "it falls to zero unless the spec says where it ends")
    return from_spec(optim.min_learning_rate, "train.optim.min_learning_rate")


@derive("decay", _SPEC + "; 10 %: MiniCPM arXiv:2404.06395, section 4")
def decay(spec: Spec, schedule: str) -> Value:
    """The learning rate of warmup_stable_decay falls in the last tenth of the steps unless the spec says when."""
    if schedule != "warmup_stable_decay":
        return Value(None, f"schedule {schedule} has no stable part")
    return said(spec.train.optim, "decay", "train.optim", "the last 10 % of the steps, as MiniCPM has it")


@require("transformers optimization.py: what lies beyond the end of a run is never reached")
def parts_fit_into_the_run(warmup: int | float, decay: int | float | None, max_steps: int | None) -> str | None:
    """Warm-up and decay are no longer than the run."""
    if max_steps is None:
        both = sum(part for part in (warmup, decay) if isinstance(part, float))
        return f"warmup and decay together are {both:.0%} of the steps" if both > 1 else None
    rises, falls = whole_steps(warmup, max_steps), whole_steps(decay or 0.0, max_steps)
    if rises + falls <= max_steps:
        return None
    also = f" and a decay of {falls}" if falls else ""
    return f"a warm-up of {rises} steps{also} is longer than the {max_steps} steps of the run (train.max_steps)"


@require("transformers optimization.py: the least rate is a part of the peak")
def the_least_rate_is_below_the_peak(min_learning_rate: float | None, learning_rate: float) -> str | None:
    """The learning rate ends below its peak."""
    if min_learning_rate is None or min_learning_rate < learning_rate:
        return None
    return f"min_learning_rate {min_learning_rate:g} is not below the peak {learning_rate:g} (train.learning_rate)"


RULES = (
    schedule,
    warmup,
    min_learning_rate,
    decay,
    parts_fit_into_the_run,
    the_least_rate_is_below_the_peak,
)
