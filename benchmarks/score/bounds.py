"""Derive compiler/mfc/memory/bounds.py from the truth rows.

    python -m benchmarks.score.bounds [--write]

From all truth files, where the source says what its figure measures. Split conformal, one sided: the score of a row is
measured / predicted; the factor of a class is the ceil(0.95 (n + 1))-th smallest of the scores of its n rows, of those
whose stack was checked. Allocated figures bound what tensors need, reserved and process figures what the allocator
holds. Sharded and quantised runs are one class, the hard one: apart, both have about its factor, from fewer rows. None
is narrower than "plain". What a stack that nobody checked adds comes from all rows, predicted with the neutral one.
Coverage is checked leaving one source out at a time.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from mfc.memory import predict
from mfc.memory.bounds import hard

from benchmarks.score.accuracy import case
from benchmarks.score.runs import run_of, stack_of
from benchmarks.truth import ALL, GIB, Row, rows

LEVEL = 0.95
FILES = ALL
UNSAID = re.compile(r"unknown|not said|not stated|^$|^\"?peak memory")
TARGET = Path(__file__).parents[2] / "compiler" / "mfc" / "memory" / "bounds.py"


class Score(NamedTuple):
    """One figure: its class, and how far it lies above the prediction (1 = equal)."""

    source: str
    group: str
    held: bool  # what the allocator holds, else what tensors need
    ratio: float
    neutral: float  # the same with the stack of an unknown framework
    known: bool  # its own stack was checked
    emitted: bool  # by a loop that a target writes files for


def stated(row: Row) -> bool:
    """Whether a row says what it measures and in which unit: a bound covers errors of mfc, not of a table."""
    return not UNSAID.search(str(row.get("metric") or "").lower()) and not row.get("unit_ambiguous")


def scores() -> list[Score]:
    """All figures of rows that say what they measure: a row with an allocated and a held peak counts as two."""
    found = []
    for row in (row for path in FILES for row in rows(path) if stated(row)):
        made = case(row)
        if made is None or made.measured is None or made.predicted is None or made.memory is None:
            continue
        run = run_of(row)
        neutral = predict(run._replace(stack=stack_of(row, neutral=True)))
        allocated = made.predicted == made.memory.allocated_bytes / GIB
        figures = [(not allocated, made.measured, made.predicted)]
        if allocated and made.bounded and made.process and made.bounded != made.measured:
            figures.append((True, made.bounded, made.process))
        for held, measured, predicted in figures:
            group = "hard" if hard(run.strategy) else "plain"
            if held and not run.strategy.packing:
                group = "varies"
            other = (neutral.process_bytes if held else neutral.allocated_bytes) / GIB
            ratio, known = measured / predicted, run.stack.known
            found.append(Score(made.source, group, held, ratio, measured / other, known, made.emitted))
    return found


def quantile(values: Sequence[float], level: float) -> float:
    """Split-conformal quantile: the ceil((n + 1) * level)-th smallest score, the largest when there are too few."""
    ordered = sorted(values)
    return ordered[min(len(ordered), math.ceil((len(ordered) + 1) * level)) - 1] if ordered else 1.0


Table = dict[tuple[bool, str], float]  # by (held, class)


def factors(found: Sequence[Score]) -> Table:
    """Factor by class, each at least as wide as the easier class it extends; what is held is no less than needed."""
    made: Table = {}
    for held in (False, True):
        for group in ("plain", "hard", *(("varies",) if held else ())):
            own = quantile([s.ratio for s in found if s.known and s.group == group and s.held == held], LEVEL)
            made[held, group] = max(own, made.get((held, "plain"), 1.0), made.get((False, group), 1.02))
    return made


def unknown(found: Sequence[Score], known: Table) -> float:
    """What a framework never seen adds: rows predicted with the neutral stack, on top of their class's factor."""
    return max(1.0, quantile([s.neutral / known[s.held, s.group] for s in found], LEVEL))


def _covered(found: Sequence[Score]) -> Iterator[tuple[Score, bool, bool]]:
    """Each figure, and whether factors from the other sources cover it: with its stack, and with the neutral one."""
    for source in {s.source for s in found}:
        others = [s for s in found if s.source != source]
        table = factors(others)
        wider = unknown(others, table)
        for s in found:
            if s.source == source:
                factor = table[s.held, s.group]
                yield s, s.ratio <= factor * (1.0 if s.known else wider), s.neutral <= factor * wider


def _share(covered: Sequence[tuple[Score, bool, bool]], column: Literal[1, 2]) -> float:
    return 100 * sum(each[column] for each in covered) / len(covered)


def main() -> int:
    parser = argparse.ArgumentParser(description="Derive the bounds from the truth rows.")
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name}")
    options = parser.parse_args()
    found = scores()
    made = factors(found)
    extra = unknown(found, made)
    for (held, group), factor in made.items():
        of = [s for s in found if s.known and s.group == group and s.held == held]
        what = f"{group}, {'held' if held else 'needed'}"
        print(f"{what:20s} {factor:.3f}  rows {len(of)}, sources {len({s.source for s in of})}")
    print(f"{'unknown stack':20s} {extra:.3f}")
    print("covered with one source left out, and with the neutral stack for it:")
    covered = list(_covered(found))
    for source in sorted({s.source for s, _, _ in covered}):
        mine = [each for each in covered if each[0].source == source]
        print(f"  {source:24s} {_share(mine, 1):5.1f} % {_share(mine, 2):5.1f} %  of {len(mine)}")
    for name, some in (
        ("all figures", covered),
        ("of targets' loops", [each for each in covered if each[0].emitted]),
        ("needed", [each for each in covered if not each[0].held]),
        ("held", [each for each in covered if each[0].held]),
    ):
        print(f"{name:26s} {_share(some, 1):5.1f} % {_share(some, 2):5.1f} %  of {len(some)}")
    if options.write:
        text = TARGET.read_text(encoding="utf-8")
        start, end = text.index("NEEDED = {"), text.index("# end of generated part")
        parts = []
        for name, held in (("NEEDED", False), ("HELD", True)):
            lines = "".join(f'    "{group}": {factor:.3f},\n' for (of, group), factor in made.items() if of == held)
            parts.append(f"{name} = {{\n{lines}}}\n")
        TARGET.write_text(f"{text[:start]}{''.join(parts)}UNKNOWN = {extra:.3f}\n{text[end:]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
