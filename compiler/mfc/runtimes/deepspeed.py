"""What DeepSpeed's ZeRO keeps on the device and on the host.

Bytes were counted in running engines (DeepSpeed 0.19.8, one and two ranks); docs/memory-model.md, section "DeepSpeed".
"""

from __future__ import annotations

from typing import NamedTuple

from mfc.runtimes.placement import Placement, States


class Zero(NamedTuple):
    """The part of a DeepSpeed configuration that memory depends on. Bucket sizes are numbers, not bytes."""

    stage: int
    world_size: int
    reduce_bucket: int
    prefetch_bucket: int
    overlap_comm: bool
    max_live: int
    sub_group: int
    pin_memory: bool
    offload_optimizer: bool = False
    offload_parameters: bool = False
    nvme: bool = False


def partitioned(states: States, zero: Zero) -> Placement:
    """Placement under ZeRO stage 1, 2 or 3."""
    if zero.stage == 3:
        return _stage3(states, zero)
    ranks = zero.world_size
    share = states.trained / ranks
    bucket = 2.0 * min(zero.reduce_bucket, max(states.trained, states.largest)) * (2 if zero.overlap_comm else 1)
    weights = states.base + states.scales + states.trained * 2
    whole = states.trained * 2.0
    if zero.offload_optimizer:
        pinned = [4 * share, 4 * share, 2 * share] + ([2 * share] if states.accumulates else [])
        host = sum(pinned_bytes(size) if zero.pin_memory else size for size in pinned) + 8 * share
        return Placement(
            weights=weights,
            optimizer=0.0,
            buffers=bucket + 2 * states.largest,
            gathered=0.0,
            gradients=0.0,
            done=0.0,
            live=2.0,
            layer_gradient=0.0,
            step=0.0,
            step_gradients=0.0,
            host=host,
        )
    stage1 = zero.stage == 1
    return Placement(
        weights=weights,
        optimizer=share * states.optimizer,
        buffers=bucket,
        gathered=0.0,
        gradients=(whole if stage1 else 2 * share) if states.accumulates else 0.0,
        done=2.0 if stage1 else 2.0 / ranks,
        live=2.0,
        layer_gradient=0.0,
        step=4 * share,  # the fp32 copy of the own gradient slice
        step_gradients=2 * share,
    )


def _stage3(states: States, zero: Zero) -> Placement:
    ranks = zero.world_size
    share = states.trained / ranks
    base = states.base / ranks
    per_number = (states.base + 2 * states.trained) / max(states.total, 1)
    live = min(states.total, zero.max_live + zero.prefetch_bucket) if ranks > 1 or zero.offload_parameters else 0.0
    host = 0.0
    gradients = 2 * share  # the stage-3 engine keeps its gradient shard for the whole run
    if zero.offload_optimizer and not zero.nvme:
        host += (
            4 * share
            + 8 * share
            + sum(pinned_bytes(size) if zero.pin_memory else size for size in (4 * share, 2 * share))
        )
    elif zero.offload_optimizer:
        host += 4 * 4 * min(share, zero.sub_group)  # four pinned buffers of one sub-group
    parameters = base + 2 * share
    if zero.offload_parameters and not zero.nvme:
        host += parameters * (POWER_OF_TWO_MEAN if zero.pin_memory else 1.0)
    on_device = 0.0 if zero.offload_optimizer else 1.0
    return Placement(
        weights=states.scales + (0.0 if zero.offload_parameters else parameters + share * (states.weight - 2)),
        optimizer=share * states.optimizer * on_device,
        buffers=2.0 * max(zero.reduce_bucket, states.largest if states.trained > states.largest else 0),
        gathered=max(live * per_number, states.layer, states.edge),
        gradients=gradients * on_device,
        done=0.0,
        live=2.0,
        layer_gradient=0.0,
        step=4 * min(share, zero.sub_group) * on_device,
        step_gradients=0.0,
        host=host,
    )


# Each frozen partition is pinned on its own and rounded up to a power of two; sizes spread over an octave, so the mean
# waste is 1 / ln 2 - 1 (uniform in logarithm).
POWER_OF_TWO_MEAN = 1.44


def pinned_bytes(size: float) -> float:
    """What torch's pinned allocator takes for one tensor of `size` bytes: the next power of two."""
    return float(1 << max(0, int(size) - 1).bit_length()) if size > 0 else 0.0
