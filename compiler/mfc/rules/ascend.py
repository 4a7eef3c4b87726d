"""What there is not on Huawei's Ascend NPUs. Their own names of variables are in `mfc.target.launch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import advise, require

if TYPE_CHECKING:
    from mfc.catalog.gpu import Gpu
    from mfc.strategy import Quantization

_GUIDE = "guides to NPUs of frameworks that run there (November 2026): no quantised bases, no Liger-Kernel"
_LOW_BIT = ("adamw_8bit", "paged_adamw", "paged_adamw_8bit")


@require(_GUIDE + "; bitsandbytes pull request 1422 has nf4 in plain PyTorch, in a branch that is built from source")
def npus_quantise_no_bases(gpu: Gpu, quantization: Quantization | None) -> str | None:
    """Bases stay in 16 bits on Ascend NPUs."""
    if gpu.vendor != "huawei" or quantization is None:
        return None
    return f"there are no kernels of {quantization.kind} for {gpu.name}: use method lora, and ZeRO-3 to split more"


@require("bitsandbytes installation guide: 8-bit and paged optimizers are written for CUDA")
def npus_have_no_low_bit_optimizer(gpu: Gpu, optimizer: str) -> str | None:
    """Optimizers keep their states in 32 bits, in memory of the device, on Ascend NPUs."""
    if gpu.vendor != "huawei" or optimizer not in _LOW_BIT:
        return None
    return f"bitsandbytes has no {optimizer} for {gpu.name}: use adamw, or ZeRO with strategy.offload.optimizer: cpu"


@require(_GUIDE)
def npus_make_whole_logits(gpu: Gpu, loss: str) -> str | None:
    """The loss is taken from whole logits on Ascend NPUs."""
    if gpu.vendor != "huawei" or loss != "fused":
        return None
    return f"Liger's fused loss is not supported on {gpu.name}: strategy.loss plain, and smaller micro-batches"


@advise("no run on an Ascend NPU is among the measurements that mfc is held to")
def npus_were_not_measured(gpu: Gpu) -> str | None:
    """Memory and time on Ascend NPUs are assumed to be as on GPUs."""
    if gpu.vendor != "huawei":
        return None
    return (
        f"memory and time on {gpu.name} are assumed to be as on a GPU with its figures: no run there was measured; "
        "keep room, and tell what you see by mfc calibrate"
    )


RULES = (npus_quantise_no_bases, npus_have_no_low_bit_optimizer, npus_make_whole_logits, npus_were_not_measured)
