"""The allocator's rules one by one, as c10/cuda/CUDACachingAllocator.cpp has them, and what must hold of any order."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from benchmarks.count.allocator import Allocator, OutOfMemory, Settings
from benchmarks.count.pool import MIB, SMALL_SEGMENT, Block


@pytest.mark.parametrize(
    ("asked", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),  # the largest of the small pool
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),  # from here on segments of their own size, in steps of 2 MiB
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),
        (19 * MIB, 20 * MIB, 20 * MIB),  # what is left is too small to split off
    ],
)
def test_segments_of_a_first_request(asked: int, allocated: int, reserved: int) -> None:
    allocator = Allocator()
    allocator.take(asked)
    assert (allocator.allocated, allocator.reserved) == (allocated, reserved)


@pytest.mark.parametrize(("asked", "size"), [(100, 512), (2048, 2048), (5000, 5120), (1200 * MIB, 1280 * MIB)])
def test_rounding_to_parts_of_powers_of_two(asked: int, size: int) -> None:
    assert Allocator(Settings(divisions=4)).rounded(asked) == size


def test_a_remainder_of_a_mebibyte_stays_with_its_block() -> None:
    allocator = Allocator()
    allocator.give(allocator.take(40 * MIB))
    assert allocator.take(39 * MIB).size == 40 * MIB  # 1 MiB is not more than 1 MiB
    other = Allocator()
    other.give(other.take(40 * MIB))
    assert other.take(39 * MIB - 512).size == 39 * MIB - 512


def test_the_smallest_block_that_is_large_enough_is_taken() -> None:
    allocator = Allocator()
    blocks = [allocator.take(size * MIB) for size in (64, 32, 48)]
    for block in blocks:
        allocator.give(block)
    assert allocator.take(40 * MIB).place == blocks[2].place
    assert allocator.reserved == (64 + 32 + 48) * MIB


def test_of_equal_blocks_the_lowest_is_taken() -> None:
    allocator = Allocator()
    blocks = [allocator.take(32 * MIB) for _ in range(3)]
    for block in reversed(blocks):
        allocator.give(block)
    assert allocator.take(32 * MIB) is blocks[0]


def test_free_neighbours_merge_and_segments_never_do() -> None:
    allocator = Allocator()
    allocator.give(allocator.take(64 * MIB))
    first, second = allocator.take(24 * MIB), allocator.take(40 * MIB)
    assert allocator.reserved == 64 * MIB
    allocator.give(first)
    allocator.give(second)
    assert allocator.take(64 * MIB).place == 0
    allocator.give(allocator.take(32 * MIB))
    allocator.take(80 * MIB)  # neither 64 nor 32 holds it
    assert allocator.reserved == (64 + 32 + 80) * MIB


def test_streams_share_no_blocks() -> None:
    allocator = Allocator()
    allocator.give(allocator.take(32 * MIB, stream=1))
    allocator.take(32 * MIB)
    assert allocator.reserved == 64 * MIB


def test_a_block_that_another_stream_reads_is_free_once_it_has() -> None:
    allocator = Allocator()
    block = allocator.take(32 * MIB)
    block.users.add(7)
    allocator.give(block)
    assert allocator.allocated == 0
    other = allocator.take(32 * MIB)
    assert allocator.reserved == 64 * MIB
    assert other is not block
    allocator.complete(7)
    assert allocator.take(32 * MIB) is block


def test_a_full_card_gets_free_segments_back_before_it_fails() -> None:
    allocator = Allocator(Settings(card=100 * MIB))
    kept, whole = allocator.take(30 * MIB), allocator.take(60 * MIB)
    allocator.give(whole)
    allocator.take(70 * MIB)
    assert (allocator.retries, allocator.reserved) == (1, 100 * MIB)
    allocator.give(kept)
    with pytest.raises(OutOfMemory):
        allocator.take(40 * MIB)


def test_a_segment_that_is_partly_used_is_not_given_back() -> None:
    allocator = Allocator(Settings(card=100 * MIB))
    allocator.give(allocator.take(80 * MIB))
    allocator.take(10 * MIB)  # a part of the 80
    with pytest.raises(OutOfMemory):
        allocator.take(75 * MIB)
    assert allocator.reserved - allocator.allocated == 70 * MIB


def test_blocks_above_the_split_limit_serve_large_requests_only() -> None:
    allocator = Allocator(Settings(max_split=100 * MIB))
    allocator.give(allocator.take(200 * MIB))
    allocator.take(50 * MIB)
    assert allocator.reserved == 250 * MIB  # not a part of the 200
    assert allocator.take(190 * MIB).size == 200 * MIB  # whole, for it is less than 20 MiB larger
    allocator.take(150 * MIB)
    assert allocator.reserved == 400 * MIB


def test_garbage_is_collected_above_the_threshold() -> None:
    settings = Settings(limit=400 * MIB, collect=0.5)
    allocator = Allocator(settings)
    old, young = allocator.take(100 * MIB), allocator.take(110 * MIB)
    allocator.give(old)
    allocator.take(20 * MIB)  # a part of the old one, which is whole no more
    allocator.give(young)
    allocator.take(150 * MIB)
    assert allocator.reserved == (100 + 150) * MIB
    careless = Allocator(settings._replace(limit=0))
    for size in (100, 110):
        careless.give(careless.take(size * MIB))
    careless.take(150 * MIB)
    assert careless.reserved == 360 * MIB  # the threshold is a share of a limit that nobody set


def test_expandable_segments_grow_at_their_end() -> None:
    allocator = Allocator(Settings(card=1 << 37, expandable=True))
    first = allocator.take(30 * MIB)
    assert allocator.reserved == 40 * MIB  # two pages
    allocator.give(first)
    grown = allocator.take(90 * MIB)
    assert (grown.place, allocator.reserved) == (first.place, 100 * MIB)
    allocator.take(512)
    assert allocator.reserved == 102 * MIB  # small ones have a segment of their own, with pages of 2 MiB


def test_expandable_segments_give_whole_pages_back() -> None:
    allocator = Allocator(Settings(card=200 * MIB, expandable=True))
    low, middle, top = allocator.take(50 * MIB), allocator.take(60 * MIB), allocator.take(50 * MIB)
    allocator.give(middle)
    assert allocator.reserved == 160 * MIB
    allocator.take(80 * MIB)  # at the end; 40 of the pages between are unmapped for it
    assert allocator.retries == 1
    assert allocator.reserved <= 200 * MIB
    assert (low.place, top.place) == (0, 110 * MIB)


@pytest.mark.parametrize("expandable", [False, True])
@pytest.mark.parametrize("card", [400 * MIB, 1 << 40])
def test_whatever_the_order(expandable: bool, card: int) -> None:
    """Blocks never overlap, free neighbours of a segment are one, the counters add up and all comes back."""
    for seed in range(20):
        chance = random.Random(seed)
        allocator = Allocator(Settings(card=card, expandable=expandable))
        used: list[Block] = []
        for _ in range(60):
            try:
                used.append(allocator.take(int(2 ** chance.uniform(8, 26)), chance.randrange(2)))
            except OutOfMemory:
                assert card < 1 << 40
            if len(used) > 4 and chance.random() < 0.7:
                allocator.give(used.pop(chance.randrange(len(used))))
            assert allocator.allocated == sum(block.size for block in used)
            assert allocator.allocated <= allocator.reserved <= card
            places = sorted((block.place, block.size) for block in used)
            assert all(place + size <= after for (place, size), (after, _) in pairwise(places))
            assert not any(_unmerged(block) for block in used)
        assert allocator.peak_reserved % SMALL_SEGMENT == 0
        for block in used:
            allocator.give(block)
        allocator.empty()
        assert (allocator.allocated, allocator.reserved) == (0, 0)


def _unmerged(block: Block) -> bool:
    """Whether two free blocks of one kind follow `block`."""
    one = block.after
    other = one.after if one is not None else None
    return one is not None and other is not None and one.free and other.free and one.mapped == other.mapped
