"""Dangers in a node's own memory, where a run ends without a word but exit code -9."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import advise
from mfc.rules.words import gib

if TYPE_CHECKING:
    from mfc.problem import Hardware

# Of the memory of a node's GPUs the share that its RAM has at least. An assumption: with less a machine is hard to buy.
_RAM_BESIDE_GPUS = 0.5
_KILLED = "Linux ends the largest process when RAM runs out: exit code -9 (DeepSpeed issues 4571 and 4239)"


@advise(_KILLED)
def host_memory_is_unknown(
    hardware: Hardware, host_bytes: float, save_host_bytes: float, load_host_bytes: float
) -> str | None:
    """Without the size of host memory, what loading and saving take of it cannot be checked, where that is much."""
    beside = _RAM_BESIDE_GPUS * hardware.gpu.memory_bytes * hardware.gpus_per_node
    if hardware.host_memory_bytes is not None or max(save_host_bytes, load_host_bytes) <= beside:
        return None
    saving = f", {gib(save_host_bytes)} as it is saved" if save_host_bytes > host_bytes else ""
    return (
        f"say hardware.host_memory (free -g tells it): loading takes up to {gib(load_host_bytes)} of each node's RAM "
        f"and training keeps {gib(host_bytes)}{saving}; with less the run ends with exit code -9"
    )


RULES = (host_memory_is_unknown,)
