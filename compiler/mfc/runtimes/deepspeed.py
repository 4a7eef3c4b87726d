"""What DeepSpeed's ZeRO keeps on the device and on the host.

Bytes were counted in running engines (DeepSpeed 0.19.8, one and two ranks) and read in deepspeed/runtime/zero, 0.16.9
to 0.19.8; docs/memory-model.md, section "DeepSpeed".
"""

from __future__ import annotations

from typing import NamedTuple

from mfc.runtimes.placement import Placement, States
from mfc.strategy import Offload

# Weights are gathered on a stream of their own, whose blocks no other stream can use. Beside the weights that are live,
# its pool comes to hold about two matrices of the size of the embedding: a fetch is a flat tensor, of which the weight
# is a copy. From 1.2 to 3.0 in replays of seven models (benchmarks.count.gathered).
GATHER_EDGES = 2.0
NORM_NUMBERS = 250_000_000  # the norm of an offloaded gradient is taken in fp64, so many numbers at a time (stage3.py)
PARAMETERS_IN_CPU = 1_000_000_000  # numbers that stay in host memory when weights go to NVMe: max_in_cpu
SWAP_BUFFERS = 4  # of one sub-group each, to read and write states on NVMe: offload_optimizer.buffer_count
PARAMETER_BUFFERS = 5  # to read and write weights: offload_param.buffer_count
PARAMETER_BUFFER = 100_000_000  # numbers in each of these at least: offload_param.buffer_size


class Zero(NamedTuple):
    """The part of a DeepSpeed configuration that memory depends on. Bucket sizes are numbers, not bytes."""

    stage: int
    world_size: int
    reduce_bucket: int
    prefetch_bucket: int
    overlap_comm: bool
    persistence: int
    max_live: int
    sub_group: int
    pin_memory: bool
    offload_optimizer: Offload = "none"
    offload_parameters: Offload = "none"


def partitioned(states: States, zero: Zero) -> Placement:
    """Placement under ZeRO stage 1, 2 or 3.

    The engine has references of its own to what trains: the flat 16-bit groups of which parameters are views, and the
    fp32 masters. Who moves parameters leaves both where they are, and has the weights twice once they are back, until
    the step makes views of them again (stage_1_and_2.py `_update_model_bit16_weights`, stage3.py `lp_param_buffer`).
    """
    if zero.stage == 3:
        return _stage3(states, zero)
    share = states.trained / zero.world_size
    # Whole buckets are allocated, however little there is to reduce (stage_1_and_2.py, setup_buckets).
    bucket = 2.0 * zero.reduce_bucket * (2 if zero.overlap_comm else 1)
    whole = states.trained * 2.0
    weights = states.base + states.scales + whole + states.reference + states.scoring
    stays = states.scales + states.scoring + whole
    if zero.offload_optimizer != "none":
        pinned = [4 * share, 4 * share, 2 * share] + ([2 * share] if states.accumulates else [])
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
            host=_pinned(zero, *pinned) + 8 * share,
            stays=stays,
            twice=whole,
        )
    stage1 = zero.stage == 1
    return Placement(
        weights=weights,
        optimizer=share * states.optimizer,
        buffers=bucket,
        gathered=0.0,
        gradients=(states.trained * 2.0 if stage1 else 2 * share) if states.accumulates else 0.0,
        done=2.0 if stage1 else 0.0,
        live=2.0,
        layer_gradient=0.0,
        # Stage 2 allocates its whole slice of the gradients with the first of them, beside an accumulated one.
        reducing=0.0 if stage1 else 2 * share,
        step=4 * share,  # the fp32 copy of the own slice
        step_gradients=4 * share,  # the slice, and the flat copy of it that becomes fp32
        stays=stays + states.master * share,
        twice=whole,
    )


