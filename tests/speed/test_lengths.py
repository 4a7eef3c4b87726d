"""The longest row of a batch, from the mean and the limit alone."""

from __future__ import annotations

import pytest
from mfc.speed.lengths import padded


@pytest.mark.parametrize("mean", [10, 300, 1000, 1500, 2040])
def test_lies_between_the_mean_and_the_limit(mean: int) -> None:
    longest = [padded(mean, 2048, rows)[0] for rows in (1, 2, 4, 16, 64)]
    assert longest[0] == mean
    assert longest == sorted(longest)
    assert longest[-1] <= 2048


def test_short_rows_grow_as_the_harmonic_numbers_do() -> None:
    # far below the limit the density is exponential, and the longest of n is 1 + 1/2 + … + 1/n times the mean
    assert padded(100, 100_000, 4)[0] == pytest.approx(100 * (1 + 1 / 2 + 1 / 3 + 1 / 4), rel=0.01)


def test_half_of_the_limit_is_uniform() -> None:
    longest, square = padded(1000, 2000, 3)
    assert longest == pytest.approx(2000 * 3 / 4, rel=0.01)
    assert square == pytest.approx((3 / 5) / (3 / 4) * 2000, rel=0.01)


def test_attention_sees_more_than_the_mean() -> None:
    length, square = padded(500, 4096, 1)
    assert 1.5 * length < square < 2 * length


def test_equal_rows_need_no_padding() -> None:
    assert padded(2048, 2048, 8) == (2048, 2048)
