"""Score the memory model against published measurements.

    python -m benchmarks.score.accuracy [ROWS.jsonl …] [--json] [--rows]

Two tables: loops that mfc's targets write files for, and others. Rows of grade A and B count. Allocated figures are
scored against the allocated prediction, reserved and nvidia-smi figures against the process prediction. Per source, as
the mean over sources with five rows or more ("macro"), and over all rows ("micro").
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfc.memory import Memory, predict

from benchmarks.score.models import Unsupported
from benchmarks.score.runs import gpu_of, run_of
from benchmarks.score.stacks import emitted
from benchmarks.truth import ALL, GIB, Row, rows

ENOUGH = 5  # rows of a source, measured or verdicts, for its figures to count in the mean over sources
FILLED = 0.99  # of a card, the most that an allocator was seen to hold: 79.2 of 80 GiB


@dataclass(frozen=True, slots=True)
class Case:
    """One scored row: GiB measured, predicted for the same metric, and the verdicts against the card."""

    id: str
    source: str
    emitted: bool  # by a loop that a target writes files for
    measured: float | None  # None: only known to fit, or to run out of memory
    predicted: float | None  # None: uncovered
    process: float | None
    needed: float | None  # the bound on what tensors need, on which `fits` rests
    upper: float | None  # the bound on what the process shows
    bounded: float | None  # the largest figure measured, that `upper` must cover
    capacity: float | None
    oom: bool
    why: str = ""
    memory: Memory | None = None

    @property
    def fits(self) -> bool | None:
        """Whether it fits by the prediction; None where nothing can be said."""
        return None if self.needed is None or self.capacity is None else self.needed <= self.capacity

    @property
    def error(self) -> float:
        """Signed, in percent."""
        return 100 * ((self.predicted or 0) / (self.measured or 1) - 1)


def case(row: Row) -> Case | None:
    """The scored form of a row; None for rows that do not count."""
    kind = row.get("kind", "memory")
    if kind not in ("memory", "fits") or row.get("grade") not in ("A", "B") or row.get("exclude_from_scoring"):
        return None
    oom = bool(row.get("oom"))
    peak = row.get("peak_gib_per_gpu")
    allocated = row.get("peak_alloc_gib")
    metric = str(row.get("metric") or "").lower()
    by_metric = "allocated" in metric and "reserved" not in metric.split("allocated")[0]
    measured = None if oom or kind == "fits" else (allocated if allocated is not None else peak)
    if measured is None and not oom and kind != "fits":
        return None
    capacity = None if row.get("spills") else row.get("gpu_mem_gib")
    identity = (str(row.get("id")), str(row.get("source_id")), emitted(str(row.get("framework") or "")))
    try:
        run = run_of(row)
    except Unsupported as why:
        return Case(*identity, measured, None, None, None, None, None, capacity, oom, str(why))
    memory = predict(run)
    as_allocated = allocated is not None or by_metric
    # A peak is over the whole process, loading included; what loading holds outside tensors is the context.
    outside = memory.components["context"]
    trained = memory.allocated_bytes if as_allocated else memory.process_bytes
    predicted = max(trained, memory.load_gpu_bytes - (outside if as_allocated else 0)) / GIB
    process = max(memory.process_bytes, memory.load_gpu_bytes) / GIB
    gpu = gpu_of(row)
    # What a process shows: what tensors need, and free blocks as far as there was room.
    card = gpu.memory_bytes if gpu is not None else (row.get("gpu_mem_gib") or math.inf) * GIB
    held = min(memory.held_bytes, FILLED * card)
    needed = max(memory.upper_bytes, memory.load_gpu_bytes) / GIB
    upper = max(needed, held / GIB)
    if gpu is not None and capacity is not None:  # what the driver keeps, no program can have
        capacity = min(capacity, gpu.usable_bytes / GIB)
    return Case(
        *identity,
        measured,
        predicted if measured is not None else None,
        process,
        needed,
        upper,
        peak if measured is not None else None,
        capacity,
        oom,
        memory=memory,
    )


def _share(flags: Sequence[bool]) -> float | None:
    return 100 * sum(flags) / len(flags) if flags else None


def score(cases: Iterable[Case]) -> dict[str, float | int | None]:
    """All figures of one source."""
    every = list(cases)
    measured = [c for c in every if c.measured is not None]
    covered = [c for c in measured if c.predicted is not None]
    errors = [c.error for c in covered]
    small = [abs(error) for error in errors]
    verdicts = [(c.oom, c.fits) for c in every if c.fits is not None]
    return {
        "rows": len(measured),
        "covered": len(covered),
        "median_abs_error_pct": statistics.median(small) if small else None,
        "mean_abs_error_pct": statistics.fmean(small) if small else None,
        "within10_pct": _share([error <= 10 for error in small]),
        "useful_pct": 100 * sum(error <= 10 for error in small) / len(measured) if measured else None,
        "under10_pct": _share([error < -10 for error in errors]),
        "bias_pct": statistics.fmean(errors) if errors else None,
        "oom_missed_pct": _share([fits for oom, fits in verdicts if oom]),
        "good_refused_pct": _share([not fits for oom, fits in verdicts if not oom]),
        "bound_coverage_pct": _share([c.bounded <= c.upper for c in covered]),  # type: ignore[operator]
    }


def table(cases: Sequence[Case]) -> dict[str, Any]:
    """Figures by source, their mean over sources with enough rows, and those over all rows at once."""
    sources = sorted({c.source for c in cases})
    by_source = {source: score(c for c in cases if c.source == source) for source in sources}
    counted = {source: sum(c.source == source for c in cases) for source in sources}
    large = [figures for source, figures in by_source.items() if counted[source] >= ENOUGH]
    macro: dict[str, float | int | None] = {}
    for key in next(iter(by_source.values()), {}):
        values = [value for figures in large if (value := figures[key]) is not None]
        mean = statistics.fmean(values) if values else None
        macro[key] = sum(values) if key in ("rows", "covered") else mean
    return {"sources": by_source, "macro": macro, "micro": score(cases)}


def report(paths: Sequence[Path]) -> tuple[dict[str, dict[str, Any]], list[Case]]:
    """A table for loops that mfc writes files for and one for the others, and the cases of both."""
    cases = [made for path in paths for row in rows(path) if (made := case(row)) is not None]
    kinds = {"emitted": [c for c in cases if c.emitted], "others": [c for c in cases if not c.emitted]}
    return {kind: table(found) for kind, found in kinds.items() if found}, cases


COLUMNS = (
    ("rows", "rows"), ("covered", "cov"), ("median_abs_error_pct", "median"), ("mean_abs_error_pct", "mean"),
    ("within10_pct", "in10"), ("useful_pct", "useful"), ("under10_pct", "under10"), ("bias_pct", "bias"),
    ("oom_missed_pct", "oom miss"), ("good_refused_pct", "refused"), ("bound_coverage_pct", "bound"),
)  # fmt: skip


def _line(name: str, figures: dict[str, Any]) -> str:
    cells = [
        "-" if figures[key] is None else f"{figures[key]:.0f}" if key in ("rows", "covered") else f"{figures[key]:.1f}"
        for key, _ in COLUMNS
    ]
    return f"{name:26s}" + "".join(f"{cell:>9s}" for cell in cells)


def main() -> int:
    parser = argparse.ArgumentParser(description="Score the memory model against published measurements.")
    parser.add_argument("truth", nargs="*", type=Path, default=ALL)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument("--rows", action="store_true", help="print every row as well")
    options = parser.parse_args()
    tables, cases = report(options.truth)
    if options.json:
        print(json.dumps(tables, indent=1))
        return 0
    if not cases:
        print("no row of grade A or B says what memory a run took")
        return 0
    if options.rows:
        for c in cases:
            if c.measured is not None and c.predicted is not None and c.memory is not None:
                shown = f"{c.error:+7.1f}% {c.measured:7.2f} {c.predicted:7.2f} <{c.upper:6.1f}"
                print(f"{shown}  {c.memory.moment:26s} {c.id}")
            elif c.upper is None:
                print(f"uncovered ({c.why}) {c.id}")
            else:
                verdict = "ran out" if c.oom else "fits"
                print(f"{verdict:8s} process {c.process:7.2f} <{c.upper:6.1f} of {c.capacity}  {c.id}")
    for kind, found in tables.items():
        print(f"{kind:26s}" + "".join(f"{title:>9s}" for _, title in COLUMNS))
        for source, figures in found["sources"].items():
            print(_line(source, figures))
        print(_line("macro", found["macro"]))
        print(_line("micro", found["micro"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
