"""What the search asks of a prepared run beside its bound on GPU memory; none of it varies with the micro-batch."""

from __future__ import annotations

from mfc.memory import host
from mfc.memory.prediction import Prepared, _loading


def fixed_costs(prepared: Prepared) -> tuple[int, int, int]:
    """Bytes: host per node in training, GPU while loading, host per node while loading."""
    return (host.host_bytes(prepared.placement.host, prepared.run.gpus_per_node), *_loading(prepared.run, prepared))
