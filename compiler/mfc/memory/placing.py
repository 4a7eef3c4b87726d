"""Where the states of a run lie, by its sharding. Few placements serve many strategies, so they are cached."""

from __future__ import annotations

from functools import lru_cache

from mfc.memory.stack import Stack
from mfc.runtimes import deepspeed, fsdp
from mfc.runtimes.placement import Placement, States, replicated
from mfc.strategy import FSDP, ZERO_STAGES, Offload, Sharding


@lru_cache(maxsize=4096)
def place(
    states: States,
    sharding: Sharding,
    world_size: int,
    offload_optimizer: Offload,
    offload_parameters: Offload,
    pin_memory: bool,
    hidden: int,
    stack: Stack,
) -> Placement:
    """The placement of `states` on each of `world_size` GPUs. `hidden` is the model's width."""
    if sharding == "ddp" and stack.engine_replicates:
        return deepspeed.replicated(states)
    if sharding == "ddp":
        return replicated(states, max(world_size, 2) if stack.wraps_one_gpu else world_size)
    if sharding in FSDP:
        offload = offload_parameters != "none"
        split = fsdp.flat if sharding == "fsdp" else fsdp.fully_sharded
        return split(states, world_size, offload, stack.fsdp_keeps_frozen, stack.fsdp_splits_edges)
    auto = hidden * hidden
    reduce, prefetch = stack.reduce_bucket_elements, stack.prefetch_bucket_elements
    kept = stack.persistence_threshold_elements
    return deepspeed.partitioned(
        states,
        deepspeed.Zero(
            stage=ZERO_STAGES[sharding],
            world_size=world_size,
            reduce_bucket=auto if reduce is None else reduce,
            prefetch_bucket=int(0.9 * auto) if prefetch is None else prefetch,
            persistence=10 * hidden if kept is None else kept,
            overlap_comm=sharding == "zero3" if stack.overlap_comm is None else stack.overlap_comm,
            max_live=stack.max_live_parameters,
            sub_group=stack.sub_group_elements,
            pin_memory=pin_memory,
            offload_optimizer=offload_optimizer,
            offload_parameters=offload_parameters,
        ),
    )
