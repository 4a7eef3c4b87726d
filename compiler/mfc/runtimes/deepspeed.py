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
# What is released serves again only when the GPU has passed its last use (record_stream), and the host runs ahead.
# Traces of the engine with 8 and 70 billion numbers, replayed with frees that come 50 to 300 allocations late, one to
# two layers' passes: 1.0 to 3.8 layers more (benchmarks.count.offload).
LEAD_LAYERS = 2.0
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


def replicated(states: States) -> Placement:
    """Placement at stage 0: every GPU has flat 16-bit weights, fp32 masters and moments, and no buckets in training.

    The step makes an fp32 copy of each gradient, and a flat one of these (fp16/fused_optimizer.py, FP16_Optimizer). The
    flat one alone is left when torch's own optimizer runs.
    """
    gradients = 2.0 * states.trained
    return Placement(
        weights=states.base + states.scales + gradients + states.reference + states.scoring,
        optimizer=states.trained * states.optimizer,
        buffers=0.0,
        gathered=0.0,
        gradients=gradients if states.accumulates else 0.0,
        done=2.0,
        live=2.0,
        layer_gradient=0.0,
        step=max(8.0, 2.0 + 4.0 * states.foreach) * states.trained,
        step_gradients=gradients,
        stays=states.scales + states.scoring + gradients + states.master * states.trained,
        twice=gradients,
    )


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
        # Master weights, their gradients, 16-bit weights on their way back and the largest gradient on its way.
        held = _pinned(zero, 4 * share, 4 * share, 2 * share, 2 * states.largest) + 8 * share
        if states.accumulates:  # a tensor for each parameter of which a part is in the own slice, for all of it
            each = 2 * share * (POWER_OF_TWO_MEAN if zero.pin_memory else 1.0)
            held += max(each, _pinned(zero, 2 * states.largest))
        return Placement(
            weights=weights,
            optimizer=0.0,
            buffers=bucket + 2 * states.largest,
            gathered=0.0,
            gradients=0.0,
            done=0.0,
            live=2.0,
            layer_gradient=0.0,
            reducing=2 * states.largest,  # a gradient larger than the bucket is copied and waits to be reduced
            last=8 * min(states.largest, share) + _uncounted(states),  # the norm of the own slice of it, in fp64
            step=0.0,
            step_gradients=0.0,
            host=held,
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
        last=0.0 if stage1 else 2 * share,
        # The fp32 copy of the own slice; when torch's own optimizer runs, the 16-bit ones are gone (`step`).
        step=max(4, 4 * states.foreach) * share,
        step_gradients=4 * share,  # the slice, and the flat copy of it that becomes fp32
        stays=stays + states.master * share,
        twice=whole,
    )


def _stage3(states: States, zero: Zero) -> Placement:
    ranks = zero.world_size
    share = states.trained / ranks
    base = states.base / ranks
    per_number = (states.base - states.spare + 2 * states.trained) / max(states.total, 1)
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
    fetched = live + states.edge * _copies(states, zero) if splits else 0.0
    gathered = max(live, states.layer, states.edge)
    # What is reduced together is copied into one tensor; a gradient beyond the bucket is reduced alone, as it is.
    copied = 2.0 * min(zero.reduce_bucket, states.trained)
    piece = states.largest / ranks
    to_host = 0.0 if on_device else 2 * piece + 8 * min(piece, NORM_NUMBERS)  # of a gradient: its slice and its norm
    # What is used again within max_live numbers stays; a head does not (partitioned_param_coordinator.py).
    head = states.edge if splits and states.total <= zero.max_live and states.edges > states.edge else 0.0
    pool = live + GATHER_EDGES * states.edge + LEAD_LAYERS * states.layer + copied + to_host
    return Placement(
        weights=states.scales + parameters + persistent,
        optimizer=share * states.optimizer * on_device,
        buffers=2.0 * zero.reduce_bucket,
        gathered=gathered,
        released=min(head, gathered - states.layer),
        fetching=max(fetched - gathered, 0.0),
        gradients=2 * share * on_device,  # the engine keeps its gradient shard for the whole run
        done=0.0,
        live=2.0,
        layer_gradient=0.0,
        reducing=max(copied, _waiting(states)),
        sending=max(copied + to_host - max(copied, _waiting(states)), 0.0),
        last=copied + to_host + _uncounted(states),
        # A flat copy of the sub-group's gradients, and that in fp32, which alone is left when the optimizer runs.
        step=max(6, 4 + 4 * states.foreach) * sub_group * on_device,
        step_gradients=0.0,
        host=_host(states, zero),
        pool=pool if splits and zero.overlap_comm else 0.0,
        between=2 * share * on_device,
        stays=states.scales + persistent + scoring + views + states.master * share * on_device,
        twice=views,
    )


