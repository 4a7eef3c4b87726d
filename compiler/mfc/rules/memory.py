"""What fits: the bounds of the memory model against the machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import advise, require
from mfc.rules.words import gib

if TYPE_CHECKING:
    from mfc.problem import Hardware

_MODEL = "mfc's memory model: mfc.memory"


@require(_MODEL, limits="gpu")
def fits_device(upper_bytes: float, budget_bytes: int) -> str | None:
    """The upper bound of GPU memory stays within the budget."""
    if upper_bytes <= budget_bytes:
        return None
    return f"needs up to {gib(upper_bytes)} on a GPU, {gib(upper_bytes - budget_bytes)} above {gib(budget_bytes)}"


@require(_MODEL + "; exit code -9 is the kernel ending a process for want of host RAM", limits="host")
def fits_host(host_bytes: float, save_host_bytes: float, hardware: Hardware) -> str | None:
    """What training keeps in a node's memory fits there, with what a checkpoint takes as it is written."""
    if hardware.host_memory_bytes is None or save_host_bytes <= hardware.usable_host_bytes:
        return None
    more = save_host_bytes - host_bytes
    saving = f", and {gib(more)} more while a checkpoint is written" if more else ""
    return f"keeps {gib(host_bytes)} in each node's RAM{saving}: {_room(hardware)} (exit code -9)"


@require(_MODEL + "; every process of a node may hold the checkpoint while it loads", limits="load")
def fits_loading(load_gpu_bytes: float, load_host_bytes: float, budget_bytes: int, hardware: Hardware) -> str | None:
    """Loading the model fits too, on the GPU and in host memory."""
    if load_gpu_bytes > budget_bytes:
        return f"loading the model takes {gib(load_gpu_bytes)} on a GPU before training, above {gib(budget_bytes)}"
    if hardware.host_memory_bytes is not None and load_host_bytes > hardware.usable_host_bytes:
        return f"loading the model takes {gib(load_host_bytes)} of each node's RAM: {_room(hardware)} (exit code -9)"
    return None


@advise(_MODEL)
def loading_is_the_peak(load_gpu_bytes: float, upper_bytes: float) -> str | None:
    """Loading may take more of a GPU than training does."""
    if load_gpu_bytes <= upper_bytes:
        return None
    return f"loading takes {gib(load_gpu_bytes)} on a GPU, more than the {gib(upper_bytes)} of training"


def _room(hardware: Hardware) -> str:
    """What a run may take of a node's RAM, in words."""
    return f"of {gib(hardware.host_memory_bytes or 0)} a run may take {gib(hardware.usable_host_bytes)}"


RULES = (fits_device, fits_host, fits_loading, loading_is_the_peak)
