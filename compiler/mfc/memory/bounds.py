"""Upper bounds: how far a measurement may lie above its prediction, by what makes prediction hard.

Factors on predicted bytes such that 95 % of published measurements lie below, by split conformal quantiles: on what
tensors need, and on what the allocator holds. Made by benchmarks.score.bounds, which says how; docs/memory-model.md
has the coverage with one source left out.
"""

from __future__ import annotations

from typing import Literal

from mfc.memory.model import Run
from mfc.strategy import Strategy

SMALL_MODEL = 3_500_000_000  # numbers; below it a few logits-sized blocks make most of the memory; said, not widened

NEEDED = {
    "plain": 1.065,
    "hard": 1.109,
}
HELD = {
    "plain": 1.195,
    "hard": 1.289,
    "varies": 1.224,
}
UNKNOWN = 1.124
# end of generated part


def hard(strategy: Strategy) -> Literal["sharded", "quantised"] | None:
    """What makes a run's memory hard to predict; None where nothing does."""
    if strategy.quantization is not None:
        return "quantised"
    return "sharded" if strategy.sharding != "ddp" and strategy.world_size > 1 else None


def factors(run: Run) -> tuple[float, float]:
    """(bound over prediction for what tensors need, the same for what the allocator holds)."""
    unknown = 1.0 if run.stack.known else UNKNOWN
    kind = "hard" if hard(run.strategy) else "plain"
    needed, held = NEEDED[kind], HELD[kind]
    if run.stack.expandable_segments:  # gaps are few, and follow from the tensors
        held = needed
    elif varies(run):
        held = max(held, HELD["varies"])
    return needed * unknown, held * unknown


def varies(run: Run) -> bool:
    """Whether free blocks of other lengths count: batches differ in length, and the allocator can fragment."""
    return not run.strategy.fills_rows and not run.stack.expandable_segments
