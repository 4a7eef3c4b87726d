"""A run with its micro-batch left open: phases joined with where states lie, each moment affine in the micro-batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.catalog.gpu import Gpu
from mfc.memory import blocks, bounds, overhead
from mfc.memory.model import Run
from mfc.memory.phases import Phase
from mfc.memory.placing import place
from mfc.memory.stack import Stack
from mfc.memory.static import Static, group, key, static
from mfc.runtimes.placement import Placement, States
from mfc.strategy import Strategy

RECLAIMED = 0.96  # share of the card at which the allocator is taken to give free blocks back
Line = tuple[float, float]  # bytes, and what one more sequence in the micro-batch adds
UNBOUNDED = 1e9  # a micro-batch that no memory limits


class Prepared(NamedTuple):
    """A run with its micro-batch left open. All bytes are per GPU."""

    run: Run
    static: Static
    placement: Placement
    phases: tuple[Phase, ...]  # all, or those that can be the peak
    tensors: list[Line]  # allocated at each phase
    blocks: list[Line]  # the same with cached blocks
    outside: float  # process bytes outside the allocator
    limit: float  # the allocator gives free blocks back rather than grow the process beyond this
    factor: float  # bound over prediction, for what tensors need
    held_factor: float  # and for what the allocator holds

    def allocated(self, micro_batch: int) -> float:
        """Peak bytes in tensors."""
        return max([fixed + slope * micro_batch for fixed, slope in self.tensors])

    def reserved(self, micro_batch: int) -> list[float]:
        """Bytes that the allocator would hold at each phase if memory were no object."""
        return [fixed + slope * micro_batch for fixed, slope in self.blocks]

    def waiting(self, micro_batch: int) -> int:
        """Bytes of a node's host memory in which layer inputs wait for the backward pass."""
        if not self.static.step.course.offloaded:
            return 0
        strategy = self.run.strategy
        sequences = micro_batch * strategy.sequences // strategy.micro_batch
        return int(self.run.gpus_per_node * self.static.step.course.offloaded * sequences)

    def process(self, micro_batch: int) -> float:
        """Peak bytes of the process: what tensors need, and free blocks up to `limit`."""
        held = max(self.reserved(micro_batch)) + self.outside
        return max(self.needed(micro_batch), min(held, self.limit))

    def needed(self, micro_batch: int) -> float:
        """Process bytes without which tensors have no room."""
        return self.allocated(micro_batch) + overhead.ROUNDING + self.outside

    def upper(self, micro_batch: int) -> float:
        """The bound on what is needed; no size of a card cuts it."""
        return self.needed(micro_batch) * self.factor

    def held(self, micro_batch: int) -> float:
        """The bound on what the process would come to hold on a card without end, free blocks included."""
        held = (max(self.reserved(micro_batch)) + self.outside) * self.held_factor
        return max(self.upper(micro_batch), held)

    def bounds(self, micro_batch: int) -> tuple[float, float]:
        """`upper` and `held`, at once."""
        needed = max([fixed + slope * micro_batch for fixed, slope in self.tensors]) + overhead.ROUNDING + self.outside
        upper = needed * self.factor
        held = (max([fixed + slope * micro_batch for fixed, slope in self.blocks]) + self.outside) * self.held_factor
        return upper, max(upper, held)

    def largest_micro_batch(self, budget_bytes: float) -> int:
        """The largest micro-batch of which the bound on what is needed stays within the budget; 0 if not even 1."""
        room = budget_bytes / self.factor - self.outside - overhead.ROUNDING
        least = UNBOUNDED
        for fixed, slope in self.tensors:
            if slope:
                least = min(least, (room - fixed) / slope)
            elif fixed > room:
                return 0
        return max(0, int(least + 1e-9))


class _Placed(NamedTuple):
    """Where states lie, and what follows from that alone. All bytes are per GPU."""

    placement: Placement
    outside: float  # process bytes outside the allocator
    resident: float  # at every moment
    beside: Mapping[blocks.Where, float]  # at such a moment, more
    pooled: Mapping[blocks.Where, float]  # and of a pool that only gathering and reducing use


class _Alike(NamedTuple):
    """What strategies of one `group` share, and what was worked out for some of them."""

    static: Static
    fresh: float  # the share of finished gradients that the next step's loss finds as free blocks
    places: dict[tuple[Any, ...], _Placed]  # of all whose states are the same
    factors: dict[bool, tuple[float, float]]


