"""From a spec to the account of its data."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfc import api
from mfc import rows as rows_of
from mfc.data import estimate, tokenizer
from mfc.data.lines import Advance
from mfc.data.pictures import Sight, head_of, pixels
from mfc.data.samples import GENERATES, MISSING
from mfc.data.show import Account
from mfc.data.sources import EVAL, Source, sources
from mfc.data.summary import mixed, summarise
from mfc.data.survey import Counter, Estimate, survey
from mfc.errors import MfcError, SpecError
from mfc.lengths import Lengths, measured
from mfc.plans import attempt
from mfc.report.bill import bill
from mfc.report.prices import prices
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
    counter, sight = _counter(loaded, tokens_by, notes), _sight(loaded, target)
    sizes = {source.field: sum(path.stat().st_size for path in source.files) for source in found}
    with progress(sum(sizes.values())) as advance:
        tallies = {source.field: survey(source, counter, sight, advance) for source in found}
    notes += [hint for source in found if (hint := _other_format(source, tallies[source.field]))]
    exact = counter.exact and not _unseen(loaded, [*tallies.values()], sight, notes)
    weighed = [(tallies[source.field], source.weight) for source in training]
    counts, rows = mixed(weighed), sum(_drawn(source, tallies[source.field]) for source in training)
    plan = attempt(lambda: api.plan(_with(loaded, measured(counts) if counts else None, rows, exact), target))
    limit, price = None, None
    if isinstance(plan, MfcError):
        notes.append(f"without a plan neither steps nor hours are known: {str(plan).partition(chr(10))[0]}")
    else:
        limit = plan.values["max_prompt_length" if loaded.spec.train.task in GENERATES else "max_length"]
        known = prices(loaded) if loaded.spec.hardware.price is not None else {}
        price = known.get(plan.problem.hardware.gpu.name)
    return Account(
        spec=loaded.name,
        task=loaded.spec.train.task,
        files=tuple(str(path) for source in training for path in source.files),
        size=sum(sizes[source.field] for source in training),
        summary=summarise(weighed, limit),
        evaluation=summarise([(tallies[EVAL], 1.0)], limit) if EVAL in tallies else None,
        counter=counter.name,
        exact=exact,
        rows=rows,
        plan=None if isinstance(plan, MfcError) else plan,
        bill=None if isinstance(plan, MfcError) or not plan.fits or not counts else bill(plan, price),
        notes=tuple(notes),
    )


def _sight(loaded: LoadedSpec, target: str | None) -> Sight | None:
    """What an image takes in tokens; None where the model sees none, or nobody knows."""
    problem = attempt(lambda: resolve(loaded, hub_cache=True))
    if isinstance(problem, MfcError) or (vision := problem.model.architecture.vision) is None:
        return None
    plan = attempt(lambda: api.plan(loaded, target))
    most = None if isinstance(plan, MfcError) else plan.values["image_max_pixels"]
    if most is None:
        return None

    def tokens(image: Any, folders: tuple[Path, ...]) -> int:
        return vision.tokens(min(pixels(head_of(image, folders)) or most, most))

    return tokens


def _other_format(source: Source, tally: Tally) -> str:
    """Which format the rows have instead, where most of them lack a column of theirs."""
    if not tally.columns or 2 * tally.kinds[MISSING] < tally.rows:
        return ""
    if not (fitting := [form for form in rows_of.like(tally.columns) if form != source.layout.form]):
        return ""
    here, other = source.files[0], fitting[0]
    looks = f"they look like {other}: say format: {other} under data"
    return f"the rows of {here} are not of format {source.layout.form}; {looks}"


def _unseen(loaded: LoadedSpec, tallies: Sequence[Tally], sight: Sight | None, notes: list[str]) -> bool:
    """Whether rows hold what counts no tokens here, and a note of it."""
    videos = loaded.spec.data.image.frames or any(one.columns.videos for one in loaded.spec.data.train)
    images = sight is None and any(tally.images for tally in tallies)
    if videos or images:
        notes.append(
            f"{'videos' if videos else 'images'} are not counted: rows that hold them are longer than told here"
        )
    return bool(videos or images)


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
            f"folder nor in the Hugging Face cache (hf download {loaded.spec.model.id} tokenizer.json "
            "tokenizer_config.json brings it there); --tokenizer PATH names one"
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
