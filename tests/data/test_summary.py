"""The arithmetic on lengths, against what a simulation by hand gives."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from mfc.data import summary
from mfc.data.tally import Tally
from mfc.lengths import PERCENTS, measured, padded


def drawn(random_: random.Random, number: int = 4000) -> list[int]:
    return [max(int(random_.lognormvariate(5.5, 0.9)), 1) for _ in range(number)]


def test_cuts_padding_and_packing_are_what_they_are_by_hand() -> None:
    random_ = random.Random(1)
    lengths = drawn(random_)
    counts = Counter(lengths)
    for limit in (64, 256, 2048):
        found = summary.cut(counts, limit)
        assert found.sequences == pytest.approx(sum(length > limit for length in lengths) / len(lengths))
        assert found.tokens == pytest.approx(sum(max(length - limit, 0) for length in lengths) / sum(lengths))
        kept = [min(length, limit) for length in lengths]
        assert summary.packed([Tally(lengths=counts)], limit) == -(-sum(kept) // limit)
        for rows in (1, 2, 8):
            longest = sum(max(random_.choices(kept, k=rows)) for _ in range(20_000)) / 20_000
            padding = 1 - sum(kept) / len(kept) / longest
            assert summary.padding(counts, limit, rows) == pytest.approx(padding, abs=0.02)


def test_the_short_distribution_stands_for_the_long_one() -> None:
    """24 quantiles give the mean, and the longest of a micro-batch, to a few percent of what the counts give."""
    random_ = random.Random(2)
    for _ in range(5):
        lengths = drawn(random_)
        known = measured(Counter(lengths))
        assert len(known.quantiles) == len(PERCENTS)
        assert known.longest == max(lengths)
        for limit in (128, 512, 4096, 10**6):
            kept = [min(length, limit) for length in lengths]
            assert padded(known, limit, 1)[0] == pytest.approx(sum(kept) / len(kept), rel=0.03)
            share = sum(length <= limit for length in lengths) / len(lengths)
            assert known.within(limit) == pytest.approx(share, abs=0.01)
            longest = sum(kept) / len(kept) / (1 - summary.padding(Counter(lengths), limit, 4))
            assert padded(known, limit, 4)[0] == pytest.approx(longest, rel=0.04)


def test_quantiles_of_few_samples() -> None:
    for lengths in ([5], [1, 9], [3, 3, 3], [1, 2, 3, 4, 5]):
        known = measured(Counter(lengths))
        assert (known.quantiles[0], known.longest) == (min(lengths), max(lengths))
        assert all(length in lengths for length in known.quantiles)
        assert known.within(max(lengths)) == 1.0
        assert known.within(min(lengths) - 1) == 0.0
    with pytest.raises(ValueError, match="no samples"):
        measured({})


def test_weights_mix_the_sets() -> None:
    short, long = Tally(lengths=Counter({10: 90})), Tally(lengths=Counter({100: 10}))
    assert summary.mixed([(short, 1.0), (long, 1.0)]) == {10: 90, 100: 10}
    assert summary.mixed([(short, 1.0), (long, 3.0)]) == {10: 1.0, 100: 3.0}
    assert summary.mixed([(Tally(), 1.0), (long, 3.0)]) == {100: 3.0}


def test_nothing_is_counted_of_nothing() -> None:
    made = summary.summarise([(Tally(rows=3, bad=3), 1.0)], 2048)
    assert (made.sequences, made.tokens, made.lengths, made.cuts, made.packed_rows) == (0, 0, None, (), 0)
