"""What the lengths of a data set mean for a run: pure arithmetic on counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mfc.data.tally import Found, Tally
from mfc.lengths import Lengths, measured

MICRO_BATCHES = (2, 4, 8)
_FIRST_BIN = 16  # tokens
_BARS = 24


class Cut(NamedTuple):
    """What a limit does: the shares of sequences that are longer, and of tokens that are lost with them."""

    max_length: int
    sequences: float
    tokens: float


class Bin(NamedTuple):
    """Sequences of more than `above` and up to `to` tokens, as a share of all."""

    above: int
    to: int
    share: float


class Summary(NamedTuple):
    """All that is said of the data. Lengths are in tokens; a pair counts as two sequences."""

    rows: int
    bad: int
    kinds: Mapping[str, int]  # bad rows by what is wrong with them
    first: tuple[Found, ...]
    sequences: int
    tokens: int
    mean: float
    median: int
    p90: int
    p99: int
    longest_at: str  # file and place
    lengths: Lengths | None  # None where no row could be counted
    histogram: tuple[Bin, ...]
    cuts: tuple[Cut, ...]
    max_length: int  # that padding and packing are of
    padding: Mapping[int, float]  # micro-batch -> share of it that is padding
    packed_rows: int  # of max_length, that would hold all
    images: Mapping[int, int]  # samples by how many images they hold


def mixed(tallies: Sequence[tuple[Tally, float]]) -> Mapping[int, float]:
    """The lengths of several data sets as training meets them: as they are, or by weight where weights differ."""
    weights = {weight for _, weight in tallies}
    total: Counter[int] = Counter()
    if len(weights) == 1:
        for tally, _ in tallies:
            total.update(tally.lengths)
        return total
    mix: dict[int, float] = {}
    for tally, weight in tallies:
        whole = tally.lengths.total()
        for length, count in tally.lengths.items():
            mix[length] = mix.get(length, 0.0) + weight * count / whole
    return mix


def summarise(tallies: Sequence[tuple[Tally, float]], limit: int | None) -> Summary:
    """The whole account of data sets with their weights; `limit` is the run's max_length, None where it is open."""
    counts = mixed(tallies)
    every = [tally for tally, _ in tallies]
    kinds: Counter[str] = sum((tally.kinds for tally in every), Counter())
    images: Counter[int] = sum((tally.images for tally in every), Counter())
    lengths = measured(counts) if counts else None
    longest = lengths.longest if lengths else 1
    most = limit or longest
    total = math.fsum(counts.values()) or 1.0
    return Summary(
        rows=sum(tally.rows for tally in every),
        bad=sum(tally.bad for tally in every),
        kinds=dict(kinds.most_common()),
        first=tuple(found for tally in every for found in tally.first),
        sequences=sum(tally.lengths.total() for tally in every),
        tokens=sum(length * count for tally in every for length, count in tally.lengths.items()),
        mean=math.fsum(length * count for length, count in counts.items()) / total,
        median=quantile(counts, 0.5),
        p90=quantile(counts, 0.9),
        p99=quantile(counts, 0.99),
        longest_at=": ".join(max(tally.longest for tally in every)[1:]),
        lengths=lengths,
        histogram=histogram(counts),
        cuts=tuple(cut(counts, limit) for limit in _limits(longest, limit)) if counts else (),
        max_length=most,
        padding={rows: padding(counts, most, rows) for rows in MICRO_BATCHES},
        packed_rows=packed(every, most),
        images=dict(sorted(images.items())),
    )


def quantile(counts: Mapping[int, float], share: float) -> int:
    """The smallest length that this share of sequences does not exceed; 0 for none."""
    need, reached = share * math.fsum(counts.values()) * (1 - 1e-12), 0.0
    for length in sorted(counts):
        reached += counts[length]
        if reached >= need:
            return length
    return max(counts, default=0)


def cut(counts: Mapping[int, float], limit: int) -> Cut:
    """What is longer than a limit, and how much of it is lost when it is cut there."""
    longer = math.fsum(count for length, count in counts.items() if length > limit)
    lost = math.fsum((length - limit) * count for length, count in counts.items() if length > limit)
    tokens = math.fsum(length * count for length, count in counts.items())
    return Cut(limit, longer / math.fsum(counts.values()), lost / tokens if tokens else 0.0)


def padding(counts: Mapping[int, float], limit: int, rows: int) -> float:
    """The share of padding in micro-batches of `rows` sequences drawn at random, each padded to its longest."""
    total = math.fsum(counts.values())
    reached = mean = longest = 0.0
    for length in sorted(counts):
        before, reached = reached, reached + counts[length]
        cut_at = min(length, limit)
        mean += cut_at * counts[length] / total
        longest += cut_at * ((reached / total) ** rows - (before / total) ** rows)
    return max(1 - mean / longest, 0.0) if longest else 0.0


def packed(tallies: Sequence[Tally], limit: int) -> int:
    """Rows of `limit` tokens that would hold all sequences, were none of them split or left a gap."""
    tokens = sum(min(length, limit) * count for tally in tallies for length, count in tally.lengths.items())
    return -(-tokens // limit)


def histogram(counts: Mapping[int, float]) -> tuple[Bin, ...]:
    """Shares by length, in bins each twice as wide as the one before."""
    total, bins, above, to = math.fsum(counts.values()), list[Bin](), 0, _FIRST_BIN
    longest = max(counts, default=0)
    while above < longest:
        inside = math.fsum(count for length, count in counts.items() if above < length <= to)
        if bins or inside:
            bins.append(Bin(above, to, inside / total))
        above, to = to, 2 * to
    return tuple(bins)


def _limits(longest: int, limit: int | None) -> list[int]:
    """The limits worth a line: powers of two up to what cuts nothing, and the run's own."""
    powers = [512]
    while powers[-1] < longest:
        powers.append(2 * powers[-1])
    return sorted({*powers[-6:], *([limit] if limit else [])})
