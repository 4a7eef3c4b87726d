"""From a spec to the account of its data."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mfc import api
from mfc.data import estimate, tokenizer
from mfc.data.epoch import epoch
from mfc.data.lines import Advance
from mfc.data.show import Account
from mfc.data.sources import EVAL, Source, sources
from mfc.data.summary import mixed, summarise
from mfc.data.survey import Counter, Estimate, survey
from mfc.errors import MfcError, SpecError
from mfc.lengths import Lengths, measured
from mfc.plans import attempt
from mfc.resolve import resolve
from mfc.spec.inputs import LengthsSpec

if TYPE_CHECKING:
    from mfc.data.tally import Tally
    from mfc.spec.load import LoadedSpec

_LARGE = 1 << 17  # the vocabulary of a model that is not known: most of today's are about so large
Progress = Callable[[int], AbstractContextManager[Advance]]  # for so many bytes


def account(loaded: LoadedSpec, target: str | None, tokens_by: Path | None, progress: Progress) -> Account:
    """Read the data of a spec, and say what it is and what it means for the run.

    `tokens_by` is a tokenizer.json or its folder, None = that of the model. Raises SpecError where there is nothing to
    read.
    """
    found, notes = sources(loaded)
    training = [source for source in found if source.field != EVAL]
    if not training:
        raise SpecError(f"{loaded.name}: error: {'; '.join(notes) or 'it names no data: say data: train.jsonl'}")
    counter = _counter(loaded, tokens_by, notes)
    sizes = {source.field: sum(path.stat().st_size for path in source.files) for source in found}
    with progress(sum(sizes.values())) as advance:
        tallies = {source.field: survey(source, counter, advance) for source in found}
    weighed = [(tallies[source.field], source.weight) for source in training]
    counts, rows = mixed(weighed), sum(_drawn(source, tallies[source.field]) for source in training)
    plan = attempt(lambda: api.plan(_with(loaded, measured(counts) if counts else None, rows, counter.exact), target))
    if isinstance(plan, MfcError):
        notes.append(f"without a plan neither steps nor hours are known: {str(plan).partition(chr(10))[0]}")
    limit = None if isinstance(plan, MfcError) else plan.strategy.max_length
    summary = summarise(weighed, limit)
    return Account(
        spec=loaded.name,
        task=loaded.spec.train.task,
        files=tuple(str(path) for source in training for path in source.files),
        size=sum(sizes[source.field] for source in training),
        summary=summary,
        evaluation=summarise([(tallies[EVAL], 1.0)], limit) if EVAL in tallies else None,
        counter=counter.name,
        exact=counter.exact,
        rows=rows,
        epoch=None if isinstance(plan, MfcError) else epoch(plan, summary, rows),
        notes=tuple(notes),
    )


def _with(loaded: LoadedSpec, lengths: Lengths | None, rows: int, exact: bool) -> LoadedSpec:
    """The spec as it would be with these lengths written into it."""
    if lengths is None:
        return loaded
    block = LengthsSpec(
        samples=max(rows, 1),
        quantiles=lengths.quantiles,
        tokens="counted" if exact else "estimated",
        file_bytes=0,
        sha256="0" * 64,
    )
    data = loaded.spec.data.model_copy(update={"lengths": block})
    return replace(loaded, spec=loaded.spec.model_copy(update={"data": data}))


def _counter(loaded: LoadedSpec, given: Path | None, notes: list[str]) -> Counter:
    """The model's own tokenizer, where it is to be had; else an estimate, and a note that says how to do better."""
    path = given / "tokenizer.json" if given and os.path.isdir(given) else given or tokenizer.find(loaded)
    try:
        if path is not None:
            return tokenizer.Tokenizer(path)
        notes.append(
            f"tokens are estimated: no tokenizer.json of {loaded.spec.model.id} lies on this machine, neither in its "
            "folder nor in the Hugging Face cache; --tokenizer PATH names one"
        )
    except SpecError as error:
        if given is not None:
            raise
        notes.append(f"tokens are estimated: {error}")
    problem = attempt(lambda: resolve(loaded, hub_cache=True))
    return Estimate(estimate.rates(_LARGE if isinstance(problem, MfcError) else problem.model.architecture.vocab))


def _drawn(source: Source, tally: Tally) -> int:
    good = tally.rows - tally.bad
    return good if source.samples is None else min(source.samples, good)
