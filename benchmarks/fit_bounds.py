"""Derive compiler/mfc/memory/bounds.py from the truth rows: python benchmarks/fit_bounds.py [--write]

From both truth files, where the source says what its figure measures. Split conformal, one sided: the score of a row
is measured / predicted; the factor of a class is the ceil(0.95 (n + 1))-th smallest of its n scores. Classes are what
makes prediction hard; none is narrower than "plain". Coverage is checked leaving one source out at a time.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accuracy import case
from mfc.memory import predict
from mfc.memory.bounds import hard
from truth_rows import FOLDER, GIB, TRUTH, Row, rows, run_of, stack_of

LEVEL = 0.95
FILES = (TRUTH, FOLDER / "memory-more.jsonl")
UNSAID = re.compile(r"unknown|not said|not stated|^$|^\"?peak memory")
TARGET = Path(__file__).parents[1] / "compiler" / "mfc" / "memory" / "bounds.py"


@dataclass(frozen=True, slots=True)
class Score:
    """One row: its class, and how far its measurement lies above the prediction (1 = equal)."""

    source: str
    group: str
    ratio: float
    neutral: float  # the same with the stack of an unknown framework


def stated(row: Row) -> bool:
    """Whether a row says what it measures and in which unit: a bound covers errors of mfc, not of a table."""
    return not UNSAID.search(str(row.get("metric") or "").lower()) and not row.get("unit_ambiguous")


def scores() -> list[Score]:
    """All scored rows that say what they measure."""
    found = []
    for row in (row for path in FILES for row in rows(path) if stated(row)):
        made = case(row)
        if made is None or made.measured is None or made.predicted is None or made.memory is None:
            continue
        run = run_of(row)
        allocated = made.predicted == made.memory.allocated_bytes / GIB
        # Allocated figures say nothing of the blocks that changing lengths leave behind.
        varies = not run.strategy.packing and not allocated
        group = hard(run.strategy, varies=varies)
        neutral = predict(run._replace(stack=stack_of(row, neutral=True)))
        other = (neutral.allocated_bytes if allocated else neutral.process_bytes) / GIB
        found.append(Score(made.source, group, made.measured / made.predicted, made.measured / other))
    return found


def quantile(values: Sequence[float], level: float) -> float:
    """Split-conformal quantile: the ceil((n + 1) * level)-th smallest score, the largest when there are too few."""
    ordered = sorted(values)
    return ordered[min(len(ordered), math.ceil((len(ordered) + 1) * level)) - 1] if ordered else 1.0


CONTAINED = {"sharded": "plain", "quantised": "plain", "varies": "plain"}


def factors(found: Sequence[Score]) -> dict[str, float]:
    """Factor by class, each at least as wide as the easier class it extends."""
    made: dict[str, float] = {}
    for group in ("plain", "sharded", "quantised", "varies"):
        own = quantile([s.ratio for s in found if s.group == group], LEVEL)
        made[group] = max(own, made.get(CONTAINED.get(group, ""), 1.0), 1.02)
    return made


def unknown(found: Sequence[Score], known: dict[str, float]) -> float:
    """What a framework never seen adds: rows predicted with the neutral stack, on top of their class's factor."""
    return max(1.0, quantile([s.neutral / known[s.group] for s in found], LEVEL))


def main() -> int:
    parser = argparse.ArgumentParser(description="Derive the bounds from the truth rows.")
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name}")
    options = parser.parse_args()
    found = scores()
    made = factors(found)
    extra = unknown(found, made)
    for group, factor in made.items():
        of = [s for s in found if s.group == group]
        print(f"{group:20s} {factor:.3f}  rows {len(of)}, sources {len({s.source for s in of})}")
    print(f"{'unknown stack':20s} {extra:.3f}")
    print("leave one source out:")
    shares = []
    for source in sorted({s.source for s in found}):
        others = [s for s in found if s.source != source]
        table = factors(others)
        wider = unknown(others, table)
        mine = [s for s in found if s.source == source]
        own = 100 * sum(s.ratio <= table[s.group] for s in mine) / len(mine)
        blind = 100 * sum(s.neutral <= table[s.group] * wider for s in mine) / len(mine)
        shares.append((own, blind))
        print(f"  {source:20s} {own:5.1f} % with its stack, {blind:5.1f} % with the neutral one and its extra width")
    own, blind = (sum(column) / len(shares) for column in zip(*shares, strict=True))
    print(f"  {'mean':20s} {own:5.1f} %, {blind:5.1f} %")
    if options.write:
        text = TARGET.read_text(encoding="utf-8")
        start, end = text.index("FACTORS = {"), text.index("# end of generated part")
        lines = "".join(f'    "{group}": {factor:.3f},\n' for group, factor in made.items())
        TARGET.write_text(
            f"{text[:start]}FACTORS = {{\n{lines}}}\nUNKNOWN = {extra:.3f}\n{text[end:]}", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