def _stage3(states: States, zero: Zero) -> Placement:
    ranks = zero.world_size
    share = states.trained / ranks
    base = states.base / ranks
    per_number = (states.base + 2 * states.trained) / max(states.total, 1)
    splits = ranks > 1 or zero.offload_parameters != "none"
    limit = zero.max_live + zero.prefetch_bucket if splits else 0
    # Frozen models have engines of their own, each with as much alive.
    others = sum(min(size, 2.0 * limit) for size in (states.reference, states.scoring))
    live = min(states.total, limit) * per_number + others
    on_device = 0.0 if zero.offload_optimizer != "none" else 1.0
    sub_group = min(share, zero.sub_group)
    frozen = base + (states.reference + states.scoring) / ranks
    parameters = 0.0 if zero.offload_parameters != "none" else frozen + 2 * share + share * (states.weight - 2)
    views = 0.0 if zero.offload_parameters != "none" else 2 * share
    scoring = 0.0 if zero.offload_parameters != "none" else states.scoring / ranks
    whole = sum(every for one, every in states.matrices if one <= zero.persistence) if splits else 0.0
    persistent = 2 * whole * (1 - 1 / ranks)
    fetched = live + 2 * states.edge if splits else 0.0  # a flat tensor, and the weight that is copied from it
    gathered = max(live, states.layer, states.edge)
    # What is reduced together is copied into one tensor; a gradient beyond the bucket is reduced alone, as it is.
    copied = 2.0 * min(zero.reduce_bucket, states.trained)
    if not on_device:  # the own slice of a gradient on its way to the host, and its norm
        piece = states.largest / ranks
        copied += 2 * piece + 8 * min(piece, NORM_NUMBERS)
    return Placement(
        weights=states.scales + parameters + persistent,
        optimizer=share * states.optimizer * on_device,
        buffers=2.0 * zero.reduce_bucket,
        gathered=gathered,
        fetching=max(fetched - gathered, 0.0),
        gradients=2 * share * on_device,  # the engine keeps its gradient shard for the whole run
        done=0.0,
        live=2.0,
        layer_gradient=0.0,
        reducing=max(copied, 2 * states.largest if states.trained > states.largest else 0.0),
        step=6 * sub_group * on_device,  # a flat copy of the sub-group's gradients, and that in fp32
        step_gradients=0.0,
        host=_host(states, zero),
        pool=live + GATHER_EDGES * states.edge + copied if splits and zero.overlap_comm else 0.0,
        between=2 * share * on_device,
        stays=states.scales + persistent + scoring + views + states.master * share * on_device,
        twice=views,
    )


def _host(states: States, zero: Zero) -> float:
    """Bytes of host memory per GPU at stage 3 (stage3.py, partition_parameters.py, swap_tensor/*.py)."""
    share = states.trained / zero.world_size
    base = (states.base + states.reference + states.scoring) / zero.world_size
    sub_group = min(share, zero.sub_group)
    held = 0.0
    if zero.offload_optimizer == "cpu":
        whole, rest = divmod(share, sub_group or 1)  # fp32 gradients are pinned sub-group by sub-group
        held += 12 * share + _pinned(zero, 2 * share, *[4 * sub_group] * int(whole), 4 * rest)
    elif zero.offload_optimizer == "nvme":  # gradients stay: only master weights and moments are on disk
        held += _pinned(zero, 2 * share) + 4 * (SWAP_BUFFERS + 1) * sub_group
    if zero.offload_parameters == "cpu":
        # Weights that train move to one flat tensor, pinned whatever the setting. The pieces of the model as it was
        # loaded are pinned one by one, and torch keeps pinned blocks that are free.
        held += pinned_bytes(2 * share) + base
        held += (POWER_OF_TWO_MEAN * (base + 2 * share) - base) if zero.pin_memory else 0.0
    elif zero.offload_parameters == "nvme":
        buffer = max(PARAMETER_BUFFER, states.edge / 2 / zero.world_size)
        held += pinned_bytes(2 * min(share, PARAMETERS_IN_CPU)) + 2 * PARAMETER_BUFFERS * buffer + 2 * sub_group
    return held


# Each frozen partition is pinned on its own and rounded up to a power of two; sizes spread over an octave, so the mean
# waste is 1 / ln 2 - 1 (uniform in logarithm).
POWER_OF_TWO_MEAN = 1.44


def pinned_bytes(size: float) -> float:
    """What torch's pinned allocator takes for one tensor of `size` bytes: the next power of two."""
    return float(1 << max(0, int(size) - 1).bit_length()) if size > 0 else 0.0


def _pinned(zero: Zero, *sizes: float) -> float:
    """Bytes of these tensors in host memory, pinned where the configuration says so."""
    return sum(pinned_bytes(size) if zero.pin_memory else size for size in sizes)
