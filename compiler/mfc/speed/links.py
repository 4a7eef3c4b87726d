"""Time on the links: collectives between GPUs, states offloaded to the host, and the optimizer's own step."""

from __future__ import annotations

from typing import NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.catalog.gpu import Gpu, Link
from mfc.catalog.parameters import count
from mfc.memory.formats import Formats
from mfc.memory.stack import Stack
from mfc.speed import constants as c
from mfc.strategy import Strategy


class Machines(NamedTuple):
    """The hardware of one run, as far as time goes."""

    gpu: Gpu
    gpus_per_node: int = 1
    nodes: int = 1
    intra: Link | None = None  # between the GPUs of a node; None = the GPU's own
    inter: Link | None = None  # one node to the others, in all; needed for nodes > 1


class Links(NamedTuple):
    """Time on the links, by when it is spent."""

    communication: float  # seconds per micro-batch
    paging: float  # seconds per micro-batch
    gradients: float  # seconds per step that backward does not hide


def links(architecture: Architecture, strategy: Strategy, machines: Machines, trained: float) -> Links:
    """What the collectives of the sharding stage take, and offloaded weights on their way to the GPU."""
    ranks, stage = strategy.world_size, strategy.zero_stage
    width = 4.0 if strategy.precision == "fp32" else 2.0
    gradients = _collective(machines, ranks, trained * width)
    paging = 0.0
    if _pages_gradients(strategy):
        paging = 2 * trained / ranks * width / _host_rate(machines, strategy.pin_memory)
    if stage == 0:  # all-reduce = reduce-scatter and all-gather, in the last micro-batch only
        return Links(0.0, paging, 2 * gradients * (1 - c.OVERLAP))
    if stage == 1:  # reduce-scatter in the last micro-batch, all-gather of the updated weights after it
        return Links(0.0, paging, gradients * (2 - c.OVERLAP))
    if stage == 2:  # reduce-scatter in every micro-batch
        return Links(gradients, paging, gradients)
    weights = count(architecture).total * (strategy.quantization.bits / 8 if strategy.quantization else width)
    if strategy.offload_parameters != "none":
        paging += 2 * weights / ranks / _states_rate(machines, strategy, strategy.offload_parameters)
    return Links(2 * _collective(machines, ranks, weights) + gradients, paging, 0.0)


def activation_seconds(architecture: Architecture, strategy: Strategy, machines: Machines, formats: Formats) -> float:
    """Seconds per token: the inputs of all layers, to new memory that is not pinned and back. Nothing hides it."""
    if strategy.offload_activations == "none":
        return 0.0
    size = 2.0 * architecture.layers * architecture.hidden * formats.stream
    return size / (machines.gpu.host_link.bytes_per_second * c.HOST_LINK * c.FRESH)


def _pages_gradients(strategy: Strategy) -> bool:
    """Whether gradients of an offloaded optimizer gather on the host: fetched, added to and put back every time.

    deepspeed 0.19.8: stage 3 does so always (stage3.py, `partition_grads`), stage 2 where gradients accumulate
    (stage_1_and_2.py, `async_accumulate_grad_in_cpu_via_gpu`), which is not known here.
    """
    return strategy.offload_optimizer != "none" and strategy.zero_stage >= 2


def step_seconds(
    strategy: Strategy, machines: Machines, formats: Formats, stack: Stack, trained: float, stream: float
) -> dict[str, float]:
    """The optimizer's step on the GPU or on the host, by part."""
    share = trained / (strategy.world_size if strategy.zero_stage else 1)
    if strategy.offload_optimizer == "none":
        svd = share * c.SVD_SECONDS / c.SVD_STEPS if strategy.optimizer == "galore" else 0.0
        return {"optimizer": share * _optimizer_bytes(strategy, formats, stack) / stream + svd}
    node = share * machines.gpus_per_node
    seconds = _handing_over(strategy, machines, share) + node * _host_bytes(strategy, formats) / c.HOST_BANDWIDTH
    if strategy.offload_optimizer == "nvme":
        seconds += node * c.CPU_ADAM_BYTES / c.NVME_BANDWIDTH
    return {"offload": seconds}


def _handing_over(strategy: Strategy, machines: Machines, share: float) -> float:
    """Seconds of a step in which gradients go down to the optimizer and updated weights come back, where both do.

    DeepSpeed's gradients go down in fp32, and at stage 3 weights come back from a cast that nobody pinned.
    """
    if not strategy.deepspeed:  # gradients went with the backward pass, weights are fetched by the next forward pass
        return 0.0
    seconds = 4 * share / _host_rate(machines, strategy.pin_memory)
    if strategy.offload_parameters == "none":
        pinned = strategy.pin_memory and strategy.zero_stage < 3
        seconds += (4 if strategy.precision == "fp32" else 2) * share / _host_rate(machines, pinned)
    return seconds


def _host_bytes(strategy: Strategy, formats: Formats) -> float:
    """Bytes of host memory that one step moves per trained number."""
    if strategy.deepspeed:
        return c.CPU_STEP_BYTES
    return (c.CLIP_ACCESSES + 1) * formats.gradient + 2 * formats.trained + 2 * 2 * formats.state


def _optimizer_bytes(strategy: Strategy, formats: Formats, stack: Stack) -> float:
    """Bytes that clipping and one update move per trained number."""
    clip = c.CLIP_ACCESSES * formats.gradient
    weight = 2 * (formats.master or formats.trained) + (formats.trained if formats.master else 0)
    if strategy.optimizer in c.STATE_BYTES:
        return clip + formats.gradient + weight + 2 * c.STATE_BYTES[strategy.optimizer]
    if stack.optimizer_foreach and strategy.optimizer == "adamw" and not strategy.deepspeed:
        return clip + c.FOREACH_ACCESSES * formats.trained
    return clip + formats.gradient + weight + 2 * 2 * formats.state


def _collective(machines: Machines, ranks: int, size: float) -> float:
    """Seconds of one all-gather or reduce-scatter of `size` bytes: a ring, its slowest link decides."""
    if ranks <= 1:
        return 0.0
    slowest = _link_rate(machines.intra or machines.gpu.link) if machines.gpus_per_node > 1 else float("inf")
    if machines.nodes > 1 and machines.inter:
        slowest = min(slowest, _link_rate(machines.inter))
    return size * (ranks - 1) / ranks / slowest


def _link_rate(link: Link) -> float:
    return link.bytes_per_second * c.LINK.get(link.kind, c.OTHER_LINK)


def _host_rate(machines: Machines, pinned: bool) -> float:
    """Bytes per second between one GPU and the host's memory."""
    return machines.gpu.host_link.bytes_per_second * c.HOST_LINK * (1.0 if pinned else c.PAGEABLE)


def _states_rate(machines: Machines, strategy: Strategy, where: str) -> float:
    """Bytes per second between one GPU and where its states lie."""
    rate = _host_rate(machines, strategy.pin_memory)
    return min(rate, c.NVME_BANDWIDTH / machines.gpus_per_node) if where == "nvme" else rate
