"""What a launch sets in its environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import Value, advise, derive

if TYPE_CHECKING:
    from mfc.catalog.gpu import Gpu

_EXPANDABLE = "expandable_segments:True"
_HOURS = 3


@derive(
    "allocator",
    "PyTorch CUDA semantics, PYTORCH_CUDA_ALLOC_CONF; Ascend Extension for PyTorch, PYTORCH_NPU_ALLOC_CONF; "
    "vLLM pull request 14189 on sleep mode",
)
def allocator(gpu: Gpu, rollout_mode: str | None) -> Value:
    """On NVIDIA GPUs and Ascend NPUs memory segments may grow, unless a colocated vLLM with its own pool forbids it."""
    if rollout_mode == "colocate":
        return Value("", "vLLM's sleep mode has a memory pool that older versions refuse to mix with growing segments")
    if gpu.vendor not in ("nvidia", "huawei"):
        return Value("", "growing segments are a feature of CUDA, and of CANN")
    return Value(_EXPANDABLE, "segments that grow leave less memory in unusable gaps when lengths vary")


@derive(
    "timeout_seconds", "torch.distributed.init_process_group: 600 s for NCCL; ranks wait while one prepares the data"
)
def timeout_seconds(world_size: int) -> Value:
    """Other ranks wait up to three hours while the first prepares data or saves."""
    if world_size == 1:
        return Value(1800, "one process has nobody to wait for: the usual half hour")
    others = "the other rank waits" if world_size == 2 else f"{world_size - 1} ranks wait"
    return Value(_HOURS * 3600, f"{others} while the first prepares the data: {_HOURS} hours")


@advise("accelerate utils/environment.py check_cuda_p2p_ib_support: drivers before 550.40.07")
def rtx_40_has_no_p2p(gpu: Gpu, world_size: int) -> str | None:
    """RTX 40 cards with old drivers need NCCL's peer-to-peer turned off."""
    if world_size == 1 or "RTX 40" not in gpu.name:
        return None
    return (
        f"{gpu.name} has no peer-to-peer transfer: with a driver before 550.40.07, set NCCL_P2P_DISABLE=1 and "
        "NCCL_IB_DISABLE=1, or the launch is refused"
    )


RULES = (allocator, timeout_seconds, rtx_40_has_no_p2p)
