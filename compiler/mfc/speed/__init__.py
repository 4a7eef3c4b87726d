"""The speed model: how long one optimizer step takes. docs/speed-model.md tells the formulas and their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.speed.links import Machines
from mfc.speed.roofline import Clock, Speed, StepTime

if TYPE_CHECKING:
    from mfc.memory import Stack
    from mfc.problem import Problem
    from mfc.strategy import Strategy

__all__ = ["Clock", "Machines", "Speed", "StepTime", "clock", "predict"]


def clock(problem: Problem, stack: Stack) -> Clock:
    """The step time of strategies under `stack` on the problem's machines."""
    hardware = problem.hardware
    machines = Machines(hardware.gpu, hardware.gpus_per_node, hardware.nodes, hardware.intra, hardware.inter)
    data = problem.spec.data
    mean = data.mean_length
    known = mean if isinstance(mean, int) else None
    return Clock(problem.model.architecture, machines, known, data.distribution, stack)


def predict(strategy: Strategy, problem: Problem, stack: Stack) -> Speed:
    """Seconds per optimizer step of `strategy`, tokens per second, and what bounds it."""
    return clock(problem, stack).prepare(strategy).speed()
