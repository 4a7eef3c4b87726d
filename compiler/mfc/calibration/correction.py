"""From measured runs to a bias and a bound: robust, and shy of few runs.

With r = measured / predicted of n runs of one key:
- bias: exp(n / (n + SHRINKAGE) * median(ln r)). One run moves the prediction a third of the way, eight move it four
  fifths.
- bound, below ENOUGH runs: never lower than the plan's own; it rises with the bias at once, and to the largest r seen.
- bound, from ENOUGH runs on: bias * exp(t * s * sqrt(1 + 1/n)), the one-sided 95 % prediction limit of a normal
  distribution, with s the deviation of ln r from the bias, at least FLOOR; and never below the largest r seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mfc.calibration.store import Condition, MeasuredRun

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

SHRINKAGE = 2.0  # runs that the unchanged prediction counts for: an assumption
ENOUGH = 5  # runs from which on their own spread makes the bound
FLOOR = 0.01  # runs of one machine repeat to about a percent: an assumption

# Student's t, one-sided 95 %, by degrees of freedom; the nearest row below is taken, which errs to the wide side.
_T = {4: 2.132, 5: 2.015, 6: 1.943, 7: 1.895, 8: 1.860, 9: 1.833, 10: 1.812, 12: 1.782, 15: 1.753, 20: 1.725, 30: 1.697}


@dataclass(frozen=True, slots=True)
class Series:
    """What the ratios of one key and one kind say."""

    runs: int
    bias: float
    limit: float | None  # bound over prediction; None = too few runs for one of their own
    worst: float  # the largest ratio seen

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Series:
        """Bias and limit of ratios of measured over predicted; there must be one at least."""
        logs, count = [math.log(ratio) for ratio in ratios], len(ratios)
        center = count / (count + SHRINKAGE) * _median(logs)
        if count < ENOUGH:
            return cls(count, math.exp(center), None, max(ratios))
        spread = max(FLOOR, math.sqrt(sum((log - center) ** 2 for log in logs) / (count - 1)))
        t = _T[max(row for row in _T if row <= count - 1)]
        own = math.exp(center + t * spread * math.sqrt(1 + 1 / count))
        return cls(count, math.exp(center), max(own, *ratios), max(ratios))


def _median(values: Sequence[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A plan's memory as runs on this machine correct it. Bytes of one GPU."""

    key: Condition
    runs: int
    bias: float  # measured over predicted
    peak_bytes: int
    upper_bytes: int
    fits: bool  # the corrected bound stays within the budget
    own_bound: bool  # it comes from these runs alone
    outdated: int  # runs of the key whose predictions another mfc made: not counted


def calibrated(plan: Plan, runs: Sequence[MeasuredRun]) -> Calibrated | None:
    """What the runs say about a plan; None when none of them is of its key."""
    from mfc._version import __version__

    key = Condition.of(plan)
    mine = [run for run in runs if run.key == key]
    current = [run for run in mine if run.mfc == __version__]
    if not mine:
        return None
    memory = plan.memory
    process = [run.ratio for run in current if run.kind == "process"]
    allocated = [run.ratio for run in current if run.kind == "allocated"]
    peak, bias, own = memory.process_bytes, 1.0, False
    upper = max(memory.upper_bytes, min(memory.held_bytes, plan.budget_bytes))  # of a process, which is what runs show
    if process:
        series = Series.of(process)
        bias, peak = series.bias, int(memory.process_bytes * series.bias)
        own = series.limit is not None
        upper = max(upper, int(upper * bias)) if series.limit is None else int(memory.process_bytes * series.limit)
        upper = max(upper, math.ceil(memory.process_bytes * series.worst))
    elif allocated:  # says nothing of what the allocator holds beside tensors: the bound may rise but not fall
        series = Series.of(allocated)
        bias = series.bias
        more = int(memory.allocated_bytes * (bias - 1))
        peak, upper = peak + more, upper + max(0, more)
        upper = max(upper, peak + math.ceil(memory.allocated_bytes * (series.worst - bias)))
    return Calibrated(
        key=key,
        runs=len(process) or len(allocated),
        bias=bias,
        peak_bytes=peak,
        upper_bytes=max(peak, upper),
        fits=max(peak, upper) <= plan.budget_bytes,
        own_bound=own,
        outdated=len(mine) - len(current),
    )
