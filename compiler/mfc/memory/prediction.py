"""The prediction itself: the peak of a run, what it consists of, and how far to trust it."""

from __future__ import annotations

from mfc.memory import bounds, host, overhead
from mfc.memory.loading import loading, saving
from mfc.memory.model import Confidence, Memory, Run
from mfc.memory.prepared import Prepared, prepare
from mfc.memory.static import Static


def predict(run: Run) -> Memory:
    """Memory of a run at its own micro-batch."""
    prepared = prepare(run, every=True)
    batch = run.strategy.micro_batch
    reserved = prepared.reserved(batch)
    index = reserved.index(max(reserved))
    process = prepared.process(batch)
    held = min(reserved[index] + prepared.outside, max(process, prepared.limit))
    if held < process:  # the allocator gave blocks back: the moment that needs most tensors decides
        at = [fixed + slope * batch for fixed, slope in prepared.tensors]
        index = at.index(max(at))
    components = _components(prepared, index)
    components["context"] = int(prepared.outside)
    components["fragmentation"] = max(0, int(process) - sum(components.values()))
    phases = prepared.phases
    load_gpu, load_host = loading(run, prepared)
    training = host.host_bytes(prepared.placement.host, run.gpus_per_node) + prepared.waiting(batch)
    confidence, reasons = _confidence(run)
    return Memory(
        allocated_bytes=int(prepared.allocated(batch)),
        process_bytes=sum(components.values()),
        upper_bytes=int(prepared.upper(batch)),
        held_bytes=int(prepared.held(batch)),
        moment=phases[index].name,
        components=components,
        moments={p.name: int(min(r + prepared.outside, process)) for p, r in zip(phases, reserved, strict=True)},
        host_bytes_per_node=training,
        save_host_bytes=max(training, saving(run, prepared)),
        load_gpu_bytes=load_gpu,
        load_host_bytes=load_host,
        uncertainty=_uncertainty(run, prepared.static),
        confidence=confidence,
        reasons=reasons,
    )


def parts(run: Run) -> dict[str, dict[str, int]]:
    """Bytes by kind at each moment of a step, in its order: what tensors take, and the CUDA context.

    What `Memory.moments` says beyond them are free blocks that the allocator keeps.
    """
    prepared = prepare(run, every=True)
    context = {"context": int(prepared.outside)}
    return {phase.name: _components(prepared, at) | context for at, phase in enumerate(prepared.phases)}


def _components(prepared: Prepared, index: int) -> dict[str, int]:
    """Bytes inside the allocator at one moment, by kind; kinds of less than one byte are left out."""
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
        sent = placement.sending if phase.live else 0.0
        parts["gradients"] += {"layers": placement.reducing + sent, "embedding": placement.last}.get(phase.where, 0.0)
        layers = placement.layer_gradient - placement.released if phase.where == "layers" else 0.0
        parts["gathered"] = placement.gathered + layers
        parts["gathered"] += placement.fetching if phase.where == "gather" else 0.0
        parts["scratch"] = phase.scratch
        parts["activations"] = sequences * static.models * phase.activations
        parts["logits"] = sequences * phase.logits
    return {name: int(value) for name, value in parts.items() if value >= 1}


_WHY = {
    "plain": "allocator, libraries and CUDA context",
    "sharded": "several GPUs: communication buffers and gathered weights",
    "quantised": "quantised weights: kernels and scratch differ by library version",
}


def _uncertainty(run: Run, static: Static) -> tuple[str, ...]:
    made = [_WHY[bounds.hard(run.strategy) or "plain"]]
    if static.states.total < bounds.SMALL_MODEL:
        made.append("small model: a few large blocks decide, and they fragment")
    if not run.stack.known:
        made.append("this framework was never checked against measurements")
    if bounds.varies(run):
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
        reasons.append("offload was counted in the engine, and measured in few runs")
    return ("extrapolated", tuple(reasons)) if reasons else ("calibrated", ())
