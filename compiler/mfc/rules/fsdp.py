"""What torch's FSDP needs: the first, with flat parameters (fsdp), and the second, with DTensors (fsdp2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import require
from mfc.strategy import FSDP

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.profile import Profile
    from mfc.strategy import Lora, Quantization

_FLAT = "torch 2.13 distributed/fsdp/_flat_param.py"


@require(
    "torch.distributed.fsdp CPUOffload, CPUOffloadPolicy: parameters, gradients and optimizer states move together"
)
def offload_moves_everything(sharding: str, offload_optimizer: str, offload_parameters: str) -> str | None:
    """FSDP offloads weights and optimizer together, to the host."""
    if sharding not in FSDP or offload_optimizer == offload_parameters:
        return None
    return (
        "FSDP offloads weights, gradients and optimizer together: offload.optimizer and offload.parameters must be "
        f"alike, not {offload_optimizer} and {offload_parameters}"
    )


@require(
    "bitsandbytes issue 1633: 8-bit state and DTensor end in an illegal memory access; optim/optimizer.py of 0.50: "
    "before it, FSDP cannot gather such states for a checkpoint"
)
def low_bit_optimizers_break(sharding: str, optimizer: str) -> str | None:
    """The optimizers of bitsandbytes do not work on what FSDP splits."""
    if sharding not in FSDP or optimizer not in ("adamw_8bit", "paged_adamw", "paged_adamw_8bit"):
        return None
    split = "DTensors of FSDP2" if sharding == "fsdp2" else "flat parameters of FSDP"
    return f"{optimizer} does not know the {split}; take adamw, or zero2 or zero3"


@require("accelerate issue 3874 and bitsandbytes issue 1945, both open: DTensors lose the class and bits of Params4bit")
def four_bits_are_no_dtensors(sharding: str, quantization: Quantization | None, profile: Profile) -> str | None:
    """Quantised weights do not survive FSDP2, but where the framework teaches it their class."""
    if sharding != "fsdp2" or quantization is None or quantization.kind in profile.stack.quantised_dtensors:
        return None
    return f"FSDP2 makes DTensors of {quantization.kind} weights, which compute garbage then; fsdp and zero2 train them"


@require("torch 2.13 distributed/fsdp/_init_utils.py, _init_core_state: a world of one clamps the strategy to NO_SHARD")
def fsdp_needs_company(sharding: str, world_size: int) -> str | None:
    """On one GPU FSDP goes over to NO_SHARD, which is deprecated."""
    if sharding != "fsdp" or world_size > 1:
        return None
    return "on one GPU FSDP splits nothing and goes over to its deprecated NO_SHARD; zero2 and zero3 can offload there"


@require(_FLAT + ", _validate_tensors_to_flatten: 'Must flatten tensors with uniform dtype'")
def flat_parameters_have_one_type(
    sharding: str, method: str, precision: str, freeze_parts: tuple[str, ...], profile: Profile
) -> str | None:
    """What FSDP flattens together has one type, and so frozen parts beside fp32 ones that train do not fit."""
    if sharding != "fsdp" or method not in ("full", "freeze") or not freeze_parts or precision != "bf16":
        return None
    if not profile.stack.trainable_fp32:
        return None
    return (
        "FSDP flattens embedding, projector and what else is in no layer into one parameter, which would be fp32 where "
        "it trains and 16 bits where it is frozen; zero2 and zero3 keep them apart"
    )


@require("peft 0.18 tuners/lora/dora.py: lora_A.weight.shape is read where FSDP has made a flat share of it")
def dora_reads_whole_matrices(sharding: str, lora: Lora | None) -> str | None:
    """DoRA looks at its matrices while they are split."""
    if sharding != "fsdp" or lora is None or lora.variant != "dora":
        return None
    return "DoRA reads the shape of matrices that FSDP keeps as flat shares; take lora or rslora, or zero3"


@require("peft 0.18 utils/other.py, fsdp_auto_wrap_policy: every matrix of an adapter is gathered on its own")
def adapters_of_experts_hang(
    sharding: str, lora: Lora | None, architecture: Architecture, profile: Profile
) -> str | None:
    """Adapters of experts are gathered only where a token comes by, so ranks wait for each other."""
    if sharding != "fsdp" or lora is None or not architecture.moe or profile.stack.fused_experts:
        return None
    if lora.targets == "attention":
        return None
    return (
        "each expert's adapter is gathered when a token comes to it, and ranks whose tokens go elsewhere would hang: "
        "set train.lora.targets: attention, or take zero2"
    )


@require("peft 0.18 utils/other.py, fsdp_auto_wrap_policy: a head that trains beside adapters is a unit of its own")
def fused_losses_read_the_head(sharding: str, loss: str, lora: Lora | None) -> str | None:
    """A fused loss reads the head's weight itself, which is a flat share where the head is gathered on its own."""
    if sharding != "fsdp" or loss != "fused" or lora is None or "lm_head" not in lora.modules_to_save:
        return None
    return "the fused loss reads the weight of lm_head, of which FSDP shows a share only; take loss plain"


RULES = (
    offload_moves_everything,
    low_bit_optimizers_break,
    four_bits_are_no_dtensors,
    fsdp_needs_company,
    flat_parameters_have_one_type,
    dora_reads_whole_matrices,
    adapters_of_experts_hang,
    fused_losses_read_the_head,
)
