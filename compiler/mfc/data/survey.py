"""Reading all rows of a spec's data once: each judged, the sound ones counted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from mfc.data import estimate, reading
from mfc.data.lines import Advance, Row
from mfc.data.pictures import Sight
from mfc.data.samples import MISSING, Sample, sample
from mfc.data.sources import Source
from mfc.data.tally import Tally
from mfc.data.turns import Fault

_BATCH = 256  # rows that are counted together
_CHARACTERS = 2**22  # and no more text than this


class Counter(Protocol):
    """What counts tokens."""

    @property
    def name(self) -> str:
        """How tokens are counted, in words."""

    @property
    def exact(self) -> bool:
        """Whether it is the model's own tokenizer that counts."""

    def lengths(self, samples: Sequence[Sample]) -> list[list[int] | Fault]:
        """For each sample the tokens of each of its sequences, or why it cannot be one."""


class Estimate(NamedTuple):
    """Counts by characters, at measured rates."""

    rates: estimate.Rates
    name: str = "estimated from characters by script"
    exact: bool = False

    def lengths(self, samples: Sequence[Sample]) -> list[list[int] | Fault]:
        """The tokens of each sequence, about."""
        return [[self._tokens(one, sequence) for sequence in one.sequences] for one in samples]

    def _tokens(self, one: Sample, sequence: Any) -> int:
        if isinstance(sequence, str):
            return max(round(estimate.tokens(sequence, self.rates)), 1)
        total = sum(estimate.TURN + estimate.tokens(turn.text, self.rates) for turn in sequence)
        return round(total + (estimate.tokens(str(one.tools), self.rates) if one.tools else 0))


def survey(source: Source, counter: Counter, sight: Sight | None, advance: Advance) -> Tally:
    """Read the files of one data set; `sight` counts the tokens of images. Raises SpecError for an unreadable file."""
    tally = Tally()
    waiting: list[tuple[str, str, Sample]] = []
    size = 0
    for file, row in _rows(source, advance):
        tally.rows += 1
        made = Sample(faults=(row.fault,)) if row.fault else sample(row.value, source.layout)
        faults = (*made.faults, *_missing(made, source))
        if faults:
            tally.blame(file, row.place, faults)
            if not tally.columns and isinstance(row.value, dict) and faults[0].kind == MISSING:
                tally.columns = tuple(row.value)
            continue
        waiting.append((file, row.place, made))
        size += sum(len(text) if isinstance(text, str) else sum(len(t.text) for t in text) for text in made.sequences)
        if len(waiting) == _BATCH or size > _CHARACTERS:
            _count(tally, waiting, counter, source, sight)
            waiting, size = [], 0
    _count(tally, waiting, counter, source, sight)
    return tally


def _rows(source: Source, advance: Advance) -> Iterator[tuple[str, Row]]:
    for path in source.files:
        for row in reading.rows(path, advance):
            yield str(path), row


def _count(
    tally: Tally,
    waiting: Sequence[tuple[str, str, Sample]],
    counter: Counter,
    source: Source,
    sight: Sight | None,
) -> None:
    found = counter.lengths([made for _, _, made in waiting])
    for (file, place, made), counted in zip(waiting, found, strict=True):
        if isinstance(counted, Fault):
            tally.blame(file, place, [counted])
            continue
        seen = sum(sight(image, source.folders) for image in made.images) if sight else 0
        lengths = [length + seen for length in counted]
        tally.lengths.update(lengths)
        if max(lengths) > tally.longest[0]:
            tally.longest = (max(lengths), file, place)
        if made.images:
            tally.images[len(made.images)] += 1


def _missing(made: Sample, source: Source) -> Iterator[Fault]:
    """Images that are paths to nothing."""
    for image in made.images:
        path = image.get("path") if isinstance(image, dict) and not image.get("bytes") else image
        if isinstance(path, str) and not path.startswith(("http://", "https://", "data:")):
            if not any(os.path.isfile(folder / path) for folder in source.folders):
                yield Fault("missing image", f"there is no {path:.200}")
        elif not isinstance(image, (dict, bytes, str)):
            yield Fault("wrong type", "an image is neither a path nor its bytes")
