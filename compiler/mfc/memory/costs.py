"""Costs of a prepared run that do not vary with its micro-batch, for the search."""

from __future__ import annotations

from typing import NamedTuple

from mfc.memory import host, overhead
from mfc.memory.loading import loading, saving
from mfc.memory.prepared import Prepared
from mfc.memory.shape import shape
from mfc.runtimes.deepspeed import POWER_OF_TWO_MEAN
from mfc.strategy import FSDP, FULLY


class Between(NamedTuple):
    """What training takes of a GPU while answers are generated: bounds in bytes."""

    idle: float  # between steps, everything on the card
    parked: float  # what is left there when parameters and optimizer states wait on the host
    twice: float  # what a step has twice after they came back
    gathered: float  # at most, of weights on their way to vLLM
    whole: float  # gathered while the trainer itself generates
    host: float  # of host memory, for what is parked


NOTHING = Between(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # of a run that generates nothing


class Costs(NamedTuple):
    """Plan fields of what a run takes, whatever its micro-batch. Bytes of a GPU, or of a node's host memory."""

    host_bytes: int
    save_host_bytes: int
    load_gpu_bytes: int
    load_host_bytes: int
    between: Between


def fixed_costs(prepared: Prepared) -> Costs:
    """What a run takes besides its peak; what it keeps between steps only where it generates answers."""
    kept = host.host_bytes(prepared.placement.host, prepared.run.gpus_per_node)
    load_gpu, load_host = loading(prepared.run, prepared)
    waits = between(prepared) if prepared.run.strategy.rollout else NOTHING
    return Costs(kept, saving(prepared.run, prepared), load_gpu, load_host, waits)


def between(prepared: Prepared) -> Between:
    """What a run holds between its steps, where answers are generated."""
    placement, bound = prepared.placement, prepared.factor
    always = placement.buffers + placement.between + prepared.outside + overhead.workspace_bytes(prepared.run.gpu)
    idle = always + placement.weights + placement.optimizer
    # torch's copies to the host are pinned; the engine's moments go to buffers that its caller makes
    waste = 1.0 if prepared.run.strategy.deepspeed else POWER_OF_TWO_MEAN
    moved = placement.weights + placement.optimizer - placement.stays + placement.twice
    states = min(placement.optimizer, moved)
    return Between(
        idle=idle * bound,
        parked=(always + placement.stays) * bound,
        twice=placement.twice * bound,
        gathered=_gathered(prepared) * bound,
        whole=_whole(prepared) * bound,
        host=(moved - states) * POWER_OF_TWO_MEAN + states * waste,
    )


def _gathered(prepared: Prepared) -> float:
    """Whole weights on their way to vLLM: of everything or of the largest part, and what merging adapters makes."""
    run, states = prepared.run, prepared.static.states
    figure = shape(run.architecture, run.stack.fused_experts)
    adapters = run.strategy.method in ("lora", "qlora")
    delta = 2.0 * states.weight * max(layer.largest_linear for layer in figure.layers) if adapters else 0.0
    if run.strategy.sharding not in FULLY:
        return delta
    hand_over = run.stack.hand_over
    merged = hand_over.merged_by_layer if adapters else None
    by_layer = run.strategy.sharding in (hand_over.by_layer if merged is None else merged)
    tower = 2.0 * (figure.vision + figure.projector)
    part = max(states.layer, states.edges, tower) if by_layer else 2.0 * figure.parameters
    if run.strategy.sharding in FSDP:  # as wide as the shards; merged weights are tensors of their own
        part *= 2 if adapters else states.weight / 2
    return part + delta


def _whole(prepared: Prepared) -> float:
    """What stays gathered while the trainer's own model generates."""
    run, states = prepared.run, prepared.static.states
    if run.strategy.sharding == "zero3":
        return 2.0 * states.total
    return prepared.placement.gathered
