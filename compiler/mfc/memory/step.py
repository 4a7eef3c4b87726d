"""The phases of a step as a prediction reads them.

They depend neither on the micro-batch nor on where states lie, so many strategies share them, and they are cached.
"""

from __future__ import annotations

from functools import lru_cache
from operator import ge
from typing import NamedTuple

from mfc.memory.inputs import Inputs, Loop, Sight, Trains
from mfc.memory.loss import Head
from mfc.memory.phases import Course, Phase, course


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
def step(given: Inputs, head: Head, trains: Trains, loop: Loop, sight: Sight | None = None) -> Step:
    """The step of a training loop; `sight` where samples hold pictures."""
    made = course(given, head, trains, loop, sight)
    every, peaks = (_phases(made, phases, loop) for phases in (made.phases, _peaks(made.phases)))
    return Step(made, every, peaks)


def _phases(made: Course, phases: tuple[Phase, ...], loop: Loop) -> Phases:
    sequences = loop.sequences
    slopes = [sequences * (loop.models * phase.activations + phase.logits) for phase in phases]
    free = [made.free[phase.where] for phase in phases]
    reserved = [slope + sequences * each.sequence for slope, each in zip(slopes, free, strict=True)]
    return Phases(phases, tuple(slopes), tuple(reserved), tuple([each.fixed for each in free]))


def _peaks(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """The phases that can be the peak, wherever states lie: no other one of their kind outdoes them in everything."""
    kept: list[Phase] = []
    for phase in phases:
        if not any(_outdoes(other, phase) for other in kept):
            kept = [other for other in kept if not _outdoes(phase, other)]
            kept.append(phase)
    return tuple(kept)


def _outdoes(one: Phase, other: Phase) -> bool:
    return one.where == other.where and all(map(ge, one[2:], other[2:]))
