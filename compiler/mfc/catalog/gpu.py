"""What mfc needs to know of a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# What the driver keeps for itself and no program can allocate, where no figure is known. Cards whose CUDA total was
# reported keep 230 to 870 MiB, more on larger ones; this line lies above most of them.
RESERVED_BYTES = 300 << 20
RESERVED_SHARE = 0.006


class Link(NamedTuple):
    """How GPUs talk. `bytes_per_second` is nominal, per GPU and per direction."""

    kind: str  # pcie3, pcie4, pcie5, nvlink, xgmi, hccs, ethernet, infiniband
    bytes_per_second: float


class Gpu(NamedTuple):
    """One GPU model; the facts are rows of gpus.yaml, each with its source."""

    name: str
    vendor: str  # nvidia, amd, huawei
    generation: str  # pascal, volta, turing, ampere, ada, hopper, blackwell, cdna1 to cdna4, ascend910b, ascend910c
    capability: tuple[int, int]  # CUDA compute capability; (0, 0) for other vendors
    memory_bytes: int  # total as the driver reports it
    bf16: bool  # tensor cores work in it
    fp16: bool  # faster than fp32; without it, fp16 saves memory only
    fp8: bool
    flash_attention: bool  # FlashAttention-2 has kernels for it; on Ascend torch_npu's own, without a package
    tflops: Mapping[str, float]  # dense peak by precision: fp32, tf32, fp16, bf16, fp8; fp32 and fp16 always there
    memory_bandwidth: float  # bytes per second
    link: Link  # to the other GPUs of the node, as usually sold
    host_link: Link  # to the host
    source: str
    aliases: tuple[str, ...] = ()
    cuda_bytes: int = 0  # total as a CUDA program sees it; 0 = not known
    assumed: bool = False  # memory_bytes is the marketed size, no driver report was at hand

    @property
    def usable_bytes(self) -> int:
        """Bytes a program can allocate: the CUDA total, or the driver's total less an assumed reserve."""
        return self.cuda_bytes or int(self.memory_bytes * (1 - RESERVED_SHARE)) - RESERVED_BYTES
