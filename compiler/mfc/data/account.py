"""From a spec to the account of its data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from mfc import api
from mfc.data import estimate
from mfc.data.epoch import epoch
from mfc.data.lines import Advance
from mfc.data.show import Account
from mfc.data.sources import EVAL, Source, sources
from mfc.data.summary import summarise
from mfc.data.survey import Estimate, survey
from mfc.errors import MfcError, SpecError
from mfc.plans import attempt

if TYPE_CHECKING:
    from mfc.data.tally import Tally
    from mfc.planner.plan import Plan
    from mfc.spec.load import LoadedSpec

Progress = Callable[[int], AbstractContextManager[Advance]]  # for so many bytes


def account(loaded: LoadedSpec, target: str | None, progress: Progress) -> Account:
    """Read the data of a spec, and say what it is and what it means for the run.

    Raises SpecError where there is nothing to read.
    """
    found, notes = sources(loaded)
    training = [source for source in found if source.field != EVAL]
    if not training:
        raise SpecError(f"{loaded.name}: error: {'; '.join(notes) or 'it names no data: say data: train.jsonl'}")
    plan, counter = _plan(loaded, target), Estimate(estimate.rates(1 << 17))
    if isinstance(plan, MfcError):
        notes.append(f"without a plan neither steps nor hours are known: {str(plan).partition(chr(10))[0]}")
    else:
        counter = Estimate(estimate.rates(plan.problem.model.architecture.vocab))
    size = sum(path.stat().st_size for source in found for path in source.files)
    with progress(size) as advance:
        tallies = {source.field: survey(source, counter, advance) for source in found}
    limit = None if isinstance(plan, MfcError) else plan.strategy.max_length
    summary = summarise([(tallies[source.field], source.weight) for source in training], limit)
    held = [tallies[source.field] for source in found if source.field == EVAL]
    rows = sum(_drawn(source, tallies[source.field]) for source in training)
    return Account(
        spec=loaded.name,
        task=loaded.spec.train.task,
        files=tuple(str(path) for source in training for path in source.files),
        size=size,
        summary=summary,
        evaluation=summarise([(tally, 1.0) for tally in held], limit) if held else None,
        counter=counter.name,
        exact=counter.exact,
        epoch=None if isinstance(plan, MfcError) else epoch(plan, summary, rows),
        notes=tuple(notes),
    )


def _plan(loaded: LoadedSpec, target: str | None) -> Plan | MfcError:
    return attempt(lambda: api.plan(loaded, target))


def _drawn(source: Source, tally: Tally) -> int:
    good = tally.rows - tally.bad
    return good if source.samples is None else min(source.samples, good)
