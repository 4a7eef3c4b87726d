"""The prediction itself: phases joined with where states lie, each moment affine in the micro-batch."""

from __future__ import annotations

import math
from typing import NamedTuple

from mfc.memory import bounds, host, overhead
from mfc.memory.model import Confidence, Memory, Run
from mfc.memory.phases import Phase
from mfc.memory.placing import place
from mfc.memory.rollout import trained_models
from mfc.memory.static import Static, key, static
from mfc.runtimes.placement import Placement

RECLAIMED = 0.96  # share of the card at which the allocator is taken to give free blocks back
FILLED = 0.99  # and the most it was seen to hold: 79.2 of 80 GiB (docs/memory-model.md, "The bound")
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
    ceiling: float  # and can at most fill this
    factor: float  # bound over prediction, for what tensors need
    held_factor: float  # and for what the allocator holds

    def allocated(self, micro_batch: int) -> float:
        """Peak bytes in tensors."""
        return max([fixed + slope * micro_batch for fixed, slope in self.tensors])

    def reserved(self, micro_batch: int) -> list[float]:
        """Bytes that the allocator would hold at each phase if memory were no object."""
        return [fixed + slope * micro_batch for fixed, slope in self.blocks]

    def process(self, micro_batch: int) -> float:
        """Peak bytes of the process."""
        needed = self.allocated(micro_batch) + overhead.ROUNDING + self.outside
        return max(needed, min(max(self.reserved(micro_batch)) + self.outside, self.limit))

    def upper(self, micro_batch: int) -> float:
        """The bound on the peak bytes of the process."""
        return self.at(micro_batch)[1]

    def at(self, micro_batch: int) -> tuple[float, float]:
        """(process bytes, upper bytes)."""
        needed = self.allocated(micro_batch) + overhead.ROUNDING + self.outside
        held = max(self.reserved(micro_batch)) + self.outside
        upper = max(needed * self.factor, min(held * self.held_factor, self.ceiling))
        return max(needed, min(held, self.limit)), upper

    def largest_micro_batch(self, budget_bytes: float) -> int:
        """The largest micro-batch whose bound stays within the budget; 0 if not even one does.

        With a budget below `limit` free blocks count as well, with one above it only what tensors need.
        """
        by_need = budget_bytes >= self.limit
        if by_need:
            room = budget_bytes / self.factor - self.outside - overhead.ROUNDING
        else:
            room = budget_bytes / self.held_factor - self.outside
        least = UNBOUNDED
        for fixed, slope in self.tensors if by_need else self.blocks:
            if slope:
                least = min(least, (room - fixed) / slope)
            elif fixed > room:
                return 0
        return max(0, int(least + 1e-9))


def prepare(run: Run, *, every: bool = False) -> Prepared:
    """What the micro-batch does not change of a run; of its phases, those that can be the peak or `every` one."""
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
        run.architecture.hidden,
        stack,
    )
    outside = overhead.context_bytes(run.gpu) + overhead.nccl_bytes(world, run.gpus_per_node) + placement.managed
    workspace = overhead.workspace_bytes(run.gpu)
    resident = placement.weights + placement.optimizer + placement.buffers + placement.gradients + workspace
    beside = {
        "loss": placement.gathered,
        "layers": placement.gathered + placement.layer_gradient,
        "embedding": placement.gathered,
        "optimizer": max(placement.gradients, placement.step_gradients) - placement.gradients + placement.step,
    }
    chosen = shared.step.every if every else shared.step.peaks
    done, live = placement.done, placement.live
    fixed = [
        resident + done * phase.done + live * phase.live + phase.scratch + beside[phase.where]
        for phase in chosen.phases
    ]
    reserved = [at + free + overhead.ROUNDING for at, free in zip(fixed, chosen.free, strict=True)]
    tensors = list(zip(fixed, chosen.slopes, strict=True))
    blocks = list(zip(reserved, chosen.reserved_slopes, strict=True))
    card = run.gpu.memory_bytes if run.gpu is not None else math.inf
    limit, ceiling = run.limit_bytes or RECLAIMED * card, run.limit_bytes or FILLED * card
    return Prepared(run, shared, placement, chosen.phases, tensors, blocks, outside, limit, ceiling, *_factors(run))


def predict(run: Run) -> Memory:
    """Memory of a run at its own micro-batch."""
    prepared = prepare(run, every=True)
    batch = run.strategy.micro_batch
    reserved = prepared.reserved(batch)
    index = reserved.index(max(reserved))
    process, upper = prepared.at(batch)
    held = min(reserved[index] + prepared.outside, max(process, prepared.limit))
    if held < process:  # the allocator gave blocks back: the moment that needs most tensors decides
        at = [fixed + slope * batch for fixed, slope in prepared.tensors]
        index = at.index(max(at))
    components = _components(prepared, index)
    components["context"] = int(prepared.outside)
    components["fragmentation"] = max(0, int(process) - sum(components.values()))
    phases = prepared.phases
    load_gpu, load_host = loading(run, prepared)
    confidence, reasons = _confidence(run)
    return Memory(
        allocated_bytes=int(prepared.allocated(batch)),
        process_bytes=sum(components.values()),
        upper_bytes=int(upper),
        moment=phases[index].name,
        components=components,
        moments={p.name: int(min(r + prepared.outside, process)) for p, r in zip(phases, reserved, strict=True)},
        host_bytes_per_node=host.host_bytes(prepared.placement.host, run.gpus_per_node),
        load_gpu_bytes=load_gpu,
        load_host_bytes=load_host,
        uncertainty=_uncertainty(run, prepared.static),
        confidence=confidence,
        reasons=reasons,
    )


