"""What goes into a memory prediction and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.catalog.gpu import Gpu
from mfc.memory.stack import Stack
from mfc.strategy import Strategy

Confidence = Literal["calibrated", "extrapolated", "unmodelled"]


class Run(NamedTuple):
    """One training run, as far as memory depends on it. `gpu` None = unknown, a usual context is assumed.

    `limit_bytes` is the most that the process may hold: free blocks beyond it are given back. 0 = nearly all of the
    card.
    """

    architecture: Architecture
    strategy: Strategy
    gpu: Gpu | None
    gpus_per_node: int
    stack: Stack
    limit_bytes: int = 0


class Memory(NamedTuple):
    """A prediction. Bytes per GPU, unless the name says node.

    `allocated_bytes` is what torch.cuda.max_memory_allocated would return, `process_bytes` what nvidia-smi shows.
    `upper_bytes` bounds what tensors need of it, `held_bytes` what the allocator would make of it on an endless card:
    what is beyond the card it gives back. `components` are those of the peak and sum to `process_bytes`; `moments` are
    process bytes at each moment of the step. `load_gpu_bytes` and `load_host_bytes` are peaks before the first step,
    `save_host_bytes` is the one while a checkpoint is written, what training keeps included.
    """

    allocated_bytes: int
    process_bytes: int
    upper_bytes: int
    held_bytes: int
    moment: str
    components: Mapping[str, int]
    moments: Mapping[str, int]
    host_bytes_per_node: int
    save_host_bytes: int
    load_gpu_bytes: int
    load_host_bytes: int
    uncertainty: tuple[str, ...]
    confidence: Confidence
    reasons: tuple[str, ...]
