"""PyTorch's caching allocator for one GPU, on numbers instead of memory.

The rules are those of c10/cuda/CUDACachingAllocator.cpp, read at torch 2.1, 2.4 and 2.5; the sizes are those of
c10/core/AllocatorConfig.h of torch 2.13, which are the same. What the file leaves to the machine is assumed: cudaMalloc
returns ascending addresses (they only break ties), and takes whole pages of 2 MiB. Private pools of CUDA graphs are
left out.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple

from benchmarks.count.pool import LARGE_SEGMENT, MIB, Block, Pool, link, reach

MIN_BLOCK = 512  # every request is a multiple of it
SMALL = MIB  # requests up to here come from the small pool
MIN_LARGE = 10 * MIB  # requests from here on have segments of their own size
ROUND_LARGE = 2 * MIB
ENDLESS = 1 << 62


class OutOfMemory(Exception):
    """A request that the card has no room for, after all that is free was given back."""


class Settings(NamedTuple):
    """PYTORCH_CUDA_ALLOC_CONF, and the card. Sizes are bytes."""

    card: int = ENDLESS  # what the process can take of it
    expandable: bool = False
    max_split: int = ENDLESS  # max_split_size_mb: larger blocks are never split
    divisions: int = 0  # roundup_power2_divisions
    collect: float = 0.0  # garbage_collection_threshold, a share of `limit`
    limit: int = 0  # set_per_process_memory_fraction; 0 where it was not called, and nothing is collected


DEFAULTS = Settings()


class Allocator:
    """`take` and `give` blocks; `allocated` and `reserved` are what torch's counters of those names would show."""

    def __init__(self, settings: Settings = DEFAULTS) -> None:
        self.settings = settings
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0
        self.retries = 0  # times that free blocks were given back because the card was full
        self._pools = {True: Pool(small=True), False: Pool(small=False)}
        self._next = 0  # the next address that cudaMalloc returns
        self._waiting: list[Block] = []  # given, but other streams still read them

    def take(self, size: int, stream: int = 0) -> Block:
        """A block of at least `size` bytes. Raises OutOfMemory."""
        size = self.rounded(size)
        pool = self._pools[size <= SMALL]
        block = self._find(pool, stream, size) or self._new(pool, stream, size)
        rest = block.size - size
        if (
            rest >= MIN_BLOCK
            if pool.small or self.settings.expandable
            else (size < self.settings.max_split and rest > SMALL)
        ):
            remaining = Block(pool, stream, block.place + size, rest)
            block.size = size
            link(block, remaining, block.after)
            pool.add(remaining)
        block.free = False
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def give(self, block: Block) -> None:
        """Free a block, or note that it is free once other streams have read it."""
        self.allocated -= block.size
        if block.users:
            self._waiting.append(block)
        else:
            self._freed(block)

    def complete(self, stream: int) -> None:
        """Whatever was asked of a stream is done: what waited only for it is free."""
        for block in list(self._waiting):
            block.users.discard(stream)
            if not block.users:
                self._waiting.remove(block)
                self._freed(block)

    def empty(self) -> None:
        """Give back what is free (torch.cuda.empty_cache): whole segments, or pages of expandable ones."""
        for block in self._waiting:
            block.users.clear()
            self._freed(block)
        self._waiting.clear()
        for pool in (self._pools[False], self._pools[True]):
            for *_, block in list(pool.blocks):
                if self.settings.expandable:
                    self._unmap(block)
                elif not block.split:
                    self._release(block)

    def rounded(self, size: int) -> int:
        """The size of the block that a request gets."""
        divisions = self.settings.divisions
        if size < MIN_BLOCK:
            return MIN_BLOCK
        if divisions > 1 and size > MIN_BLOCK * divisions:
            power = 1 << (size.bit_length() - 1)
            step = power // divisions
            return size if size == power or not step else power + -(-(size - power) // step) * step
        return -(-size // MIN_BLOCK) * MIN_BLOCK

    def _find(self, pool: Pool, stream: int, size: int) -> Block | None:
        """The smallest free block that is large enough, if it may be used."""
        settings = self.settings
        if settings.limit and settings.collect:
            pool.calls += 1
        candidates = pool.from_size(stream, size)
        best = next(candidates, None)
        if best is None:
            return None
        if settings.expandable:  # the end of a segment counts as large as it may grow
            for other in candidates:
                if reach(other) >= reach(best):
                    break
                best = other
        if size < settings.max_split <= best.size:
            return None
        if size >= settings.max_split and best.size >= size + LARGE_SEGMENT:
            return None
        pool.drop(best)
        return best

    def _new(self, pool: Pool, stream: int, size: int) -> Block:
        """A block of memory that the process did not have."""
        settings = self.settings
        if settings.limit and settings.collect:
            self._collect()
        wanted = pool.segment if pool.small or size < MIN_LARGE else -(-size // ROUND_LARGE) * ROUND_LARGE
        made = self._segment(pool, stream, size, wanted)
        if made is None and self._make_room(pool, stream, size):
            made = self._segment(pool, stream, size, wanted)
        if made is None:
            self.retries += 1
            self.empty()
            made = self._segment(pool, stream, size, wanted)
        if made is None:
            raise OutOfMemory(f"{wanted} bytes asked for, {self.reserved} reserved, {self.allocated} allocated")
        return made

    def _segment(self, pool: Pool, stream: int, size: int, wanted: int) -> Block | None:
        if self.settings.limit and self.reserved + wanted > self.settings.limit:
            return None
        if self.settings.expandable:
            return self._expand(pool, stream, size)
        if not self._reserve(wanted):
            return None
        self._next += wanted
        return Block(pool, stream, self._next - wanted, wanted)

    def _reserve(self, size: int) -> bool:
        if self.reserved + size > self.settings.card:
            return False
        self.reserved += size
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return True

    def _freed(self, block: Block) -> None:
        block.free = True
        block.pool.add(self._merged(block))

    def _merged(self, block: Block) -> Block:
        """A block that is in no list, joined with free neighbours of its kind, which leave theirs."""
        leave = block.pool.drop if block.mapped else block.pool.cancel
        for other in (block.before, block.after):
            if other is None or not other.free or other.users or other.mapped != block.mapped:
                continue
            leave(other)
            if other is block.before:
                block.place, block.before = other.place, other.before
                if block.before is not None:
                    block.before.after = block
            else:
                block.after = other.after
                if block.after is not None:
                    block.after.before = block
            block.size += other.size
        return block

    def _release(self, block: Block) -> None:
        """Give a whole segment back."""
        block.pool.drop(block)
        self.reserved -= block.size

    def _make_room(self, pool: Pool, stream: int, size: int) -> bool:
        """Give back blocks too large to split, as many as the request is large."""
        limit = self.settings.max_split
        if limit == ENDLESS:
            return False
        size = max(size, limit)
        enough = next(pool.from_size(stream, size), None)
        if enough is not None:
            self._release(enough)
            return True
        released = 0
        for *_, block in reversed([each for each in pool.blocks if each[0] == stream and each[1] >= limit]):
            if released >= size:
                break
            released += block.size
            self._release(block)
        return released >= size

    def _collect(self) -> None:
        """Give back whole free segments, the oldest first, until the process is below the threshold."""
        over = self.reserved - int(self.settings.collect * self.settings.limit)
        pool = self._pools[False]
        while over > 0:
            whole = [block for *_, block in pool.blocks if not block.split]
            if not whole:
                return
            mean = sum(pool.calls - block.born for block in whole) / len(whole)
            for block in whole:
                if pool.calls - block.born >= mean:
                    over -= block.size
                    self._release(block)

    def _expand(self, pool: Pool, stream: int, size: int) -> Block | None:
        """A block at the lowest address where free and unmapped space is large enough; mapped as far as it must be."""
        block = self._space(pool, stream, size)
        if not block.mapped:
            mapped = self._map(pool, block, min(block.size, size))
            if mapped is None:
                return None
            block = mapped
        while block.size < size:
            after = block.after
            assert after is not None
            mapped = self._map(pool, after, min(size - block.size, after.size))
            if mapped is None:
                return None
            block = mapped
        pool.drop(block)
        return block

    def _space(self, pool: Pool, stream: int, size: int) -> Block:
        for index in range(bisect.bisect_left(pool.unmapped, (stream,)), len(pool.unmapped)):
            of, _, block = pool.unmapped[index]
            if of != stream:
                break
            if block.before is not None and block.before.free and not block.before.users:
                block = block.before
            room, at = 0, block
            while at is not None and at.free and not at.users and room < size:
                room, at = room + at.size, at.after  # type: ignore[assignment]
            if room >= size:
                return block
        card = min(self.settings.card, 1 << 42)
        whole = -(-(card + card // 8) // LARGE_SEGMENT) * LARGE_SEGMENT
        block = Block(pool, stream, self._next, whole)
        self._next += whole
        pool.reserve(block)
        return block

    def _map(self, pool: Pool, block: Block, size: int) -> Block | None:
        """Put memory behind the first `size` bytes of address space, in whole pages."""
        size = min(-(-size // pool.segment) * pool.segment, block.size)
        if not self._reserve(size):
            return None
        pool.cancel(block)
        if size < block.size:
            remaining = Block(pool, block.stream, block.place + size, block.size - size)
            block.size = size
            link(block, remaining, block.after)
            pool.reserve(remaining)
        block.mapped = True
        pool.add(self._merged(block))
        return block

    def _unmap(self, block: Block) -> None:
        """Take the memory from behind a free block's whole pages."""
        pool, page = block.pool, block.pool.segment
        start, end = -(-block.place // page) * page, (block.place + block.size) // page * page
        if start >= end:
            return
        pool.drop(block)
        if start > block.place:
            first = Block(pool, block.stream, block.place, start - block.place)
            link(block.before, first, block)
            pool.add(first)
        if end < block.place + block.size:
            last = Block(pool, block.stream, end, block.place + block.size - end)
            link(block, last, block.after)
            pool.add(last)
        block.place, block.size, block.mapped = start, end - start, False
        self.reserved -= block.size
        pool.reserve(self._merged(block))
