"""The phases of a step as a prediction reads them: what of their bytes hangs neither on the micro-batch nor on where
states lie. Many strategies share them, so they are kept.
"""

from __future__ import annotations

from functools import lru_cache
from operator import ge
from typing import NamedTuple

from mfc.memory.activations import Inputs
from mfc.memory.loss import Head
from mfc.memory.optimizers import Reach
from mfc.memory.overhead import cached_share
from mfc.memory.phases import Course, Phase, course
from mfc.memory.shape import adapted, shape


class Phases(NamedTuple):
    """Some phases, and figures of each."""

    phases: tuple[Phase, ...]
    slopes: tuple[float, ...]  # bytes in tensors that one more sequence in the micro-batch adds
    reserved_slopes: tuple[float, ...]  # the same with cached blocks
    free: tuple[float, ...]  # bytes of cached blocks, whatever the micro-batch


class Step(NamedTuple):
    """All phases of a step, and those that can be its peak."""

    course: Course
    every: Phases
    peaks: Phases


@lru_cache(maxsize=4096)
def step(
    given: Inputs,
    head: Head,
    frozen: tuple[str, ...],
    trained: int,
    copied: int,
    reach: Reach,
    accumulates: bool,
    varies: bool,
    models: int,
    sequences: int,
) -> Step:
    """A step of `models` that train at once, `sequences` in a micro-batch of 1; else as `phases.course`."""
    stack, lora = given.stack, given.lora
    figure = shape(given.architecture, stack.fused_experts)
    adapters = (
        adapted(given.architecture, lora, stack.fused_experts, stack.expert_adapters, frozen)
        if lora
        else tuple(() for _ in figure.layers)
    )
    made = course(figure, adapters, given, head, trained, copied, reach, accumulates, varies)
    cached = cached_share(stack.expandable_segments)
    every, peaks = (_phases(phases, models, sequences, cached) for phases in (made.phases, _peaks(made.phases)))
    return Step(made, every, peaks)


def _phases(phases: tuple[Phase, ...], models: int, sequences: int, cached: float) -> Phases:
    slopes = [sequences * (models * phase.activations + phase.logits) for phase in phases]
    reserved = [slope + cached * sequences * phase.cached for slope, phase in zip(slopes, phases, strict=True)]
    return Phases(phases, tuple(slopes), tuple(reserved), tuple([cached * phase.cached_fixed for phase in phases]))


def _peaks(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """The phases without those that another one of their kind outdoes in everything, wherever states lie."""
    kept: list[Phase] = []
    for phase in phases:
        if not any(_outdoes(other, phase) for other in kept):
            kept = [other for other in kept if not _outdoes(phase, other)]
            kept.append(phase)
    return tuple(kept)


def _outdoes(one: Phase, other: Phase) -> bool:
    return one.where == other.where and all(map(ge, one[2:], other[2:]))
