"""Specs edited and planned in search for what fits, without the reasons that a whole plan has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc import plans
from mfc.planner import attempt
from mfc.planner.costing import strategy_of
from mfc.report.bill import Bill, charge

if TYPE_CHECKING:
    from mfc.problem import Hardware, Problem
    from mfc.spec.load import LoadedSpec
    from mfc.spec.quantities import Price
    from mfc.strategy import Strategy


class Fitting(NamedTuple):
    """What a spec becomes after some edits: the strategy that fits, and what it takes."""

    edit: Mapping[str, Any]  # of the spec, dotted paths
    model: str
    parameters: int
    hardware: Hardware
    strategy: Strategy
    upper_bytes: int  # of one GPU
    seconds_per_step: float
    bill: Bill


class Attempts:
    """Plans of one spec with some of its fields changed, for one target."""

    def __init__(self, loaded: LoadedSpec, target: str, prices: Mapping[str, Price]) -> None:
        from mfc.rules import RULES

        found = plans.target_of(loaded, target)
        self.spec = loaded.spec
        self.attempt = attempt(plans.editor(loaded, found), (*RULES, *found.RULES))
        self.prices = prices

    def best(self, edit: Mapping[str, Any]) -> Fitting | None:
        """The best that fits after an edit; None where nothing does, or the target cannot say it."""
        edit = self._with_batch(edit)
        if not self.attempt.fits(edit):
            return None
        found = self.attempt.best(edit)
        if found is None or not found.fits:
            return None
        problem: Problem = found.env["problem"]
        hardware, strategy = problem.hardware, strategy_of(found.env)
        price = self.prices.get(hardware.gpu.name)
        return Fitting(
            edit=edit,
            model=problem.model.name,
            parameters=problem.model.total_parameters,
            hardware=hardware,
            strategy=strategy,
            upper_bytes=int(found.upper_bytes),
            seconds_per_step=found.seconds_per_step,
            bill=charge(problem.spec, strategy, found.env, found.seconds_per_step, price),
        )

    def _with_batch(self, edit: Mapping[str, Any]) -> Mapping[str, Any]:
        """The edit with a batch that divides among the GPUs: where the spec pins another, the next larger one."""
        spec, batch = self.spec, self.spec.train.batch_size
        world = edit.get("hardware.count", spec.hardware.count) * edit.get("hardware.nodes", spec.hardware.nodes)
        micro = spec.strategy.micro_batch
        unit = world * (micro if isinstance(micro, int) else 1)
        if not isinstance(batch, int) or batch % unit == 0:
            return edit
        return {**edit, "train.batch_size": -(-batch // unit) * unit}
