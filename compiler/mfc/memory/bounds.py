"""Upper bounds: how far a measurement may lie above its prediction, by what makes prediction hard.

Factors on predicted bytes such that 95 % of published measurements lie below, by split conformal quantiles. Made by
benchmarks/fit_bounds.py, which says how; docs/memory-model.md has the coverage with one source left out.
"""

from __future__ import annotations

from mfc.strategy import Strategy

SMALL_MODEL = 3_500_000_000  # numbers; below it a few logits-sized blocks make most of the memory; said, not widened

FACTORS = {
    "plain": 1.118,
    "sharded": 1.118,
    "quantised": 1.216,
    "varies": 1.215,
}
UNKNOWN = 1.073
# end of generated part


def hard(strategy: Strategy, *, varies: bool) -> str:
    """The class of a run: what makes its memory hard to predict. `varies`: free blocks of other lengths are counted."""
    if varies:
        return "varies"
    sharded = strategy.sharding != "ddp" and strategy.world_size > 1
    if strategy.quantization is not None:
        return "quantised"
    return "sharded" if sharded else "plain"
