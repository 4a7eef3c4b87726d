"""How long a padded micro-batch gets: the longest of its rows, when only their mean and their limit are known.

Where lengths were measured (`mfc.lengths`), those hold instead.

Lengths are taken to follow the distribution of largest entropy on 0 to the limit with that mean, which assumes nothing
else: an exponential, cut at the limit, which rises where the mean is above half of it. Nothing here is fitted.
"""

from __future__ import annotations

import math
from functools import lru_cache

POINTS = 64  # quantiles that stand for the distribution


@lru_cache(maxsize=4096)
def padded(mean: float, limit: float, rows: int) -> tuple[float, float]:
    """Tokens of the longest of `rows` sequences: (their mean, their mean square over it, which attention sees)."""
    if mean >= 0.999 * limit:
        return limit, limit
    decay = _decay(mean / limit)
    spread = math.expm1(-decay)
    first = second = 0.0
    for point in range(POINTS):
        quantile = ((point + 0.5) / POINTS) ** (1 / rows)
        length = -math.log1p(quantile * spread) / decay
        first += length
        second += length * length
    longest = limit * first / POINTS if rows > 1 else mean
    return longest, limit * second / first


@lru_cache(maxsize=1024)
def _decay(share: float) -> float:
    """The rate at which the density on 0 to 1 falls so that its mean is `share`."""
    low, high = -1000.0, 1e6
    if share >= 0.5:
        high = 0.0
    else:
        low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        if _mean(middle) > share:
            low = middle
        else:
            high = middle
    return (low + high) / 2 or 1e-9


def _mean(decay: float) -> float:
    if abs(decay) < 1e-6:
        return 0.5
    return 1 / decay - (1 / math.expm1(decay) if decay < 700 else 0.0)
