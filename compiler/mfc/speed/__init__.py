"""The speed model: how long one optimizer step takes. docs/speed-model.md tells the formulas and their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.speed import roofline
from mfc.speed.roofline import Machines, Model, Speed

if TYPE_CHECKING:
    from mfc.problem import Problem
    from mfc.strategy import Strategy

__all__ = ["Machines", "Model", "Speed", "predict", "prepare"]


def prepare(strategy: Strategy, problem: Problem) -> Model:
    """The time of `strategy` on the problem's machines, open in its batch: `.at(micro_batch, accumulation)`."""
    hardware = problem.hardware
    machines = Machines(hardware.gpu, hardware.gpus_per_node, hardware.nodes, hardware.intra, hardware.inter)
    data = problem.spec.data
    mean = data.mean_length if data else None
    known = mean if isinstance(mean, int) and not strategy.packing else None
    return roofline.prepare(problem.model.architecture, strategy, machines, mean_tokens=known)


def predict(strategy: Strategy, problem: Problem) -> Speed:
    """Seconds per optimizer step of `strategy`, tokens per second, and what bounds it."""
    return prepare(strategy, problem).speed()
