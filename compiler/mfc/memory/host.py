"""Host memory per node while training: offloaded states and processes."""

from __future__ import annotations

GIB = 1 << 30

# Interpreter, libraries, CUDA's host side and a data loader. An assumption: 2 to 4 GB are usual.
PROCESS = 3 * GIB


def host_bytes(offloaded_per_gpu: float, gpus_per_node: int) -> int:
    """Bytes of host memory that a node needs while training; page cache not counted."""
    return int(gpus_per_node * (PROCESS + offloaded_per_gpu))
