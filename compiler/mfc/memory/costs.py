"""Costs of a prepared run that do not vary with its micro-batch, for the search."""

from __future__ import annotations

from mfc.memory import host
from mfc.memory.loading import loading, saving
from mfc.memory.prepared import Prepared


def fixed_costs(prepared: Prepared) -> tuple[int, int, int, int, int, int]:
    """Bytes: host per node in training and while saving, GPU and host per node while loading, what stays between steps.

    The last two are bounds on a GPU's process between steps: as it is, and with weights and optimizer on the host.
    """
    placement = prepared.placement
    left = placement.buffers + prepared.outside
    held = left + placement.weights + placement.optimizer
    return (
        host.host_bytes(placement.host, prepared.run.gpus_per_node),
        saving(prepared.run, prepared),
        *loading(prepared.run, prepared),
        int(held * prepared.factor),
        int(left * prepared.factor),
    )
