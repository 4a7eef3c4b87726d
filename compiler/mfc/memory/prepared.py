"""A run with its micro-batch left open: phases joined with where states lie, each moment affine in the micro-batch."""

from __future__ import annotations

import math
from typing import NamedTuple

from mfc.memory import blocks, bounds, overhead
from mfc.memory.model import Run
from mfc.memory.phases import Phase
from mfc.memory.placing import place
from mfc.memory.static import Static, key, static
from mfc.runtimes.placement import Placement

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


def prepare(run: Run, *, every: bool = False) -> Prepared:
    """A run with its micro-batch left open, with the phases that can be its peak, or with `every` phase."""
    strategy, stack = run.strategy, run.stack
    shared = static(run.architecture, key(strategy), stack)
    states = shared.states
    world = strategy.world_size
    placement = place(
        states,
        strategy.sharding,
        world,
        strategy.offload_optimizer,
        strategy.offload_parameters,
        strategy.pin_memory,
        run.architecture.hidden,
        stack,
    )
    outside = overhead.context_bytes(run.gpu) + overhead.nccl_bytes(world, run.gpus_per_node) + placement.managed
    workspace = overhead.workspace_bytes(run.gpu)
    resident = placement.weights + placement.optimizer + placement.buffers + placement.gradients + workspace
    beside = {
        "gather": placement.gathered + placement.fetching,
        "loss": placement.gathered,
        "layers": placement.gathered + placement.layer_gradient + placement.reducing,
        "embedding": placement.gathered + placement.last,
        "optimizer": max(placement.gradients, placement.step_gradients) - placement.gradients + placement.step,
    }
    chosen = shared.step.every if every else shared.step.peaks
    done, live = placement.done, placement.live
    fixed = [
        resident + done * phase.done + live * phase.live + phase.scratch + beside[phase.where]
        for phase in chosen.phases
    ]
    freed = 0.0
    if strategy.gradient_checkpointing and not stack.expandable_segments and not placement.gradients:
        freed = blocks.FREED_GRADIENTS * placement.done * states.trained
    idle = max(placement.pool - placement.gathered, 0.0)  # of the pool that the moment counts as gathered
    reserved = [
        at
        + free
        + overhead.ROUNDING
        + (placement.pool if phase.where == "optimizer" else idle)
        + (freed if phase.where == "loss" else 0.0)
        for phase, at, free in zip(chosen.phases, fixed, chosen.free, strict=True)
    ]
    tensors = list(zip(fixed, chosen.slopes, strict=True))
    held = list(zip(reserved, chosen.reserved_slopes, strict=True))
    card = run.gpu.memory_bytes if run.gpu is not None else math.inf
    limit = run.limit_bytes or RECLAIMED * card
    return Prepared(run, shared, placement, chosen.phases, tensors, held, outside, limit, *bounds.factors(run))
