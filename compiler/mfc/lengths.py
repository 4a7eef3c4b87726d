"""How long the samples of a data set are: the distribution that a spec holds, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

# Where the distribution is known: these shares of samples, in percent, are at most so long. The tail is what decides
# memory and padding, so it is known better than the rest.
PERCENTS = (0.0, *(5.0 * step for step in range(1, 20)), 98.0, 99.0, 99.9, 100.0)
POINTS = 256  # lengths that stand for the distribution when it is integrated


class Lengths(NamedTuple):
    """Tokens, at least 1, of the shortest to the longest sample, at PERCENTS.

    In between they grow by a constant factor, for the tails of real lengths thin out: 24 numbers then give the longest
    of a micro-batch within 4 % (tests/data/test_summary.py).
    """

    quantiles: tuple[int, ...]
    dropped: bool = False  # samples longer than the limit are left out; else they are cut

    @property
    def longest(self) -> int:
        """Tokens of the longest sample."""
        return self.quantiles[-1]

    def at(self, share: float) -> float:
        """The length that this share of samples does not exceed."""
        percent = 100 * share
        number = next((number for number, upper in enumerate(PERCENTS) if percent <= upper), len(PERCENTS) - 1)
        if number == 0:
            return self.quantiles[0]
        below, above = PERCENTS[number - 1], PERCENTS[number]
        low, high = self.quantiles[number - 1], self.quantiles[number]
        return float(low * (high / low) ** ((percent - below) / (above - below)))

    def within(self, limit: float) -> float:
        """The share of samples that have at most `limit` tokens."""
        if limit >= self.longest:
            return 1.0
        if limit < self.quantiles[0]:
            return 0.0
        number = next(number for number, high in enumerate(self.quantiles) if high > limit)
        below, above = PERCENTS[number - 1], PERCENTS[number]
        low, high = self.quantiles[number - 1], self.quantiles[number]
        return (below + (above - below) * math.log(limit / low) / math.log(high / low)) / 100

    def mean(self, limit: float = math.inf) -> float:
        """The mean length of samples that are cut at, or left out beyond, a limit."""
        return padded(self, limit, 1)[0]


@lru_cache(maxsize=4096)
def padded(lengths: Lengths, limit: float, rows: int) -> tuple[float, float]:
    """Tokens of the longest of `rows` samples: (their mean, their mean square over it, which attention sees)."""
    most = lengths.within(limit) if lengths.dropped else 1.0
    if most == 0.0:
        return limit, limit  # nothing would be left to train on
    first = second = 0.0
    for point in range(POINTS):
        length = min(lengths.at(most * ((point + 0.5) / POINTS) ** (1 / rows)), limit)
        first += length
        second += length * length
    return first / POINTS, second / first if first else 0.0


def measured(counts: Mapping[int, float]) -> Lengths:
    """The distribution of samples counted by their length; weights may be fractions. Raises ValueError for none."""
    total = sum(counts.values())
    if total <= 0:
        raise ValueError("no samples")
    ordered = sorted(counts)
    quantiles: list[int] = []
    reached, number = counts[ordered[0]], 0
    for percent in PERCENTS:
        # The smallest length that so many samples do not exceed; a hair less, for sums of fractions.
        while reached < total * percent / 100 * (1 - 1e-12) and number < len(ordered) - 1:
            number += 1
            reached += counts[ordered[number]]
        quantiles.append(max(ordered[number], 1))
    return Lengths((*quantiles[:-1], max(ordered[-1], 1)))


def rising(values: Sequence[int]) -> bool:
    """Whether some lengths can be the quantiles of a distribution."""
    return len(values) == len(PERCENTS) and all(low <= high for low, high in pairwise(values))
