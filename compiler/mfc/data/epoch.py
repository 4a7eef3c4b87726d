"""What a plan makes of so many rows: steps, and hours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from mfc.data.samples import GENERATES

if TYPE_CHECKING:
    from mfc.data.summary import Summary
    from mfc.planner.plan import Plan


class Epoch(NamedTuple):
    """The way of a plan through the data."""

    target: str
    batch_size: int
    micro_batch: int
    packing: bool
    rows: int  # of an epoch: those of evaluation and those that are not drawn are no part of it
    steps: int
    epochs: float | None  # None where the run has a number of steps
    run_steps: int
    seconds_per_step: float
    fits: bool

    @property
    def hours(self) -> float:
        """Of the whole run, by the speed model."""
        return self.run_steps * self.seconds_per_step / 3600


def epoch(plan: Plan, summary: Summary, rows: int) -> Epoch | None:
    """Steps and hours; `rows` are those that training has. None where no row could be counted."""
    if not rows or not summary.sequences:
        return None
    spec, strategy, batch = plan.problem.spec, plan.strategy, int(plan.values["batch_size"])
    share = 1 - spec.data.eval if isinstance(spec.data.eval, float) else 1.0
    items = rows * share
    if strategy.fills_rows:
        items *= summary.packed_rows / (summary.rows - summary.bad)
    a_step = batch
    if strategy.task in GENERATES and spec.train.task == "grpo":
        from mfc.rules.batch import generations

        a_step = max(batch // generations(spec), 1)
    steps = max(math.ceil(items / a_step), 1)
    most = plan.values["max_steps"]
    epochs = None if most else float(plan.values["epochs"])
    return Epoch(
        target=plan.profile.target,
        batch_size=batch,
        micro_batch=strategy.micro_batch,
        packing=strategy.fills_rows,
        rows=round(rows * share),
        steps=steps,
        epochs=epochs,
        run_steps=int(most) if most else math.ceil(steps * (epochs or 1.0)),
        seconds_per_step=plan.speed.seconds_per_step,
        fits=plan.fits,
    )
