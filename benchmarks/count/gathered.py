"""Replay how ZeRO-3 fetches and releases weights through a model of torch's caching allocator.

    python -m benchmarks.count.gathered    # seconds

DeepSpeed gathers on a stream of its own, and blocks of one stream serve no other. So what that stream's pool grows to
stays there, beside whatever the step needs elsewhere: the constant GATHER_EDGES of mfc.runtimes.deepspeed. The rules
are those of deepspeed/runtime/zero 0.19.8: partitioned_param_coordinator.py (fetch, prefetch, reuse distance) and
partition_parameters.py (AllGatherCoalescedHandle: a flat tensor per fetch of several, of which each parameter is a
copy; a single one is gathered where it stays).
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.count.allocator import Allocator
from benchmarks.count.pool import Block

GIB = 1 << 30
MAX_LIVE = REUSE = 1_000_000_000  # numbers: DeepSpeed's defaults


class Model(NamedTuple):
    """A decoder in the shape of Llama."""

    hidden: int
    kv: int
    width: int
    layers: int
    vocab: int

    @property
    def edge(self) -> int:
        """Numbers of the embedding, and of the head."""
        return self.hidden * self.vocab

    def modules(self, full: bool) -> Iterator[int]:
        """The modules with a split weight as one step calls them; a weight is its index in `sizes`."""
        layers = [list(range(1 + 7 * layer, 8 + 7 * layer)) for layer in range(self.layers)]
        head = 1 + 7 * self.layers
        yield 0
        for layer in layers:
            yield from layer
        yield from (head, head)
        for layer in reversed(layers):  # checkpointing runs each forward again
            yield from layer
            yield from reversed(layer)
        if full:
            yield 0

    def sizes(self) -> list[int]:
        """Numbers of each weight: embedding, seven linears a layer, head."""
        square, narrow, mlp = self.hidden**2, self.hidden * self.kv, self.hidden * self.width
        return [self.edge, *[square, narrow, narrow, square, mlp, mlp, mlp] * self.layers, self.edge]


class Fetch(NamedTuple):
    """Weights on their way: a flat tensor that lives until the last of them is used."""

    flat: Block
    size: int
    waiting: set[int]
    uncopied: set[int]


class Coordinator:
    """One rank's weights on the gathering stream."""

    def __init__(self, model: Model, full: bool, prefetch: int) -> None:
        self.sizes, self.order, self.prefetch = model.sizes(), list(model.modules(full)), prefetch
        self.allocator = Allocator()
        self.live = self.peak = self.numbers = 0
        self.copies: dict[int, Block] = {}
        self.flying: dict[int, Fetch] = {}

    def step(self, traced: bool) -> None:
        """One forward and backward pass."""
        queue = deque(self.order)
        fetched: dict[int, int] = {}  # weight -> the last place in the trace that a fetch was for
        for place, weight in enumerate(self.order):
            if weight not in self.copies and weight not in self.flying:
                self._fetch([weight])
            self._wait(weight)
            if traced:
                if fetched.get(weight, -1) < place:
                    queue.popleft()
                    fetched[weight] = place
                self._ahead(queue, fetched)
            if not traced or (fetched[weight] <= place and not self._soon(weight, place)):
                self._release(weight)
        for weight in list(self.copies):
            self._release(weight)

    def _ahead(self, queue: deque[int], fetched: dict[int, int]) -> None:
        room, chosen = min(MAX_LIVE - self.numbers, self.prefetch), []
        total = 0
        while queue and total < room:
            weight = queue.popleft()
            fetched[weight] = len(self.order) - len(queue) - 1
            if weight not in self.copies and weight not in self.flying and weight not in chosen:
                chosen.append(weight)
                total += self.sizes[weight]
        if chosen:
            self._fetch(chosen)

    def _soon(self, weight: int, place: int) -> bool:
        passed = 0
        for other in self.order[place + 1 :]:
            if passed >= REUSE:
                return False
            if other == weight:
                return True
            passed += self.sizes[other]
        return False

    def _fetch(self, weights: list[int]) -> None:
        size = 2 * sum(self.sizes[weight] for weight in weights)
        if len(weights) == 1:
            self.copies[weights[0]] = self._take(size)
            self.numbers += size // 2
            return
        fetch = Fetch(self._take(size), size, set(weights), set(weights))
        self.numbers += size // 2
        for weight in weights:
            self.flying[weight] = fetch

    def _wait(self, weight: int) -> None:
        if weight not in self.flying:
            return
        fetch = self.flying.pop(weight)
        for each in fetch.uncopied:
            self.copies[each] = self._take(2 * self.sizes[each])
        fetch.uncopied.clear()
        fetch.waiting.discard(weight)
        if not fetch.waiting:
            self._give(fetch.flat, fetch.size)

    def _release(self, weight: int) -> None:
        if weight in self.flying:
            self._wait(weight)
        self._give(self.copies.pop(weight), 2 * self.sizes[weight])
        self.numbers -= self.sizes[weight]

    def _take(self, size: int) -> Block:
        self.live += size
        self.peak = max(self.peak, self.live)
        return self.allocator.take(size)

    def _give(self, block: Block, size: int) -> None:
        self.live -= size
        self.allocator.give(block)


MODELS = {
    "Llama-2-7B": Model(4096, 4096, 11008, 32, 32000),
    "Llama-3-8B": Model(4096, 1024, 14336, 32, 128256),
    "Qwen2.5-7B": Model(3584, 512, 18944, 28, 152064),
    "Qwen2.5-32B": Model(5120, 1024, 27648, 64, 152064),
    "Llama-2-70B": Model(8192, 1024, 28672, 80, 32000),
    "Llama-3-70B": Model(8192, 1024, 28672, 80, 128256),
    "Qwen-72B": Model(8192, 8192, 24576, 80, 152064),
}


def main() -> int:
    print("model, what trains: GiB live at most, held; embeddings held beside the live weights at most")
    for name, model in MODELS.items():
        for full in (True, False):
            coordinator = Coordinator(model, full, int(0.9 * model.hidden**2))
            for number in range(6):
                coordinator.step(traced=number > 0)
            held, edge = coordinator.allocator.reserved, 2 * model.edge
            print(
                f"{name:12s} {'full' if full else 'lora':4s} {coordinator.peak / GIB:6.2f} {held / GIB:6.2f}"
                f" {(held - 2 * MAX_LIVE) / edge:6.2f}  edge {edge / GIB:.2f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
