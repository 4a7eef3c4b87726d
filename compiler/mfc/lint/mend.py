"""The smallest edits of a framework's own file after which its run fits: what the planner would change, natively.

A change of the spec is made into the keys that it changes in what mfc writes; those are changed in the user's text,
and the text is imported and planned again. Only what fits then is offered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc import api, imports
from mfc.errors import MfcError
from mfc.imports import source, typed
from mfc.lint import edit
from mfc.target import contracts
from mfc.target.values import at_key, equal

if TYPE_CHECKING:
    from mfc.imports import Imported
    from mfc.planner.plan import Plan
    from mfc.target import Lowered


class Mend(NamedTuple):
    """One way to mend a file: the spec's changes, the native keys with their values, and the text that fits."""

    set: Mapping[str, Any]
    keys: Mapping[str, Any]
    text: str
    plan: Plan


class Lintable(NamedTuple):
    """A text and how it was read."""

    text: str
    found: source.Found
    target: str | None
    hardware: str | None
    one: Imported


def mends(file: Lintable) -> Iterator[Mend]:
    """The ways to mend a run that does not fit, the mildest first."""
    plan = file.one.plan
    if plan is None or plan.fits:
        return
    old = api.lower(api.load(file.one.spec), plan, Path())
    seen: set[str] = set()
    for relaxation in plan.relaxations:
        try:
            loaded = api.load(file.one.spec, [f"{path}={_said(value)}" for path, value in relaxation.set.items()])
            new = api.lower(loaded, api.plan(loaded, file.one.target), Path())
        except MfcError:
            continue
        keys, order = _changed(file, old, new)
        text = (edit.script(file.text, keys) if file.found.script else edit.config(file.text, keys, order)) or ""
        if not keys or text in seen or (again := _read(file, text)) is None or not again.fits:
            continue
        seen.add(text)
        yield Mend(relaxation.set, keys, text, again)


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(file: Lintable, text: str) -> Plan | None:
    """The plan of a changed text; None where it cannot be read or planned."""
    try:
        found = source.parsed(file.found.name, file.found.folder, text.removeprefix("\ufeff"))
        return imports.read_found(found, file.target, file.hardware).plan
    except MfcError:
        return None


def _changed(file: Lintable, old: Lowered, new: Lowered) -> tuple[dict[str, Any], list[str]]:
    """The keys of the user's own file that differ between two outputs, with the new values, and the keys' order."""
    rows = {row.key for row in file.one.rows if row.status != "defaulted"}
    told = [one for one in old.files if one.said]
    if not told:
        return {}, []
    own = max(told, key=lambda one: len(rows & {key.name for key in one.said.keys}) if one.said else 0)
    after = next((one for one in new.files if one.path == own.path and one.said), None)
    if own.said is None or after is None or after.said is None:
        return {}, []
    order = [key.name for key in own.said.keys]
    contract = contracts.load(own.contract) if own.contract else {}
    made = {}
    for name in order:
        was, now = _at(own.said.data, name), _at(after.said.data, name)
        needless = name not in rows and now is not edit.GONE and equal(now, typed.default(name, contract))
        if not (was is now or equal(was, now) or needless):
            made[name] = now
    return made, order


def _at(data: Mapping[str, Any], name: str) -> Any:
    try:
        return at_key(data, name)
    except KeyError:
        return edit.GONE