def _waiting(states: States) -> float:
    """The largest gradient, which is reduced alone; adapters have none."""
    return 2 * states.largest if states.trained > states.largest else 0.0


def _uncounted(states: States) -> float:
    """The embedding's own gradient, where the moment does not count it as one that is made beside older ones."""
    made_beside = states.accumulates and states.edges > states.edge
    return 0.0 if made_beside else _waiting(states)


def _copies(states: States, zero: Zero) -> float:
    """How often the head exists while it is fetched.

    A weight that is fetched alone is gathered where it stays; one fetched with others is copied out of a flat tensor
    (partition_parameters.py, `all_gather_coalesced`). The head is fetched alone when one matrix fills the prefetch.
    """
    alone = zero.prefetch_bucket <= max((one for one, _ in states.matrices), default=0.0)
    return 1.0 if alone else 2.0


def _host(states: States, zero: Zero) -> float:
    """Bytes of host memory per GPU at stage 3 (stage3.py, partition_parameters.py, swap_tensor/*.py)."""
    share = states.trained / zero.world_size
    base = (states.base + states.reference + states.scoring) / zero.world_size
    sub_group = min(share, zero.sub_group)
    held = 0.0
    if zero.offload_optimizer == "cpu":
        # fp32 gradients are pinned sub-group by sub-group. The last weight, the head, joins one that is not full.
        last = min(states.edge / 2 / zero.world_size, share)
        whole, rest = divmod(share - last, sub_group or 1)
        held += 12 * share + _pinned(zero, 2 * share, *[4 * sub_group] * int(whole), 4 * (rest + last))
    elif zero.offload_optimizer == "nvme":  # gradients stay: only master weights and moments are on disk
        held += _pinned(zero, 2 * share) + 4 * (SWAP_BUFFERS + 1) * sub_group
    if zero.offload_parameters == "cpu":
        # Weights that train move to one flat tensor, pinned whatever the setting. The pieces of the model as it was
        # loaded are pinned one by one, and torch keeps pinned blocks that are free.
        held += pinned_bytes(2 * share)
        held += (base + 2 * share) * one_by_one(states, zero.world_size) if zero.pin_memory else base
    elif zero.offload_parameters == "nvme":
        buffer = max(PARAMETER_BUFFER, states.edge / 2 / zero.world_size)
        held += pinned_bytes(2 * min(share, PARAMETERS_IN_CPU)) + 2 * PARAMETER_BUFFERS * buffer
        if share > PARAMETERS_IN_CPU:  # to write them, a buffer as large as a sub-group's weights, not their shares
            held += 2 * min(states.trained, sub_group * zero.world_size)
    return held


# Tensors that are pinned one by one are each rounded up to a power of two. Where their sizes are not known, they are
# taken to spread over an octave, uniform in their logarithm: the mean waste is 1 / ln 2 - 1.
POWER_OF_TWO_MEAN = 1.44


def pinned_bytes(size: float) -> float:
    """What torch's pinned allocator takes for one tensor of `size` bytes: the next power of two."""
    return float(1 << max(0, int(size) - 1).bit_length()) if size > 0 else 0.0


def one_by_one(states: States, ranks: int) -> float:
    """Bytes that torch pins per byte of the weights' shares, where each is a tensor of its own.

    Each rounds up by itself; where the matrices are not known, by the mean.
    """
    width = (states.base + 2 * states.trained) / max(states.total, 1) / ranks
    matrices = [*states.matrices, (states.edge / 2, states.edges / 2)] if states.matrices else []
    whole = sum(every for _, every in matrices)
    pinned = sum(every / one * pinned_bytes(width * one) for one, every in matrices if one)
    return pinned / (width * whole) if whole else POWER_OF_TWO_MEAN


def _pinned(zero: Zero, *sizes: float) -> float:
    """Bytes of these tensors in host memory, pinned where the configuration says so."""
    return sum(pinned_bytes(size) if zero.pin_memory else size for size in sizes)
