"""The speed model: how long one optimizer step takes. docs/speed-model.md tells the formulas and their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.speed import roofline
from mfc.speed.links import Machines
from mfc.speed.roofline import Speed, StepTime

if TYPE_CHECKING:
    from mfc.memory import Stack
    from mfc.problem import Problem
    from mfc.strategy import Strategy

__all__ = ["Machines", "Speed", "StepTime", "predict", "prepare"]


def prepare(strategy: Strategy, problem: Problem, stack: Stack) -> StepTime:
    """The step time of `strategy` under `stack` on the problem's machines, with the batch left open: `.at(…)`."""
    hardware = problem.hardware
    machines = Machines(hardware.gpu, hardware.gpus_per_node, hardware.nodes, hardware.intra, hardware.inter)
    data = problem.spec.data
    mean = data.mean_length
    known = mean if isinstance(mean, int) and not strategy.fills_rows else None
    measured = None if strategy.fills_rows or strategy.task in ("ppo", "grpo") else data.distribution
    return roofline.prepare(
        problem.model.architecture, strategy, machines, mean_tokens=known, lengths=measured, stack=stack
    )


def predict(strategy: Strategy, problem: Problem, stack: Stack) -> Speed:
    """Seconds per optimizer step of `strategy`, tokens per second, and what bounds it."""
    return prepare(strategy, problem, stack).speed()
