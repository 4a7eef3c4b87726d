"""From a framework's own files to a spec: the file read, the framework told, all settings pinned, no key lost.

Nothing of the file is run. What was read is held against what mfc would write for the spec, key by key, so that the
table says what is the same and what is not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc import api
from mfc.catalog import copies, hf_config, models
from mfc.errors import CannotExpress, MfcError, SpecError
from mfc.imports import hardware as machines
from mfc.imports import pins, rows, source
from mfc.imports.expand import unknown
from mfc.imports.gather import Told, gather, nested
from mfc.imports.recognise import Known, recognise
from mfc.imports.rows import Row
from mfc.spec.marks import printable
from mfc.target.importing import Place

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.target import Lowered, Target
    from mfc.target.importing import Machines, Settings

__all__ = ["Imported", "Row", "read", "read_found"]


class Imported(NamedTuple):
    """What a file says, as a spec. `plan` is the spec's, where it can be planned; `refused` says why not.

    `beyond`: the reason is mfc's, which has no word or no model for it; the framework may run the file all the same.
    """

    file: str
    target: str
    title: str  # the framework's own spelling
    version: str
    spec: Mapping[str, Any]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    plan: Plan | None = None
    refused: str = ""
    beyond: bool = False
    told: Told = Told({}, (), ())  # what the files say of the fields of a plan
    beside: Mapping[str, Path] = {}  # by its name, a file that the run reads besides


def read(file: str, target: str | None = None, hardware: str | None = None, out: Path | None = None) -> Imported:
    """Read a config or a script of one framework's into a spec that is to lie in the folder `out`.

    `target` names the framework where the file does not tell, `hardware` is what the spec says of it. Raises SpecError
    in one line for what cannot be read.
    """
    return read_found(source.read(file), target, hardware, out)


def read_found(found: source.Found, target: str | None, hardware: str | None, out: Path | None = None) -> Imported:
    """What `read` makes of a file that was read already."""
    known = recognise(found, target)
    place = _place(known.files.folder, out or Path())
    settings = _settings(known, found.name, place)
    if (started := known.files.folder) != found.folder:  # where the files that it names were found
        place = _place(started, out or Path())
        settings = _settings(known, found.name, place)
    one = _imported(found.name, known.target, settings, hardware, place, known.notes)
    beside = {part.name: path for part in settings.parts if (path := known.files.path(part.name)) is not None}
    return one._replace(beside=beside)


def _settings(known: Known, name: str, place: Place) -> Settings:
    """What a target reads of a run. What a mangled file makes its code stumble over is the fault of the file."""
    try:
        return known.imports.settings(known.run, place)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        text = f"a value in it has a kind that {known.target.TITLE} does not take ({error})"
        raise SpecError(f"{printable(name)}: error: {printable(text)}") from error


def _place(folder: Path, spec: Path) -> Place:
    here = os.path.realpath(folder)
    return Place(Path(os.path.relpath(os.path.realpath(spec), here)).as_posix(), Path(here).as_posix())


def _imported(
    name: str, target: Target, settings: Settings, hardware: str | None, place: Place, notes: tuple[str, ...]
) -> Imported:
    profile = target.profile(settings.version, {})
    told = gather(settings, profile, place)
    _need(name, told)
    spec = pins.pins(told.values, told.written, target.NAME)
    if isinstance(named := spec.get("model.id"), str) and unknown(named):
        spec = {path: value for path, value in spec.items() if not path.startswith("model.")}
    run = pins.machines(told.values, settings)
    on = machines.settle(run, hardware)
    spec |= {f"hardware.{key}": value for key, value in on.spec.items()}
    trainers = _trainers(told, settings, run, on.world)
    if trainers < on.world:
        spec["train.rollout.gpus"] = on.world - trainers
    spec |= {**pins.batch(told.values, trainers, settings.accumulation), **settings.spec}
    if settings.version != target.VERSIONS[0]:
        spec[f"targets.{target.NAME}.version"] = settings.version
    tree = pins.tree(spec, target.NAME)
    if own := rows.extra(told):
        tree["targets"][target.NAME]["extra"] = nested(own)
    tree, alike = _alike(tree)
    made, refused = _planned(tree, target, place) if on.complete and "model" in tree else (None, None)
    table = tuple(rows.rows(told, spec, target.NAME, made))
    return Imported(
        file=name,
        target=target.NAME,
        title=target.TITLE,
        version=settings.version,
        spec=tree,
        rows=table,
        notes=(*notes, *settings.notes, *alike, *([] if "model" in tree else [_NO_MODEL]), *on.notes),
        plan=made[0] if made else None,
        refused="" if refused is None else str(refused),
        beyond=refused is not None and _beyond(tree, refused),
        told=told,
    )


def _trainers(told: Told, settings: Settings, run: Machines, world: int) -> int:
    """The GPUs that train: those of the run's own processes where a server generates on others of the same hardware."""
    apart = told.values.get("rollout_mode") == "server" and "train.rollout.server.host" not in settings.spec
    return min((run.processes or world) * (run.nodes or 1), world) if apart else world


_NO_MODEL = "the file does not tell the model: complete model"
_NEEDED = ("model.id", "task", "method")  # without these it would be another run


def _need(name: str, told: Told) -> None:
    """Refuse a run of which what matters most cannot be said."""
    for fact in told.facts:
        key = next(key for part in told.parts for key in part.keys if key.name == fact.key)
        if fact.unread and key.codec.fields[:1] and key.codec.fields[0] in _NEEDED:
            raise SpecError(f"{printable(name)}: error: {fact.key}: {printable(fact.note)}, so mfc has no spec for it")
    able = any("model.id" in key.fields for part in told.parts for key in part.keys)
    if able and "model.id" not in told.values:
        raise SpecError(f"{printable(name)}: error: it names no model to train")


def _planned(
    tree: Mapping[str, Any], target: Target, place: Place
) -> tuple[tuple[Plan, Lowered] | None, MfcError | None]:
    """The plan of an imported spec and its files as data, or why there are none."""
    data = tree.get("data", {})
    try:
        loaded = api.load(tree if data.get("train") else {**tree, "data": {**data, "train": "train.jsonl"}})
        plan = api.plan(loaded, target.NAME)
        extra = loaded.spec.targets[target.NAME].extra
        return (plan, target.lower(plan, extra, place.out_to_spec)), None
    except MfcError as error:
        return None, error


def _alike(tree: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The spec with the model that its own is a copy of, where only the name of a folder tells."""
    if "model" not in tree:
        return tree, ()
    model = tree["model"] if isinstance(tree["model"], dict) else {"id": tree["model"]}
    said = model["id"]
    if "like" in model or not isinstance(said, str) or _held(said) or (found := copies.find(said)) is None:
        return tree, ()
    note = f"{said} is taken for a copy of {found.id}, by its name: model.like"
    return {**tree, "model": {"id": said, "like": found.id, **model}}, (note,)


def _held(model: str) -> bool:
    """Whether mfc knows a model as it is named."""
    return models.known(model) is not None or hf_config.from_cache(model) is not None


def _beyond(tree: Mapping[str, Any], refused: MfcError) -> bool:
    """Whether a refusal is for want of a word or of a model in mfc, and no fault of the file's."""
    model = {"id": tree["model"]} if isinstance(tree["model"], str) else tree["model"]
    known = "like" in model or (isinstance(model["id"], str) and _held(model["id"]))
    return isinstance(refused, CannotExpress) or not known
