"""As much of torch as a meter asks, on a card of 24 GiB whose counters a test moves by `took`.

`python -c` with this on PYTHONPATH is a process that trains: `import torch; torch.took(20); …`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

GIB = 2**30
CONTEXT = GIB // 2


class OutOfMemoryError(RuntimeError):
    """What torch raises."""


class Cuda:
    """The counters of one of four cards, as `torch.cuda` has them."""

    def __init__(self) -> None:
        self.device = 0
        self.now = self.peak = self.ooms = 0
        self.memory = self

    def is_initialized(self) -> bool:
        return self.peak > 0

    def device_count(self) -> int:
        return 4

    def set_device(self, number: int) -> None:
        assert number == self.device, "a context is opened on another card"

    def memory_stats(self, number: int) -> dict[str, int]:
        mine = number == self.device
        return {
            "allocated_bytes.all.peak": int(0.9 * self.peak) * mine,
            "reserved_bytes.all.peak": self.peak * mine,
            "reserved_bytes.all.current": self.now * mine,
            "num_ooms": self.ooms * mine,
        }

    def mem_get_info(self, number: int) -> tuple[int, int]:
        assert number == self.device, "a context is opened on another card"
        return 24 * GIB - CONTEXT - self.now, 24 * GIB

    def get_device_properties(self, number: int) -> Any:
        return SimpleNamespace(uuid=f"GPU-{number}")

    def reset_peak_memory_stats(self) -> None:
        self.peak = self.now


cuda = Cuda()


def took(gib: float, then: float | None = None, device: int = 0) -> None:
    """Hold so much on a card at once, and then less; more than it has raises."""
    cuda.device = device
    if gib * GIB + CONTEXT > 24 * GIB:
        cuda.ooms += 1
        raise OutOfMemoryError(f"CUDA out of memory. Tried to allocate {gib - cuda.now / GIB:.2f} GiB. GPU 0 has …")
    cuda.now = int((gib if then is None else then) * GIB)
    cuda.peak = max(cuda.peak, int(gib * GIB))
