"""Free blocks: the closed form against recorded steps replayed through the caching allocator."""

from __future__ import annotations

import random
import statistics

import pytest
from mfc.memory import prepare
from mfc.memory.overhead import workspace_bytes

from benchmarks.count.allocator import Allocator, OutOfMemory, Settings
from benchmarks.count.replay import CARD, CASES, STEADY, drawn, steady
from benchmarks.count.sequence import Steps, read, replay, run_of

RECORDED = read()
SHALLOW = [steps for steps in RECORDED if len(steps.events) < 5000]


def named(*words: str) -> Steps:
    """The first shallow sequence whose name has all these words."""
    return next(steps for steps in SHALLOW if all(word in steps.name for word in words))


def test_what_is_recorded_is_what_would_be() -> None:
    assert [steps.name for steps in RECORDED] == [case.name for case in CASES]


@pytest.mark.parametrize("expandable", [False, True])
def test_reserved_follows_the_replay(expandable: bool) -> None:
    """Rows of drawn lengths, each step always of one: half within 2 %, all within 10 % of what the replay reserves."""
    chance = random.Random(7)
    errors = [
        abs(steady(steps, round(2 ** chance.uniform(9, 16)), expandable).error) for steps in SHALLOW for _ in range(4)
    ]
    assert statistics.median(errors) < 2
    assert max(errors) < 10


def test_tensors_at_the_peak_are_those_of_the_trace() -> None:
    """What a sequence allocates at a length at which nothing was traced is what the closed form of tensors gives."""
    for steps in SHALLOW:
        predicted = prepare(run_of(steps.case, 10_000)).allocated(1) - workspace_bytes(None)
        assert steady(steps, 10_000, expandable=False).allocated == pytest.approx(predicted, rel=0.05)


def test_lengths_that_change_fill_fixed_segments_only() -> None:
    steps = named("adapters", "checkpointing", "4 layers")
    longest = 4096
    fixed, growing = (steady(steps, longest, expandable).reserved for expandable in (False, True))
    assert all(drawn(steps, longest, False, seed, count=30) > 1.2 * fixed for seed in range(2))
    assert all(drawn(steps, longest, True, seed, count=30) <= 1.02 * growing for seed in range(2))


@pytest.mark.parametrize(("expandable", "fits"), [(False, False), (True, True)])
def test_a_card_with_room_for_tensors_alone(expandable: bool, fits: bool) -> None:
    """Free parts of segments in use cannot be given back; free pages of expandable ones can."""
    steps, length = named("adapters", "checkpointing", "4 layers"), 8192
    tensors = steady(steps, length, expandable).allocated
    allocator = Allocator(Settings(card=int(1.03 * tensors), expandable=expandable))
    if fits:
        replay(steps, allocator, [length] * STEADY)
        assert allocator.retries > 0
    else:
        with pytest.raises(OutOfMemory):
            replay(steps, allocator, [length] * STEADY)
    replay(steps, Allocator(Settings(card=CARD)), [length])
