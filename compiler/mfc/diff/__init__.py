"""How two runs differ in what they really do: files of any framework, or specs, the frameworks' defaults included."""

from __future__ import annotations

from collections.abc import Mapping

from mfc import api, imports
from mfc.diff.compare import Compared, compare
from mfc.diff.places import Places
from mfc.diff.reading import of_import, of_spec
from mfc.diff.side import Side
from mfc.emit import quote
from mfc.errors import MfcError, SpecError
from mfc.fields import place
from mfc.imports import Imported, source
from mfc.imports.source import Found
from mfc.spec.models import Spec

__all__ = ["Compared", "compare", "diff"]

# A card on which runs are planned of which nothing tells the hardware: for what does not depend on it.
STAND_IN = "H200"


def diff(a: str, b: str, target: str | None = None, hardware: str | None = None) -> Compared:
    """Compare two files.

    `target` names the framework of a file that does not tell it, `hardware` what a file does not tell of its own: else
    that is what the other tells. Raises SpecError for a file that is neither a spec nor a framework's.
    """
    one, two = source.read(a), source.read(b)
    told = hardware or _machines(one) or _machines(two)
    sides = [_side(file, other, target, told) for file, other in ((one, two), (two, one))]
    return compare(_as_said(*sides), _as_said(*reversed(sides)))


def _side(found: Found, other: Found, target: str | None, hardware: str | None) -> Side:
    if is_spec(found):
        return _spec(found, other, target)
    one = _read(found, target, hardware)
    if told := "gpu" in one.spec.get("hardware", {}):
        return of_import(one, Places(one, found.text), hardware=told)
    one = _read(found, target, STAND_IN)
    return of_import(one, Places(one, found.text), hardware=told)


def is_spec(found: Found) -> bool:
    """Whether a file is a spec: a mapping with the sections of one, and no other keys."""
    return bool(found.config) and not (found.config or {}).keys() - {*Spec.model_fields, "extends"}


def _machines(found: Found) -> str | None:
    """The hardware of a spec, as --hardware has it; None for other files, which do not tell the GPU."""
    if not is_spec(found):
        return None
    hardware = api.load(found.name).raw.get("hardware")
    return str(quote.yaml(hardware)) if isinstance(hardware, Mapping) else hardware


def _spec(found: Found, other: Found, target: str | None) -> Side:
    """A spec for the target of the other file, if it names that or none; else for the first that it names."""
    loaded = api.load(found.name)
    named = list(loaded.spec.targets)
    wanted = list(api.load(other.name).spec.targets) if is_spec(other) else [_read(other, target, None).target]
    both = [name for name in named or wanted if name in wanted]
    return of_spec(loaded, (both or named or api.planned_for(loaded))[0])


def _read(found: Found, target: str | None, hardware: str | None) -> Imported:
    """A framework's file; where it does not tell whose it is, one of `target`'s."""
    try:
        return imports.read_found(found, None, hardware)
    except SpecError:
        if target is None:
            raise
    return imports.read_found(found, target, hardware)


def _as_said(side: Side, other: Side) -> Side:
    """A run with what it leaves open planned as the other says it, so that the two are held to the same."""
    said = {name: other.values[name].value for name in side.unsaid if name in other.values and name not in other.unsaid}
    sets = [f"{place(name)}={quote.yaml(value)}" for name, value in said.items()]
    if side.plan is None or not sets:
        return side
    try:
        plan = api.plan(side.spec, side.target, sets)
    except MfcError:
        return side
    values = {name: one._replace(value=said.get(name, one.value)) for name, one in side.values.items()}
    return side._replace(plan=plan, values=values)
