"""What may be split over GPUs, and what may leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import advise, require
from mfc.rules.words import gib, short
from mfc.strategy import FULLY

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.problem import Hardware, Model, Problem
    from mfc.profile import Profile
    from mfc.strategy import Lora

_ZERO = "ZeRO, arXiv:1910.02054: states are split over data-parallel ranks"
_OFFLOAD = "DeepSpeed config reference, zero_optimization"
_WORTH = 0.05  # share of the budget that an offload has to save
_SLOW_GATHER = 1.0  # seconds per micro-step that are worth a word


@require(_ZERO)
def one_gpu_shards_nothing(
    sharding: str,
    world_size: int,
    offload_optimizer: str,
    offload_parameters: str,
    method: str,
    profile: Profile,
    problem: Problem,
) -> str | None:
    """On one GPU, sharding is chosen only to offload, or where it casts a frozen base to 16 bits."""
    if world_size > 1 or sharding == "ddp" or "sharding" in problem.pins:
        return None
    if profile.stack.frozen_fp32 and method == "lora" and sharding == "zero2":
        return None
    if offload_optimizer != "none" or offload_parameters != "none":
        return None
    return f"one GPU has nobody to share with: {sharding} without offload costs buffers and saves nothing"


@require(_OFFLOAD + ": offload is part of ZeRO; torch FSDP CPUOffload and FSDP2 CPUOffloadPolicy")
def offload_needs_sharding(sharding: str, offload_optimizer: str, offload_parameters: str) -> str | None:
    """Plain data parallel has no offload."""
    if sharding != "ddp" or (offload_optimizer, offload_parameters) == ("none", "none"):
        return None
    return "plain data parallel (ddp) cannot offload; zero1, zero2, zero3, fsdp and fsdp2 can"


@require(_OFFLOAD + ": offload_param is for stage 3, and is ignored below it")
def parameter_offload_needs_stage_3(sharding: str, offload_parameters: str) -> str | None:
    """Weights can be offloaded only where they are split."""
    if offload_parameters == "none" or sharding in FULLY:
        return None
    return f"{sharding} keeps whole weights on every GPU, so an offload of parameters is ignored; zero3 does it"


@require(_OFFLOAD + ": device nvme is for stage 3; below it, it silently means cpu")
def nvme_needs_stage_3(sharding: str, offload_optimizer: str, offload_parameters: str) -> str | None:
    """Offload to NVMe exists in ZeRO-3 only."""
    if "nvme" not in (offload_optimizer, offload_parameters) or sharding == "zero3":
        return None
    return f"NVMe offload is part of ZeRO-3; {sharding} would silently use the host's memory instead"


@require(_OFFLOAD + ": nvme_path")
def nvme_needs_a_folder(hardware: Hardware, offload_optimizer: str, offload_parameters: str) -> str | None:
    """Offload to NVMe needs a folder on a local disk."""
    if "nvme" not in (offload_optimizer, offload_parameters) or hardware.nvme:
        return None
    return "no NVMe folder is named: set hardware.nvme"


@require("host RAM that runs out ends the run with exit code -9 (deepspeedai/DeepSpeed issues 4571 and 4239)")
def offload_needs_known_host_memory(
    hardware: Hardware, offload_optimizer: str, offload_parameters: str, offload_activations: str, problem: Problem
) -> str | None:
    """Nothing is offloaded into host memory of unknown size, unless the spec pins it."""
    chosen = {
        "offload_optimizer": offload_optimizer,
        "offload_parameters": offload_parameters,
        "offload_activations": offload_activations,
    }
    if hardware.host_memory_bytes is not None:
        return None
    if all(value == "none" or name in problem.pins for name, value in chosen.items()):
        return None
    return "the size of host memory is unknown: say hardware.host_memory to allow offload"


@require("activation offload keeps on the host what gradient checkpointing keeps: the inputs of layers")
def activation_offload_needs_checkpointing(offload_activations: str, gradient_checkpointing: bool) -> str | None:
    """Activations are offloaded only where layers are computed again."""
    if offload_activations == "none" or gradient_checkpointing:
        return None
    return "without gradient checkpointing no layer's input waits for the backward pass: there is nothing to offload"


@require("arithmetic: fp32 weights and two moments are 12 bytes per trained number; the price is DeepSpeed's CPU Adam")
def offload_saves_something(
    offload_optimizer: str,
    sharding: str,
    lora: Lora | None,
    architecture: Architecture,
    world_size: int,
    budget_bytes: int,
    problem: Problem,
) -> str | None:
    """The optimizer of small adapters stays on the GPU, unless the spec pins its offload."""
    if offload_optimizer == "none" or lora is None or "offload_optimizer" in problem.pins:
        return None
    from mfc.catalog.parameters import trainable_count

    state = 12 * trainable_count(architecture, "lora", lora=lora) / (world_size if sharding != "ddp" else 1)
    if state >= _WORTH * budget_bytes:
        return None
    return f"the optimizer state of these adapters is {gib(state)} on a GPU: its offload saves next to nothing"


@advise(_ZERO + "; stage 3 gathers weights in forward and backward and reduces gradients")
def stage_3_between_nodes(hardware: Hardware, sharding: str, model: Model) -> str | None:
    """Full sharding over a slow network waits for the weights."""
    if sharding not in FULLY or hardware.inter is None or hardware.nodes == 1:
        return None
    # A node draws the other nodes' share of the weights once a pass, whatever the number of its GPUs.
    share = (hardware.nodes - 1) / hardware.nodes
    seconds = 2 * 2 * model.total_parameters * share / hardware.inter.bytes_per_second
    if seconds < _SLOW_GATHER:
        return None
    return (
        f"each micro-step gathers 2 x 2 bytes x {short(model.total_parameters)} weights; {share:.0%} of it comes from "
        f"other nodes at {hardware.inter.bytes_per_second / 1e9:.3g} GB/s: {seconds:.1f} s if nothing overlaps; a "
        "larger micro_batch gathers less often, stages below 3 not at all"
    )


RULES = (
    one_gpu_shards_nothing,
    offload_needs_sharding,
    parameter_offload_needs_stage_3,
    nvme_needs_stage_3,
    nvme_needs_a_folder,
    offload_needs_known_host_memory,
    activation_offload_needs_checkpointing,
    offload_saves_something,
    stage_3_between_nodes,
)
