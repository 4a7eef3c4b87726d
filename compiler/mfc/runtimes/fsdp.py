"""What FSDP keeps on the device: shards, the layers it gathers, and whole gradients of the layer in flight."""

from __future__ import annotations

from mfc.runtimes.placement import Placement, States


def fully_sharded(
    states: States, world_size: int, offload: bool, keeps_frozen: bool, splits_edges: bool = False
) -> Placement:
    """Every unit is sharded; while layers run, the current layer, the prefetched one and the root unit are whole.

    The root unit holds the embedding and the head (transformer wrap policy). With `splits_edges` these are units of
    their own, one of which is whole at a time. With `offload`, shards wait on the host and the optimizer steps there.
    With `keeps_frozen`, units without gradients stay gathered until the backward pass ends.
    """
    base = states.base / world_size
    trained = states.trained / world_size
    shards = base + trained * states.weight + (states.reference + states.scoring) / world_size
    optimizer = trained * states.optimizer
    gradients = trained * states.gradient
    gathered = max(2 * states.layer, states.layer + states.edge) if splits_edges else 2 * states.layer + states.edges
    if keeps_frozen and states.trained < states.total / 2:
        gathered = max(gathered, states.base)
    device = 0.0 if offload else 1.0
    return Placement(
        weights=shards * device + states.scales,
        optimizer=0.0 if states.managed else optimizer * device,
        buffers=0.0,
        gathered=gathered,
        gradients=gradients * device if states.accumulates else 0.0,
        done=states.gradient / world_size * device,
        live=2.0,
        # 16-bit gradients of the layer, and their copy in the dtype in which they are reduced
        layer_gradient=states.layer_trained * (2 + states.gradient),
        step=trained * states.weight * device if states.foreach else 0.0,
        step_gradients=gradients * device,
        host=(shards + optimizer + gradients) if offload else 0.0,
        managed=optimizer if states.managed and not offload else 0.0,
        stays=states.scales + states.scoring / world_size * device,
    )
