"""What is kept of rows that have passed: counts of lengths, and the first faults. Flat, however many rows there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mfc.data.turns import Fault

SHOWN = 10  # faults that are kept with their place


class Found(NamedTuple):
    """One fault and where it is."""

    file: str
    place: str
    fault: Fault


@dataclass(slots=True)
class Tally:
    """The rows of one data set. `lengths` counts sequences by their tokens."""

    rows: int = 0
    bad: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    first: list[Found] = field(default_factory=list)
    longest: tuple[int, str, str] = (0, "", "")  # tokens, file, place
    columns: tuple[str, ...] = ()  # of the first row that lacks one
    images: Counter[int] = field(default_factory=Counter)  # samples by how many images they hold

    def blame(self, file: str, place: str, faults: Sequence[Fault]) -> None:
        """Count a bad row, once for each kind of fault, and keep the first."""
        self.bad += 1
        self.kinds.update({fault.kind for fault in faults})
        self.first += [Found(file, place, fault) for fault in faults][: SHOWN - len(self.first)]
