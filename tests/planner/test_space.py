"""What the search tries of a range, however wide."""

from __future__ import annotations

import random

import mfc
import pytest
from mfc.planner.space import Falling


@pytest.mark.parametrize("seed", range(20))
def test_a_range_is_its_ends_and_the_multiples_between(seed: int) -> None:
    draw = random.Random(seed)
    low, step = draw.randint(1, 40), draw.choice((1, 8))
    high = low + draw.randint(0, 60)
    every = sorted({low, high, *(size for size in range(low, high) if size % step == 0)}, reverse=True)
    tried = Falling(low, high, step)
    assert list(tried) == every
    assert [tried[-1], tried[0]] == [low, high]
    assert list(tried[::-1]) == every[::-1]
    with pytest.raises(IndexError):
        tried[len(every)]


def test_a_range_may_be_as_wide_as_it_likes() -> None:
    spec = {"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": "8x H100", "data": {"format": "messages"}}
    wide = "{min: 1, max: 2000000000}"
    plan = mfc.plan(spec, "llamafactory", [f"{path}={wide}" for path in ("data.max_length", "train.lora.rank")])
    assert plan.fits
    assert plan.evaluated < 50_000
