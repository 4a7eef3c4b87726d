"""Upper bounds: how far a measurement may lie above its prediction, by what makes prediction hard.

Factors on predicted bytes such that 95 % of published measurements lie below, by split conformal quantiles: on what
tensors need, and on what the allocator holds. Made by benchmarks.score.bounds, which says how; docs/memory-model.md
has the coverage with one source left out.
"""

from __future__ import annotations

from mfc.memory.model import Run
from mfc.strategy import Strategy

SMALL_MODEL = 3_500_000_000  # numbers; below it a few logits-sized blocks make most of the memory; said, not widened

NEEDED = {
    "plain": 1.065,
    "sharded": 1.151,
    "quantised": 1.116,
}
HELD = {
    "plain": 1.195,
    "sharded": 1.283,
    "quantised": 1.291,
    "varies": 1.231,
}
UNKNOWN = 1.107
# end of generated part


def hard(strategy: Strategy, *, varies: bool) -> str:
    """The class of a run: what makes its memory hard to predict. `varies`: free blocks of other lengths are counted."""
    if varies:
        return "varies"
    sharded = strategy.sharding != "ddp" and strategy.world_size > 1
    if strategy.quantization is not None:
        return "quantised"
    return "sharded" if sharded else "plain"


def factors(run: Run) -> tuple[float, float]:
    """(bound over prediction for what tensors need, the same for what the allocator holds)."""
    unknown = 1.0 if run.stack.known else UNKNOWN
    kind = hard(run.strategy, varies=False)
    needed, held = NEEDED[kind], HELD[kind]
    if run.stack.expandable_segments:  # hardly any free blocks to be wrong about
        held = needed
    elif varies(run):
        held = max(held, HELD["varies"])
    return needed * unknown, held * unknown


def varies(run: Run) -> bool:
    """Whether free blocks of other lengths count: batches differ in length, and the allocator can fragment."""
    return not run.strategy.fills_rows and not run.stack.expandable_segments
