"""Which models of the catalogue some cards can train, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mfc.size.attempts import Attempts, Fitting

if TYPE_CHECKING:
    from mfc.catalog.models import Entry
    from mfc.spec.load import LoadedSpec


def candidates(named: Sequence[str]) -> list[Entry]:
    """The models to ask about: those whose id contains one of the names, else all. Of one shape it is the first."""
    from mfc.catalog import models

    found: dict[Any, Entry] = {}
    for entry in models.all_models():
        if not named or any(one.lower() in entry.id.lower() for one in named):
            found.setdefault((entry.architecture, entry.quantization), entry)
    return list(found.values())


def trainable(loaded: LoadedSpec, attempts: Attempts, entries: Sequence[Entry]) -> Iterator[Fitting | None]:
    """For each model how it can be trained, one after the other; None where it cannot.

    Unless the spec names a method, it is the most faithful that fits.
    """
    method = {} if "train.method" in loaded.pinned else {"train.method": "auto"}
    for entry in entries:
        yield attempts.best({"model": entry.id, **method})


def ranked(found: Sequence[Fitting]) -> list[Fitting]:
    """The largest first."""
    return sorted(found, key=lambda one: (-one.parameters, one.seconds_per_step, one.model))
