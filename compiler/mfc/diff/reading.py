"""A file as one side of a comparison: what a framework's own files say, or a spec as it is planned."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfc import api
from mfc.diff.side import Side, Stated
from mfc.diff.words import EFFECTS
from mfc.errors import MfcError
from mfc.fields import BY_NAME, place
from mfc.imports.gather import leaves
from mfc.rows import layout
from mfc.spec.inputs import DatasetSpec
from mfc.target.values import held

if TYPE_CHECKING:
    from mfc.diff.places import Places
    from mfc.imports import Imported
    from mfc.planner.plan import Plan
    from mfc.spec.load import LoadedSpec


def of_import(one: Imported, at: Places, *, hardware: bool) -> Side:
    """A framework's own file."""
    facts = {fact.key for fact in one.told.facts}
    lost = (row for row in one.rows if row.status == "dropped" and not row.cause and row.key not in facts)
    own = {row.key: Stated(row.value, at.key(row.part, row.key)) for row in lost if "$" not in str(row.value)}
    own |= {row.key: Stated(row.value, at.key(row.part, row.key)) for row in one.rows if row.status == "carried"}
    return Side(
        name=one.file,
        target=one.target,
        title=one.title,
        version=one.version,
        values=dict(_told(one, at)),
        own=own,
        contracts=tuple(part.contract for part in one.told.parts if part.own and part.contract),
        plan=one.plan,
        spec=one.spec,
        notes=one.notes,
        refused=one.refused,
        hardware=hardware,
    )


def _told(one: Imported, at: Places) -> Iterator[tuple[str, Stated]]:
    """What the files say, then what of the plan they leave open."""
    plan, told = one.plan, one.told
    for field, value in told.values.items():
        if _compared(field) and (plan is None or field not in BY_NAME or field in plan.decisions or field == "task"):
            yield field, at.field(field, tuple(_path(one, Path()) for one in value) if field == "plugins" else value)
    for field, decision in plan.decisions.items() if plan else ():
        if _compared(field) and field not in told.values:
            yield field, at.field(field, decision.value, decision.because)
    if train := one.spec.get("data", {}).get("train"):
        task = str(told.values.get("task", "sft"))
        rows = [
            {**row, "format": layout(DatasetSpec(path="x", format=row.get("format", "auto")), task)} for row in train
        ]
        yield "data.train", at.field("data.train", _sets(rows, Path()))
    yield from ((name, at.field(name, None)) for name in _ALWAYS if name not in told.values)
    if plan:
        yield "hardware", at.field("hardware", machines(plan))


# What every run has, if only as nothing.
_ALWAYS = ("model.revision", "model.adapter", "data.eval")


def of_spec(loaded: LoadedSpec, target: str) -> Side:
    """A spec, as it is planned for a target. Raises MfcError where it cannot be."""
    from mfc.target import get

    plan = api.plan(loaded, target)
    settings = loaded.spec.targets.get(target)
    own = leaves(settings.extra if settings else {}, "")
    return Side(
        name=loaded.name,
        target=target,
        title=get(target).TITLE,
        version=plan.profile.version,
        values=dict(_planned(loaded, plan)),
        own={key: Stated(value, str(loaded.where(f"targets.{target}.extra.{key}"))) for key, value in own},
        contracts=_contracts(loaded, plan),
        plan=plan,
        spec=loaded,
        folder=loaded.path.parent if loaded.path else Path(),
        refused="" if plan.fits else api.cannot_fit(plan, loaded.name),
    )


def _planned(loaded: LoadedSpec, plan: Plan) -> Iterator[tuple[str, Stated]]:
    """What the spec says, or mfc chose for it."""
    for field, decision in plan.decisions.items():
        if _compared(field):
            said = decision.pinned and place(field) in loaded.positions
            origin = plan.problem.origin.get(field) or (str(loaded.where(place(field))) if said else "")
            value: Any = decision.value
            if field == "plugins":
                value = tuple(_path(path, loaded.folder("train.rollout.plugins")) for path in value)
            yield field, Stated(value, origin or decision.because, "file" if origin else "mfc")
    for field in ("task", *(name for name in EFFECTS if name.partition(".")[0] in ("model", "data"))):
        path = place(field) or field
        said = path in loaded.positions
        if field == "model.adapter_mode" and plan.problem.spec.model.adapter is None:
            continue
        where = str(loaded.where(path)) if said else "the default of a spec"
        if field == "data.train":
            folder = loaded.folder("data.train")
            every = plan.problem.spec.data.train
            value = _sets([{**_plain(one), "format": layout(one, plan.strategy.task)} for one in every], folder)
        else:
            value = plan.strategy.task if field == "task" else held(plan, field)
        yield field, Stated(value, where, "file" if said else "default")
    yield "hardware", Stated(machines(plan), str(loaded.where("hardware")))


def _contracts(loaded: LoadedSpec, plan: Plan) -> tuple[str, ...]:
    try:
        files = api.lower(loaded, plan, Path()).files
    except MfcError:
        return ()
    return tuple(dict.fromkeys(file.contract for file in files if file.contract))


def _compared(field: str) -> bool:
    """Whether a field is one to compare: not what others say as well, nor a part of what a plan has as a whole."""
    return field in EFFECTS


def machines(plan: Plan) -> str:
    """What a plan runs on, in words."""
    hardware = plan.problem.hardware
    nodes = f"{hardware.nodes} nodes of " if hardware.nodes > 1 else ""
    return f"{nodes}{hardware.gpus_per_node} x {hardware.gpu.name}"


def _sets(train: Sequence[Mapping[str, Any]], folder: Path) -> tuple[str, ...]:
    """Data sets in words: where each lies, its format, its share of the rows, and what else is said of it."""
    weights = [one.get("weight", 1.0) for one in train]
    whole = sum(weights) if all(isinstance(one, int | float) for one in weights) else 0
    shares = [f", {weight / whole:.0%} of the rows" if whole and len({*weights}) > 1 else "" for weight in weights]
    return tuple(_set(dict(one), share, folder) for one, share in zip(train, shares, strict=True))


def _set(one: dict[str, Any], share: str, folder: Path) -> str:
    path, hub = one.pop("path", None), one.pop("hub", None)
    form = one.pop("format", "auto")
    rest = "".join(
        f", {key} {value}" for key, value in sorted(one.items()) if value not in (None, {}) and key != "weight"
    )
    return f"{_path(path, folder) if path else hub} ({form}{share}{rest})"


def _path(path: str, folder: Path) -> str:
    """A path as it is seen from here; whole where that leads up."""
    whole = os.path.realpath(folder / path)
    near = os.path.relpath(whole)
    return whole if near.startswith("..") else near


def _plain(model: Any) -> dict[str, Any]:
    made: dict[str, Any] = model.model_dump(exclude_defaults=True)
    return made
