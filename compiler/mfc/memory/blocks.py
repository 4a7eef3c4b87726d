"""Free blocks: memory that the caching allocator holds beside tensors and cannot use at the moment of the peak.

Bytes per sequence unless it says fixed.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Where = Literal["gather", "loss", "layers", "embedding", "optimizer"]

# Free blocks that the allocator cannot reuse, as shares of what one layer takes while it runs, or bytes per token and
# vocabulary row. Fitted to the caching allocator replayed over 310 traced steps: with checkpointing and adapters 0.56
# to 1.04 (tenth to ninetieth percentile) of a layer is cached while the loss peaks, without 0.4 to 2.1.
CACHED_LAYER = 0.75
CACHED_LAYER_SAVED = 1.3
CACHED_BUSY = 0.5
CACHED_LOGITS = 4.0
# Batches of changing length leave blocks of every length behind. The allocator replayed over 300 to 900 steps of random
# lengths outgrows its steady state by 1.4 to 5.6 times the logits of the longest batch (median 2.1, mean 2.7), and by
# about one layer (benchmarks.count.replay).
GROWN_LOGITS = 2.4
GROWN_LAYER = 1.2


class Demand(NamedTuple):
    """What one step asks the allocator for."""

    layer: float  # what one layer takes while it runs, kept or passing: in blocks too small for logits
    layer_fixed: float
    logits: float  # tokens times vocabulary rows
    stale: float  # a block of 16-bit logits, free once they are converted
    loss: float  # everything of the size of logits at its peak
    full: bool  # base weights train
    keeps_layers: bool  # no checkpointing
    varies: bool  # batches differ in length


class Free(NamedTuple):
    """What is held free at one kind of moment."""

    sequence: float
    fixed: float = 0.0


def free(demand: Demand) -> dict[Where, Free]:
    """What is held free, by kind of moment."""
    share = CACHED_LAYER_SAVED if demand.full or demand.keeps_layers else CACHED_LAYER
    at_loss = demand.stale + share * demand.layer
    if demand.varies:
        at_loss += GROWN_LOGITS * demand.loss + GROWN_LAYER * demand.layer
    left = at_loss - demand.loss  # what the loss's own blocks, free by then, do not cover
    busy = CACHED_BUSY * demand.layer
    after = (CACHED_LOGITS * demand.logits if demand.loss else 0.0) + busy
    return {
        "gather": Free(0.0),
        "loss": Free(at_loss, share * demand.layer_fixed),
        "layers": Free(max(demand.stale + busy, left), CACHED_BUSY * demand.layer_fixed),
        "embedding": Free(max(after, left)),
        "optimizer": Free(max(after if demand.full else 0.0, left)),
    }
