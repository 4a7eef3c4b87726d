"""A small set of runs in which every two values of two factors meet."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

Run = dict[str, str]  # a value for each factor


def fits(run: Mapping[str, str], when: Mapping[str, str | Sequence[str]]) -> bool:
    """Whether a run has all the values that `when` names, each one or any of a list."""
    return all(run[factor] in ([value] if isinstance(value, str) else value) for factor, value in when.items())


def possible(factors: Mapping[str, Sequence[str]], never: Sequence[Mapping[str, str | Sequence[str]]]) -> list[Run]:
    """Every combination of values, but for those that `never` describes."""
    combined = (dict(zip(factors, values, strict=True)) for values in itertools.product(*factors.values()))
    return [run for run in combined if not any(fits(run, when) for when in never)]


def pairs(run: Mapping[str, str]) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    """The pairs of values that meet in a run."""
    return set(itertools.combinations(run.items(), 2))


def cover(runs: Sequence[Run]) -> list[Run]:
    """Few of the runs, in which all pairs meet that meet in any: the one with the most new pairs, again and again.

    Ties go to the run whose values were drawn least so far, then to the first; the same ones every time.
    """
    bits = {pair: 1 << number for number, pair in enumerate(sorted(set().union(*map(pairs, runs))))}
    masks = [sum(bits[pair] for pair in pairs(run)) for run in runs]
    left, drawn, count = sum(bits.values()), [], dict.fromkeys(itertools.chain(*(run.items() for run in runs)), 0)
    while left:
        gains = [(mask & left).bit_count() for mask in masks]
        best = max(gains)
        ties = [number for number, gain in enumerate(gains) if gain == best]
        chosen = min(ties, key=lambda number: sum(count[value] for value in runs[number].items()))
        left &= ~masks[chosen]
        drawn.append(runs[chosen])
        for value in runs[chosen].items():
            count[value] += 1
    return drawn
