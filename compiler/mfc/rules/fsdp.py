"""What torch's FSDP2 needs."""

from __future__ import annotations

from mfc.rules.engine import require


@require("torch.distributed.fsdp CPUOffloadPolicy: parameters, gradients and optimizer states move together")
def offload_moves_everything(sharding: str, offload_optimizer: str, offload_parameters: str) -> str | None:
    """FSDP2 offloads weights and optimizer together, to the host."""
    if sharding != "fsdp2" or offload_optimizer == offload_parameters:
        return None
    return (
        "FSDP2 offloads weights, gradients and optimizer together: offload.optimizer and offload.parameters must be "
        f"alike, not {offload_optimizer} and {offload_parameters}"
    )


@require("bitsandbytes issue 1633: 8-bit state and DTensor end in an illegal memory access")
def low_bit_optimizers_break(sharding: str, optimizer: str) -> str | None:
    """The optimizers of bitsandbytes do not work on FSDP2's distributed tensors."""
    if sharding != "fsdp2" or optimizer not in ("adamw_8bit", "paged_adamw", "paged_adamw_8bit"):
        return None
    return f"{optimizer} does not know the DTensors of FSDP2; take adamw, or zero2 or zero3"


RULES = (offload_moves_everything, low_bit_optimizers_break)
