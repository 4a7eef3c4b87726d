"""Replay steps of changing length through a model of torch's caching allocator.

    python -m benchmarks.count.replay    # a minute

Gives the constants GROWN_LOGITS and GROWN_LAYER of mfc.memory.blocks: how far reserved memory outgrows the longest
batch when every batch has another length. The allocator's rules are those of c10/cuda/CUDACachingAllocator.cpp with
default settings: requests up to 1 MiB come from 2 MiB segments, up to 10 MiB from 20 MiB segments, larger ones from
segments of their own size; the smallest free block that is large enough is taken and split; freed neighbours merge.
"""

from __future__ import annotations

import bisect
import random
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MIB = 1 << 20


class Allocator:
    """Segments and blocks; `reserved` never falls, as on a card with room."""

    def __init__(self) -> None:
        self.reserved = 0
        self._free: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}  # small? -> (size, segment, offset)
        self._next: dict[
            tuple[int, int], int
        ] = {}  # block -> offset of its right neighbour, segment's end for the last
        self._before: dict[tuple[int, int], int] = {}
        self._idle: set[tuple[int, int]] = set()
        self._ends: list[int] = []

    def take(self, size: int) -> tuple[bool, int, int]:
        """A block of at least `size` bytes."""
        size = max(512, -(-size // 512) * 512)
        small = size <= MIB
        free = self._free[small]
        index = bisect.bisect_left(free, (size, -1, -1))
        if index < len(free):
            found, segment, offset = free.pop(index)
            self._idle.discard((segment, offset))
        else:
            found = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
            segment, offset = len(self._ends), 0
            self._ends.append(found)
            self._next[segment, 0] = found
            self.reserved += found
        rest = found - size
        if rest >= 512 if small else rest > MIB:
            middle, end = offset + size, self._next[segment, offset]
            self._next[segment, offset], self._next[segment, middle] = middle, end
            self._before[segment, middle] = offset
            if end < self._ends[segment]:
                self._before[segment, end] = middle
            self._idle.add((segment, middle))
            bisect.insort(free, (rest, segment, middle))
        return small, segment, offset

    def give(self, block: tuple[bool, int, int]) -> None:
        """Free a block, merging it with free neighbours."""
        small, segment, offset = block
        end = self._next[segment, offset]
        if end < self._ends[segment] and (segment, end) in self._idle:
            self._drop(small, segment, end)
            end = self._next.pop((segment, end))
        before = self._before.get((segment, offset))
        if before is not None and (segment, before) in self._idle:
            self._drop(small, segment, before)
            del self._next[segment, offset], self._before[segment, offset]
            offset = before
        self._next[segment, offset] = end
        if end < self._ends[segment]:
            self._before[segment, end] = offset
        self._idle.add((segment, offset))
        bisect.insort(self._free[small], (end - offset, segment, offset))

    def _drop(self, small: bool, segment: int, offset: int) -> None:
        free = self._free[small]
        size = self._next[segment, offset] - offset
        del free[bisect.bisect_left(free, (size, segment, offset))]
        self._idle.discard((segment, offset))


def step(
    take: Callable[[int], Callable[[], None]], tokens: int, hidden: int, width: int, layers: int, vocab: int
) -> None:
    """One step of a checkpointed Llama with adapters: the blocks it asks for, in order."""

    @contextmanager
    def held(*sizes: int) -> Iterator[None]:
        frees = [take(size * tokens) for size in sizes]
        yield
        for free in frees:
            free()

    layer = (4 * hidden, *[2 * hidden] * 8, 4 * hidden, *[2 * width] * 4, 2 * hidden)
    inputs = [take(2 * hidden * tokens)]
    for _ in range(layers):
        with held(*layer):
            kept = take(2 * hidden * tokens)
        inputs.append(kept)
    with held(4 * hidden):
        narrow, wide = take(2 * vocab * tokens), take(4 * vocab * tokens)
        probabilities = take(4 * vocab * tokens)
        wide()
        narrow()
        with held(4 * vocab):
            gradient = take(4 * vocab * tokens)
        probabilities()
        with held(2 * vocab):
            gradient()
    for free in reversed(inputs):
        with held(*layer, *[2 * width] * 2, *[2 * hidden] * 2, 4 * hidden):
            pass
        free()


# hidden, MLP width, layers (few: their inputs come and go in order), vocabulary
SHAPES = {"1.8B": (2048, 5504, 8, 151936), "8B": (4096, 14336, 8, 128256), "6B": (4096, 11008, 8, 64000)}
LONGEST = 2048


def grown(shape: tuple[int, int, int, int], longest: int, steps: int, vary: bool, seed: int) -> tuple[int, int]:
    """(reserved, peak allocated) bytes after `steps` steps of lengths up to `longest`."""
    allocator, chance = Allocator(), random.Random(seed)
    live = peak = 0

    def take(size: int) -> Callable[[], None]:
        nonlocal live, peak
        block = allocator.take(size)
        live += size
        peak = max(peak, live)

        def free() -> None:
            nonlocal live
            live -= size
            allocator.give(block)

        return free

    for _ in range(steps):
        step(take, int(longest * chance.uniform(0.1, 1)) if vary else longest, *shape)
    return allocator.reserved, peak


def main() -> int:
    every = []
    for name, shape in SHAPES.items():
        hidden, width, _, vocab = shape
        steady, _ = grown(shape, LONGEST, 3, vary=False, seed=0)
        logits = 12 * vocab * LONGEST
        layer = (32 * hidden + 12 * width) * LONGEST
        for steps in (100, 300, 900):
            shares = [
                (grown(shape, LONGEST, steps, vary=True, seed=s)[0] - steady - 1.2 * layer) / logits for s in range(3)
            ]
            every += shares if steps > 100 else []
            print(f"{name:5s} {steps:4d} steps: growth over 12 bytes of logits", *(f"{share:5.2f}" for share in shares))
    print(f"300 steps and more: median {statistics.median(every):.2f}, mean {statistics.fmean(every):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
