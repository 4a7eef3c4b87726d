"""Score the speed model against published throughput.

    python -m benchmarks.score.throughput [TRUTH.jsonl] [--json] [--rows]

Takes every row of kind "throughput" and grade A or B whose strategy mfc can express. Two scores, per source and as the
mean over sources:
- Kendall's tau between measured and predicted time, over pairs of rows that can be compared: the same data and the same
  unit of work, so that a mean length that nobody stated cancels out, and more than 2 % apart as measured.
- Median absolute error of the time, over rows whose token count is stated. Rows on data of estimated length (below) are
  shown apart, as "est".
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from mfc.catalog.gpu import Link
from mfc.speed import Machines, roofline

from benchmarks.score.models import Unsupported, architecture_of
from benchmarks.score.runs import gpu_of, stack_of
from benchmarks.score.strategies import strategy_of
from benchmarks.truth import ALL, TRUTH, Row, rows

# Mean tokens per row of a data set that a source names without a length.
ALPACA2K_MEAN = 280  # alpaca_2k_test, cut at 512: our estimate, outside the model
ALPACA_MEAN = 130  # instruction, template and answer: our estimate, outside the model
METAMATH_MEAN = 210  # published in the runs' own result files: 4198051 tokens in 20000 samples
FUDAN_MEAN, FUDAN_DEVIATION = 3236.4, 2547.5  # published in ms-swift's list of data sets; a gamma density is assumed


@dataclass(frozen=True, slots=True)
class Case:
    """One row, as measured and as predicted: seconds for the same amount of work."""

    id: str
    source: str
    group: str  # rows of one group can be ranked against each other
    measured: float
    predicted: float
    stated: bool  # the token count is stated, not estimated
    offloads: bool  # states lie on the host

    @property
    def error(self) -> float:
        return abs(self.predicted / self.measured - 1)


def case(row: Row) -> Case:
    """The row with its prediction. Raises Unsupported."""
    if row["grade"] not in ("A", "B") or row.get("exclude_from_scoring"):
        raise Unsupported("grade C, or excluded by the data")
    notes = str(row.get("notes"))
    if "float8" in notes:
        raise Unsupported("float8")
    strategy, machines = strategy_of(row), _machines(row)
    measured, unit = _measured(row)
    mean, stated = _length(row)
    if strategy.lora and "use_dora=True" in notes:
        strategy = strategy._replace(lora=replace(strategy.lora, variant="dora"))
    if "1304 chars" in str(row["seq_kind"]):  # rows of a batch come sorted by length: next to no padding
        strategy = strategy._replace(max_length=round(mean))
    own_attention = re.search("model code|flag ignored", str(row["attn_impl"]))  # the model's own: SDPA with a mask
    if own_attention and strategy.attention != "eager":
        strategy = strategy._replace(attention="sdpa")
    model = roofline.prepare(architecture_of(row), strategy, machines, mean_tokens=mean, stack=stack_of(row))
    if own_attention:
        model = model._replace(context=model.masked)
    speed = model.speed()
    predicted = {
        "token": 1 / speed.tokens_per_second,
        "sample": mean / speed.tokens_per_second,
        "micro-batch": speed.seconds_per_step / strategy.gradient_accumulation,
        "step": speed.seconds_per_step,
    }[unit]
    return Case(
        row["id"],
        row["source_id"],
        f"{unit}, {row['packing']}, {row['seq_kind']}",
        measured,
        predicted,
        stated,
        strategy.offload_optimizer != "none" or strategy.offload_parameters != "none",
    )


def _measured(row: Row) -> tuple[float, str]:
    """Seconds per unit of work, and the unit."""
    found = row["throughput"]
    match found:
        case {"tokens_per_s": rate} | {"tokens_per_s_total": rate}:
            return 1 / rate, "token"
        case {"tokens_per_s_per_gpu": rate}:
            return 1 / rate / row["num_gpus"], "token"
        case {"samples_per_s": rate}:
            return 1 / rate, "sample"
        case {"minutes_total": minutes, "epochs": epochs}:
            return minutes * 60 / epochs / 2000, "sample"  # Alpaca2k has 2000 rows
        case {"min_per_1k_iters": minutes}:
            return minutes * 60 / 1000, "micro-batch"
        case {"s_per_iter_microbatch": seconds}:
            return seconds, "micro-batch"
        case {"s_per_iter": seconds} if row["grad_accum"]:
            return seconds, "step"
    raise Unsupported("no figure that its conditions explain")


def _length(row: Row) -> tuple[float, bool]:
    """Mean tokens of a sequence, and whether the row says it."""
    kind, limit = str(row["seq_kind"]), row["seq_len"]
    if "fudan" in kind:
        return _cut_gamma(FUDAN_MEAN, FUDAN_DEVIATION, limit), False
    if "Alpaca2k" in kind:
        return ALPACA2K_MEAN, False
    if "Alpaca" in kind:
        return ALPACA_MEAN, False
    if "1304 chars" in kind:
        return METAMATH_MEAN, True
    if "upper bound" in kind or "max_length 2048" in kind:
        return limit, False
    return limit, True


def _cut_gamma(mean: float, deviation: float, limit: float, points: int = 1000) -> float:
    """Mean of the values below `limit`."""
    shape, scale = (mean / deviation) ** 2, deviation**2 / mean
    lengths = [limit * (point + 0.5) / points for point in range(points)]
    density = [length ** (shape - 1) * math.exp(-length / scale) for length in lengths]
    return math.fsum(length * share for length, share in zip(lengths, density, strict=True)) / math.fsum(density)


def _machines(row: Row) -> Machines:
    gpu = gpu_of(row)
    if gpu is None or re.search("assumed|unknown", str(row["gpu"])):
        raise Unsupported("GPU not stated")
    nodes = max(row["nodes"] or 1, math.ceil(row["num_gpus"] / 8))
    inter = Link("network", 400e9) if nodes > 1 else None  # eight 400 Gbit/s ports a node: assumption
    return Machines(gpu, row["num_gpus"] // nodes, nodes, inter=inter)


REPEAT = 0.02  # one configuration measured twice differs by up to so much: closer rows have no order


def kendall(pairs: Iterable[tuple[Case, Case]]) -> float | None:
    """Concordant less discordant pairs, as a share of those that the measurement orders; a predicted tie is neither."""
    ordered = score = 0
    for a, b in pairs:
        if measured := _order(a.measured, b.measured, REPEAT):
            ordered += 1
            score += measured * _order(a.predicted, b.predicted)
    return score / ordered if ordered else None


def _order(a: float, b: float, tie: float = 1e-9) -> int:
    if abs(a / b - 1) < tie:
        return 0
    return 1 if a > b else -1


def comparable(cases: Iterable[Case]) -> Iterator[tuple[Case, Case]]:
    """Pairs of rows of one group."""
    return ((a, b) for a, b in combinations(cases, 2) if a.group == b.group)


def doubt(cases: Iterable[Case]) -> float:
    """How much longer runs that offload take than the model says, as against runs of their source that do not.

    Of each source with both kinds the medians of measured over predicted are compared; the largest ratio counts. So
    what a source's machines and loop do to all of its runs cancels out.
    """
    found: dict[str, dict[bool, list[float]]] = {}
    for each in cases:
        found.setdefault(each.source, {True: [], False: []})[each.offloads].append(each.measured / each.predicted)
    both = [kinds for kinds in found.values() if kinds[True] and kinds[False]]
    return max((statistics.median(kinds[True]) / statistics.median(kinds[False]) for kinds in both), default=1.0)


def report(cases: list[Case]) -> dict[str, Any]:
    """The scores per source, and their mean over sources under `macro`."""
    sources: dict[str, Any] = {}
    for source in sorted({each.source for each in cases}):
        own = [each for each in cases if each.source == source]
        stated = [each.error for each in own if each.stated]
        estimated = [each.error for each in own if not each.stated]
        sources[source] = {
            "rows": len(own),
            "kendall_tau": kendall(comparable(own)),
            "median_abs_error_pct": 100 * statistics.median(stated) if stated else None,
            "estimated_length_error_pct": 100 * statistics.median(estimated) if estimated else None,
        }
    macro = {}
    for name in ("kendall_tau", "median_abs_error_pct", "estimated_length_error_pct"):
        found = [each[name] for each in sources.values() if each[name] is not None]
        macro[name] = statistics.mean(found) if found else None
    return {"macro": macro, "sources": sources}


def read(path: Path) -> tuple[list[Case], dict[str, int]]:
    """The cases of a truth file, and how many rows were left out for which reason."""
    cases, skipped = [], dict[str, int]()
    for row in rows(path):
        if row["kind"] == "throughput":
            try:
                cases.append(case(row))
            except Unsupported as why:
                skipped[str(why)] = skipped.get(str(why), 0) + 1
    return cases, skipped


def main(arguments: list[str]) -> None:
    """Print the scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("truth", nargs="?", type=Path, default=TRUTH)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", action="store_true", help="also print every row")
    options = parser.parse_args(arguments)
    cases, skipped = read(options.truth)
    scores = report(cases)
    doubtful = doubt(each for path in ALL for each in read(path)[0])
    if options.json:
        print(json.dumps(scores | {"skipped": skipped, "offload_doubt": doubtful}, indent=2))
        return
    if options.rows:
        for each in cases:
            print(f"{each.predicted / each.measured:6.2f}  {each.id}")
    print(f"{'source':20} {'rows':>5} {'tau':>6} {'median':>8} {'est':>8}")
    for name, each in (*scores["sources"].items(), ("macro", scores["macro"])):
        tau, error, estimated = (
            each[key] for key in ("kendall_tau", "median_abs_error_pct", "estimated_length_error_pct")
        )
        print(
            f"{name:20} {each.get('rows', len(cases)):5}"
            f" {'-' if tau is None else f'{tau:.2f}':>6}"
            f" {'-' if error is None else f'{error:.1f}%':>8}"
            f" {'-' if estimated is None else f'{estimated:.1f}%':>8}"
        )
    print(f"offload takes up to {doubtful:.2f} times as long as runs without, by all files")
    print("left out:", ", ".join(f"{why} ({number})" for why, number in sorted(skipped.items())))


if __name__ == "__main__":
    main(sys.argv[1:])
