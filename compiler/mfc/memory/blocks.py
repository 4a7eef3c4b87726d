"""Free blocks: memory that the caching allocator holds beside tensors and cannot use at the moment of the peak.

Bytes per sequence unless it says fixed. The constants are those of the allocator replayed over recorded steps of real
model code (benchmarks.count.replay, which prints how far this form lies from each replay).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Where = Literal["gather", "loss", "layers", "embedding", "optimizer"]

# While the loss peaks, blocks of the layers are too small for it: a share of what one layer takes while it runs. With
# checkpointing its passing tensors are free by then, without it the layer below has taken half of them over.
AT_LOSS, AT_LOSS_SAVED = 0.65, 0.45
# Later layers take over what the first one freed. What is left lies between blocks that wait for them; gradients of
# weights that train leave more of it, and so do tensors that are saved rather than made again.
AT_LAYERS, AT_LAYERS_FULL, AT_LAYERS_SAVED = 0.1, 0.3, 0.6
# One segment that grows and shrinks leaves gaps only between blocks that are in use.
GROWING_AT_LOSS, GROWING_AT_LOSS_SAVED, GROWING_AT_LAYERS = 0.13, 0.3, 0.1
# Batches of changing length leave blocks of every length behind: in shares of the longest batch's loss, or where no
# loss is as large, of what its layers keep; and of one layer.
GROWN_LOSS, GROWN_KEPT, GROWN_LAYER = 2.4, 1.0, 0.7
# Gradients that a step frees leave blocks that the next one's loss cannot use; what layers save takes them over.
FREED_GRADIENTS = 0.5


class Demand(NamedTuple):
    """What one step asks the allocator for."""

    layer: float  # what one layer takes while it runs, kept or passing: in blocks too small for logits
    layer_fixed: float
    kept: float  # what all layers keep from forward to backward
    stale: float  # a block of 16-bit logits, free once they are converted
    loss: float  # everything of the size of logits at its peak
    edge: float  # fixed: the gradient of the embedding or of the head, where they train
    full: bool  # base weights train
    keeps_layers: bool  # no checkpointing
    varies: bool  # batches differ in length
    grows: bool  # segments are expandable


class Free(NamedTuple):
    """What is held free at one kind of moment."""

    sequence: float
    fixed: float = 0.0


def free(demand: Demand) -> dict[Where, Free]:
    """What is held free, by kind of moment."""
    at_loss, at_layers = _shares(demand)
    grown = 0.0
    if demand.varies and not demand.grows:
        grown = max(GROWN_LOSS * demand.loss, GROWN_KEPT * demand.kept) + GROWN_LAYER * demand.layer
    left = max(0.0, grown - demand.loss)  # the blocks of the loss are free by then
    return {
        "gather": Free(0.0),
        "loss": Free(demand.stale + at_loss * demand.layer + grown, at_loss * demand.layer_fixed),
        "layers": Free(at_layers * demand.layer + left, at_layers * demand.layer_fixed),
        "embedding": Free(left, demand.edge),
        "optimizer": Free(left, demand.edge),
    }


def _shares(demand: Demand) -> tuple[float, float]:
    """Shares of a layer that are free while the loss peaks, and while layers run backward."""
    if demand.grows:
        return (GROWING_AT_LOSS_SAVED if demand.keeps_layers else GROWING_AT_LOSS), GROWING_AT_LAYERS
    if demand.keeps_layers:
        return AT_LOSS_SAVED, AT_LAYERS_SAVED
    return AT_LOSS, (AT_LAYERS_FULL if demand.full else AT_LAYERS)
