"""What a process holds beside its tensors: CUDA context, NCCL, cuBLAS workspaces, blocks the allocator cannot reuse."""

from __future__ import annotations

from mfc.catalog.gpu import Gpu

MIB = 1 << 20

# CUDA context with the kernels that a training process loads. General experience, not measured here: an assumption.
CONTEXT = {"pascal": 300, "volta": 350, "turing": 350, "ampere": 420, "ada": 420, "hopper": 520, "blackwell": 560}
CONTEXT_DEFAULT = 450

# Communicators: a base and a share per rank of the node. An assumption, as above.
NCCL_BASE = 200
NCCL_PER_RANK = 50

# cuBLAS keeps one workspace per handle and stream; the forward and the backward thread have one each (torch source).
WORKSPACE = 8_519_680
WORKSPACE_HOPPER = 32 * MIB


def workspace_bytes(gpu: Gpu | None) -> int:
    """Bytes of cuBLAS workspaces inside torch's allocator."""
    return 2 * (WORKSPACE_HOPPER if gpu is not None and gpu.capability[0] >= 9 else WORKSPACE)


def context_bytes(gpu: Gpu | None) -> int:
    """Bytes of the CUDA context, outside torch's counters."""
    return (CONTEXT.get(gpu.generation, CONTEXT_DEFAULT) if gpu is not None else CONTEXT_DEFAULT) * MIB


def nccl_bytes(world_size: int, gpus_per_node: int) -> int:
    """Bytes of communicators, outside torch's counters; none on a single GPU."""
    if world_size == 1:
        return 0
    return (NCCL_BASE + NCCL_PER_RANK * min(world_size, gpus_per_node)) * MIB


# Rounding of requests and half-used segments of small blocks.
ROUNDING = 64 * MIB
