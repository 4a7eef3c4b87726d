"""What mfc needs to know of a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """How GPUs talk. `bytes_per_second` is per GPU and per direction."""

    kind: str  # pcie3, pcie4, pcie5, nvlink, xgmi, ethernet, infiniband
    bytes_per_second: float


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU model; the facts are rows of gpus.yaml, each with its source."""

    name: str
    vendor: str  # nvidia, amd
    generation: str  # pascal, volta, turing, ampere, ada, hopper, blackwell, cdna2, cdna3
    capability: tuple[int, int]  # CUDA compute capability; (0, 0) for other vendors
    memory_bytes: int  # total as the driver reports it
    bf16: bool  # tensor cores work in it
    fp16: bool
    fp8: bool
    flash_attention: bool  # FlashAttention-2 has kernels for it
    tflops: Mapping[str, float]  # dense peak by precision: fp32, tf32, fp16, bf16, fp8
    memory_bandwidth: float  # bytes per second
    link: Link  # to the other GPUs of the node, as usually sold
    host_link: Link  # to the host
    source: str
    aliases: tuple[str, ...] = ()
