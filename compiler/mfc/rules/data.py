"""Processes that read and prepare data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import Value, advise, derive
from mfc.rules.words import gpus

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.problem import Hardware

_WORKERS = 4
_PREPARING = 16


@derive("dataloader_workers", "torch.utils.data docs: num_workers; one core is left to each training process")
def dataloader_workers(hardware: Hardware, architecture: Architecture) -> Value:
    """Each GPU gets four loader processes (eight with images), fewer where cores are few."""
    most = 2 * _WORKERS if architecture.vision else _WORKERS
    if hardware.cpu_cores is None:
        return Value(_WORKERS, f"{_WORKERS} a GPU where hardware.cpu_cores is not given")
    share = hardware.cpu_cores // hardware.gpus_per_node
    if share > most:
        return Value(most, f"{most} a GPU, which has {share} of {hardware.cpu_cores} cores")
    if share == 0:
        return Value(0, f"{hardware.cpu_cores} cores for {gpus(hardware.gpus_per_node)} leave none to load data")
    return Value(share - 1, f"{share} of {hardware.cpu_cores} cores a GPU, one of them for training itself")


@derive("preprocessing_workers", "datasets docs: map(num_proc)")
def preprocessing_workers(hardware: Hardware) -> Value:
    """Data is prepared by half of the cores, sixteen processes at most."""
    if hardware.cpu_cores is None:
        return Value(_WORKERS, f"{_WORKERS} where hardware.cpu_cores is not given")
    if hardware.cpu_cores == 1:
        return Value(1, "there is one core")
    workers = min(hardware.cpu_cores // 2, _PREPARING)
    return Value(workers, f"half of {hardware.cpu_cores} cores, at most {_PREPARING}")


@advise("torch.utils.data docs: with no workers, loading waits in the training process")
def cores_are_few(hardware: Hardware) -> str | None:
    """With a core per GPU or less, GPUs wait for data."""
    if hardware.cpu_cores is None or hardware.cpu_cores > hardware.gpus_per_node:
        return None
    return (
        f"{hardware.cpu_cores} cores for {gpus(hardware.gpus_per_node)} leave none to load data: GPUs will wait for it"
    )


RULES = (dataloader_workers, preprocessing_workers, cores_are_few)
