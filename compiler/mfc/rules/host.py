"""Dangers in a node's own memory, where a run ends without a word but exit code -9."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import advise
from mfc.rules.words import gib

if TYPE_CHECKING:
    from mfc.problem import Hardware

_KILLED = "Linux ends the largest process when RAM runs out: exit code -9 (DeepSpeed issues 4571 and 4239)"


@advise(_KILLED)
def host_memory_is_unknown(
    hardware: Hardware, host_bytes: float, save_host_bytes: float, load_host_bytes: float
) -> str | None:
    """Without the size of host memory, what loading and saving take of it cannot be checked."""
    if hardware.host_memory_bytes is not None:
        return None
    saving = f", {gib(save_host_bytes)} as it is saved" if save_host_bytes > host_bytes else ""
    return (
        f"hardware.host_memory is not given: loading takes up to {gib(load_host_bytes)} of each node's RAM and "
        f"training keeps {gib(host_bytes)}{saving}; with less the run ends with exit code -9"
    )


RULES = (host_memory_is_unknown,)