def _components(prepared: Prepared, index: int) -> dict[str, int]:
    """Bytes inside the allocator at one moment, by what they are; empty ones left out."""
    run, placement, static = prepared.run, prepared.placement, prepared.static
    phase = prepared.phases[index]
    parts = {
        "optimizer": placement.optimizer,
        "buffers": placement.buffers,
        "workspace": overhead.workspace_bytes(run.gpu),
    }
    adapters = (placement.weights - static.states.scales) * static.adapter_share
    parts |= {"weights": placement.weights - adapters, "adapters": adapters}
    if phase.where == "optimizer":
        parts["gradients"] = max(placement.gradients, placement.step_gradients)
        parts["optimizer step"] = placement.step
    else:
        sequences = run.strategy.sequences
        parts["gradients"] = placement.gradients + placement.done * phase.done + placement.live * phase.live
        parts["gathered"] = placement.gathered + (placement.layer_gradient if phase.where == "layers" else 0.0)
        parts["scratch"] = phase.scratch
        parts["activations"] = sequences * trained_models(run.strategy) * phase.activations
        parts["logits"] = sequences * phase.logits
    return {name: int(value) for name, value in parts.items() if value >= 1}


def loading(run: Run, prepared: Prepared) -> tuple[int, int]:
    """(GPU bytes, host bytes per node) at the peak before the first step."""
    strategy, states = run.strategy, prepared.static.states
    full = states.base + states.trained * states.weight
    sharded = strategy.zero_stage == 3
    world = strategy.world_size
    zero3 = strategy.sharding == "zero3"
    if sharded and not (zero3 and prepared.static.quantised):
        shard = full / world if strategy.offload_parameters == "none" else 0.0
        device = shard + states.scales + states.layer + states.edges  # sharded while it is read
    else:
        device = full + states.scales
    if strategy.deepspeed and not sharded and run.stack.trainable_fp32 and strategy.method == "full":
        device = states.base + 4.0 * states.trained  # upcast before the engine casts it back
    total = states.total * 2
    if sharded:
        host_bytes = host.loading_bytes(states.total, run.gpus_per_node, one_copy=True, bytes_each=2)
    elif run.stack.loads_on_host and not prepared.static.quantised:
        each = 4 if run.stack.frozen_fp32 and strategy.method in ("lora", "qlora") else 2
        host_bytes = host.loading_bytes(states.total, run.gpus_per_node, one_copy=False, bytes_each=each)
    else:  # safetensors are mapped, tensor by tensor, to the GPU: one file's pages at a time
        host_bytes = host.loading_bytes(0, run.gpus_per_node, one_copy=True, bytes_each=0) + int(min(total, host.SHARD))
    return int(device + prepared.outside), host_bytes


def _factors(run: Run) -> tuple[float, float]:
    """(bound over prediction for what tensors need, the same for what the allocator holds)."""
    unknown = 1.0 if run.stack.known else bounds.UNKNOWN
    kind = bounds.hard(run.strategy, varies=False)
    needed = bounds.NEEDED[kind]
    if run.stack.expandable_segments:  # hardly any free blocks to be wrong about
        held = needed
    else:
        held = max(bounds.HELD[kind], bounds.HELD["varies"]) if _varies(run) else bounds.HELD[kind]
    return needed * unknown, held * unknown


def _varies(run: Run) -> bool:
    return not run.strategy.packing and not run.stack.expandable_segments


_WHY = {
    "plain": "allocator, libraries and CUDA context",
    "sharded": "several GPUs: communication buffers and gathered weights",
    "quantised": "quantised weights: kernels and scratch differ by library version",
}


def _uncertainty(run: Run, static: Static) -> tuple[str, ...]:
    made = [_WHY[bounds.hard(run.strategy, varies=False)]]
    if static.states.total < bounds.SMALL_MODEL:
        made.append("small model: a few large blocks decide, and they fragment")
    if not run.stack.known:
        made.append("this framework was never checked against measurements")
    if _varies(run):
        made.append("batches vary in length: the allocator keeps blocks of every length until memory runs short")
    return tuple(made)


def _confidence(run: Run) -> tuple[Confidence, tuple[str, ...]]:
    architecture, strategy = run.architecture, run.strategy
    unmodelled = []
    if strategy.optimizer == "muon":
        unmodelled.append(f"{strategy.optimizer} is counted as adamw")
    if unmodelled:
        return "unmodelled", tuple(unmodelled)
    reasons = []
    if not run.stack.known:
        reasons.append("the framework's own use of memory was not measured")
    if architecture.vision is not None:
        reasons.append("vision towers were not measured")
    if any(block.attention.kind == "linear" for _, block in architecture.blocks):
        reasons.append("linear attention was not measured")
    if strategy.sequence_parallel > 1:
        reasons.append("sequence parallelism was not measured")
    if strategy.offload_optimizer != "none" or strategy.offload_parameters != "none":
        reasons.append("offload was measured on small models only")
    return ("extrapolated", tuple(reasons)) if reasons else ("calibrated", ())
