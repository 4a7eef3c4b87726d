"""Where the states of a run lie: the common language of the runtimes that replicate, shard or offload them."""

from __future__ import annotations

from typing import NamedTuple


class States(NamedTuple):
    """What one run keeps, as if one GPU held it all. Bytes unless it says numbers."""

    base: float  # weights that do not train, as stored
    scales: float  # of quantised weights, beside `base`; whole on every GPU, however the weights are sharded
    trained: float  # numbers that train
    weight: float  # per trained number
    gradient: float  # per trained number
    optimizer: float  # per trained number, master copy included
    master: int  # per trained number: the fp32 master copy within `optimizer`
    managed: bool  # optimizer states lie in CUDA managed memory, outside the caching allocator
    foreach: int  # copies of what trains that the step makes
    layer: float  # weights of the largest layer, as the runtime gathers them
    edges: float  # embedding and head, 16 bit; one matrix where they are tied
    edge: float  # the larger of the two
    layer_trained: float  # trained numbers of the largest layer
    largest: float  # numbers of the largest single parameter
    total: float  # numbers of the whole model
    accumulates: bool
    scratch: float = 0.0  # what the step holds at most beside gradients, unless foreach says it
    within: float = 0.0  # the same while layers run backward, where gradients are applied and freed at once
    # Of the linears' matrices, adapters' included: (numbers of one, numbers of all that are as large).
    matrices: tuple[tuple[float, float], ...] = ()
    reference: float = 0.0  # weights of a frozen reference
    scoring: float = 0.0  # weights of further models, which score answers
    spare: float = 0.0  # of `base`, modules of which a copy trains beside adapters: nobody calls them


class Placement(NamedTuple):
    """Bytes on one GPU and on the host."""

    weights: float
    optimizer: float
    buffers: float  # communication buffers, for the whole run
    gathered: float  # whole weights present while layers and loss run
    gradients: float  # gradients that exist through the whole step
    done: float  # bytes per trained number whose gradient is finished
    live: float  # bytes per trained number whose gradient is in the making
    layer_gradient: float  # whole gradients of one layer, while layers run backward
    step: float  # extra at the optimizer step; gradients that exist then are in `step_gradients`
    step_gradients: float
    host: float = 0.0  # bytes of host memory per GPU
    managed: float = 0.0  # optimizer bytes in managed memory
    released: float = 0.0  # of `gathered`, what is given back before layers run backward
    fetching: float = 0.0  # beside `gathered`, while the largest matrix is fetched
    reducing: float = 0.0  # what gradients are gathered in and reduced through, from the first one on
    sending: float = 0.0  # beside `reducing`, of a gradient on its way to the host, while the next one is made
    last: float = 0.0  # in place of `reducing`, while the embedding's gradient, the last one, is reduced
    pool: float = 0.0  # what the allocator holds for streams that gather and reduce: no use to any other
    between: float = 0.0  # of `gradients`, what exists between steps too
    stays: float = 0.0  # of `weights` and `optimizer`, what a caller cannot move: no parameter, no optimizer state
    twice: float = 0.0  # parameters that exist twice, from when a caller has moved them back until the next step ends


def replicated(states: States, world_size: int) -> Placement:
    """One GPU, or plain data parallel: buckets of DDP hold a second copy of all gradients."""
    gradients = 0.0 if states.within else states.trained * states.gradient
    optimizer = states.trained * states.optimizer
    return Placement(
        weights=states.base + states.scales + states.trained * states.weight + states.reference + states.scoring,
        optimizer=0.0 if states.managed else optimizer,
        buffers=gradients if world_size > 1 else 0.0,
        gathered=0.0,
        gradients=gradients if states.accumulates else 0.0,
        done=0.0 if states.within else states.gradient,
        live=states.gradient,
        layer_gradient=states.within,
        step=states.scratch + states.foreach * states.trained * states.weight,
        step_gradients=0.0 if states.within else gradients,
        managed=optimizer if states.managed else 0.0,
        stays=states.scales + states.scoring,
    )
