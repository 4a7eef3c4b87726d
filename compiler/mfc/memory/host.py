"""Host memory per node: offloaded states, processes, and the peak while the model loads."""

from __future__ import annotations

GIB = 1 << 30

# Interpreter, libraries, CUDA's host side and a data loader. An assumption: 2 to 4 GB are usual.
PROCESS = 3 * GIB
SHARD = 5 * GIB  # a checkpoint file as the Hub usually cuts them


def host_bytes(offloaded_per_gpu: float, gpus_per_node: int) -> int:
    """Bytes of host memory that a node needs while training; page cache not counted."""
    return int(gpus_per_node * (PROCESS + offloaded_per_gpu))


def loading_bytes(parameters: float, gpus_per_node: int, *, one_copy: bool, bytes_each: float) -> int:
    """Bytes of host memory at the loading peak of one node.

    `one_copy`: only one rank of the node reads real values (zero.Init, FSDP with cpu_ram_efficient_loading); otherwise
    each process loads the whole model.
    """
    copies = 1 if one_copy else gpus_per_node
    return int(gpus_per_node * PROCESS + copies * parameters * bytes_each)