class Preparer:
    """Prepares the runs of one model on one kind of machine, which differ by their strategy: what they share, once."""

    def __init__(
        self, architecture: Architecture, gpu: Gpu | None, gpus_per_node: int, stack: Stack, limit_bytes: int = 0
    ) -> None:
        self._architecture, self._gpu, self._gpus_per_node = architecture, gpu, gpus_per_node
        self._stack, self._limit_bytes = stack, limit_bytes
        self._limit = limit_bytes or RECLAIMED * (gpu.memory_bytes if gpu is not None else math.inf)
        self._workspace = overhead.workspace_bytes(gpu)
        self._alike: dict[tuple[Any, ...], _Alike] = {}
        self._places: dict[States, dict[tuple[Any, ...], _Placed]] = {}

    def run(self, strategy: Strategy) -> Run:
        """The run of a strategy."""
        return Run(self._architecture, strategy, self._gpu, self._gpus_per_node, self._stack, self._limit_bytes)

    def prepare(self, strategy: Strategy, *, every: bool = False) -> Prepared:
        """A run with its micro-batch left open, with the phases that can be its peak, or with `every` phase."""
        kind = group(strategy)
        shared, fresh, places, factors = self._alike.get(kind) or self._share(kind, strategy)
        offloads = strategy.offload_optimizer, strategy.offload_parameters, strategy.pin_memory
        at = strategy.sharding, strategy.world_size, offloads
        placed = places.get(at)
        if placed is None:
            placed = places[at] = self._place(shared.states, strategy)
        placement, outside, resident, beside, pooled = placed
        phases, slopes, held_slopes, frees = shared.step.every if every else shared.step.peaks
        done, live = placement.done, placement.live
        freed = 0.0 if placement.gradients else fresh * done * shared.states.trained
        fixed = [
            resident
            + done * finished
            + live * making
            + scratch
            + beside[where]
            + (placement.sending if making and where == "layers" else 0.0)
            for _, where, _, _, scratch, finished, making in phases
        ]
        held = [
            (size + free + overhead.ROUNDING + pooled[phase.where] + (freed if phase.where == "loss" else 0.0), slope)
            for phase, size, free, slope in zip(phases, fixed, frees, held_slopes, strict=True)
        ]
        tensors = list(zip(fixed, slopes, strict=True))
        run = self.run(strategy)
        hard = bounds.hard(strategy) is not None
        if hard not in factors:
            factors[hard] = bounds.factors(run)
        return Prepared(run, shared, placement, phases, tensors, held, outside, self._limit, *factors[hard])

    def _share(self, kind: tuple[Any, ...], strategy: Strategy) -> _Alike:
        """What the strategies of a `group` have in common, of which this is the first."""
        made = static(self._architecture, key(strategy), self._stack)
        fresh = 0.0
        if strategy.gradient_checkpointing and not self._stack.expandable_segments:
            fresh = blocks.FREED_GRADIENTS
        self._alike[kind] = _Alike(made, fresh, self._places.setdefault(made.states, {}), {})
        return self._alike[kind]

    def _place(self, states: States, strategy: Strategy) -> _Placed:
        sharding, world = strategy.sharding, strategy.world_size
        offloads = strategy.offload_optimizer, strategy.offload_parameters, strategy.pin_memory
        placement = place(states, sharding, world, *offloads, self._architecture.hidden, self._stack)
        idle = max(placement.pool - placement.gathered, 0.0)
        return _Placed(
            placement,
            overhead.context_bytes(self._gpu) + overhead.nccl_bytes(world, self._gpus_per_node) + placement.managed,
            placement.weights + placement.optimizer + placement.buffers + placement.gradients + self._workspace,
            {
                "gather": placement.gathered + placement.fetching,
                "loss": placement.gathered,
                "layers": placement.gathered - placement.released + placement.layer_gradient + placement.reducing,
                "embedding": placement.gathered + placement.last,
                "optimizer": max(placement.gradients, placement.step_gradients) - placement.gradients + placement.step,
            },
            {**dict.fromkeys(("gather", "loss", "layers", "embedding"), idle), "optimizer": placement.pool},
        )


def prepare(run: Run, *, every: bool = False) -> Prepared:
    """A run with its micro-batch left open, with the phases that can be its peak, or with `every` phase."""
    made = Preparer(run.architecture, run.gpu, run.gpus_per_node, run.stack, run.limit_bytes)
    return made.prepare(run.strategy, every=every)
