"""Free blocks of PyTorch's caching allocator, in the order in which it looks for them."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from itertools import pairwise

MIB = 1 << 20
SMALL_SEGMENT = 2 * MIB
LARGE_SEGMENT = 20 * MIB


class Block:
    """A piece of a segment, in use or free; or address space of an expandable segment that has no memory yet."""

    __slots__ = ("after", "before", "born", "free", "mapped", "place", "pool", "size", "stream", "users")

    def __init__(self, pool: Pool, stream: int, place: int, size: int) -> None:
        self.pool, self.stream, self.place, self.size = pool, stream, place, size
        self.before: Block | None = None
        self.after: Block | None = None
        self.free, self.mapped, self.born = True, True, 0
        self.users: set[int] = set()  # other streams that read it

    @property
    def split(self) -> bool:
        """Whether it is only a part of its segment."""
        return self.before is not None or self.after is not None


class Pool:
    """Free blocks by stream, size and address; and address space without memory by stream and address."""

    def __init__(self, small: bool) -> None:
        self.small = small
        self.segment = SMALL_SEGMENT if small else LARGE_SEGMENT
        self.blocks: list[tuple[int, int, int, Block]] = []
        self.unmapped: list[tuple[int, int, Block]] = []
        self.calls = 0  # searches so far: the age of a block is counted in them

    def add(self, block: Block) -> None:
        """Take a free block in."""
        block.born = self.calls
        bisect.insort(self.blocks, (block.stream, block.size, block.place, block))

    def drop(self, block: Block) -> None:
        """Take a free block out. Its size must not have changed since it came in."""
        del self.blocks[bisect.bisect_left(self.blocks, (block.stream, block.size, block.place))]

    def reserve(self, block: Block) -> None:
        """Take address space in."""
        block.mapped = False
        bisect.insort(self.unmapped, (block.stream, block.place, block))

    def cancel(self, block: Block) -> None:
        """Take address space out."""
        del self.unmapped[bisect.bisect_left(self.unmapped, (block.stream, block.place))]

    def from_size(self, stream: int, size: int) -> Iterator[Block]:
        """Free blocks of a stream of at least `size` bytes, the smallest first."""
        for index in range(bisect.bisect_left(self.blocks, (stream, size)), len(self.blocks)):
            if self.blocks[index][0] != stream:
                return
            yield self.blocks[index][3]


def reach(block: Block) -> int:
    """Bytes that a free block has, and those that it may grow by."""
    return block.size + (block.after.size if block.after is not None and not block.after.mapped else 0)


def link(*blocks: Block | None) -> None:
    """Make blocks neighbours, in order of address."""
    for one, other in pairwise(blocks):
        if one is not None:
            one.after = other
        if other is not None:
            other.before = one
