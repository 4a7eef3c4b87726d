"""What FSDP keeps: shards, the layers that it gathers, whole gradients of the layer in flight, shares on the host."""

from __future__ import annotations

from mfc.runtimes.deepspeed import POWER_OF_TWO_MEAN, pinned_bytes
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
        step=states.foreach * trained * states.weight * device,
        step_gradients=gradients * device,
        host=(shards + optimizer + gradients) if offload else 0.0,
        managed=optimizer if states.managed and not offload else 0.0,
        stays=states.scales + states.scoring / world_size * device,
    )


def flat(states: States, world_size: int, offload: bool, keeps_frozen: bool, splits_edges: bool = False) -> Placement:
    """FSDP's first version under transformers' Trainer, whose units are flat parameters.

    While gradients accumulate, the Trainer holds back their reduction (accelerate 1.11 accelerator.py, no_sync), so
    each GPU has all of them whole, in 16 bits, offload or not. Where the root unit trains, gradients of embedding and
    head wait for each other, whole. On the host every flat share has a gradient of its own type beside it, frozen ones
    too, and both are pinned (torch 2.13 distributed/fsdp/_flat_param.py, init_flat_param_attributes).
    """
    made = fully_sharded(states, world_size, offload, keeps_frozen, splits_edges)
    whole = states.trained > states.total / 2
    accumulated = 2.0 * states.trained if states.accumulates else 0.0
    made = made._replace(
        gradients=max(made.gradients, accumulated),
        layer_gradient=made.layer_gradient + (states.edges if whole else 0.0),
    )
    if not offload:
        return made
    trained = states.trained / world_size
    unit = states.layer / world_size  # a layer's share: of 16-bit weights where all train
    shares = pinned_share(unit) * (states.base + states.reference) / world_size
    shares += trained * states.weight * (pinned_share(unit * states.weight / 2) if whole else POWER_OF_TWO_MEAN)
    return made._replace(host=2 * shares + trained * states.optimizer)


def pinned_share(size: float) -> float:
    """Bytes that torch pins for a block, over its size: it rounds up to a power of two (CachingHostAllocator)."""
    return pinned_bytes(size) / size if size else 1.0
