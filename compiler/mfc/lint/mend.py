"""The smallest edits of a framework's own files that mend what was found: what would be planned instead, natively.

A change of the spec is made into the keys that it changes in what mfc writes; those are changed in the user's texts,
and the texts are imported and planned again. Only what mends then is offered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc import api, imports
from mfc.errors import MfcError
from mfc.fields import MEANING, RESULTS, place
from mfc.imports import convert, source
from mfc.lint import edit, keys
from mfc.spec.load import load
from mfc.target.values import equal

if TYPE_CHECKING:
    from mfc.imports import Imported
    from mfc.planner.plan import Plan
    from mfc.target import Lowered

_MOST = 3  # ways that are offered for each finding but one of memory, which the planner counts


class Mend(NamedTuple):
    """One way to mend a finding, or what was found of memory: native keys with their values, and texts by path."""

    of: str  # id of the finding
    level: str
    keys: Mapping[str, Any]
    texts: Mapping[str, str]
    plan: Plan | None = None  # of the texts; None for a key alone


class Lintable(NamedTuple):
    """A text and how it was read. `told`: the hardware is the user's, so memory counts."""

    text: str
    found: source.Found
    target: str | None
    hardware: str | None
    one: Imported
    told: bool

    @property
    def name(self) -> str:
        """The path of the file."""
        return self.found.name


class _Wish(NamedTuple):
    """Another spec that would do, and the paths in which it is another."""

    spec: Mapping[str, Any]
    paths: frozenset[str]


def mends(file: Lintable, refused: MfcError | None, silent: frozenset[str]) -> Iterator[Mend]:
    """The ways to mend what was found, errors first. `refused` is what compiling says, `silent` are rules not told."""
    yield from _renamed(file)
    plan = file.one.plan
    if refused is not None and not file.one.beyond:
        yield from _first(_tried(file, told(refused)[0], "error", _left_out(file.one, refused), refused))
    if plan and not plan.fits and file.told:
        for relaxation in plan.relaxations:
            yield from _tried(file, "does-not-fit", "error", [_set(file.one, relaxation.set)])
    for warning in plan.warnings if plan and (plan.fits or not file.told) else ():
        if warning.instead and warning.id not in silent:
            sets = {place(name): value for name, value in warning.instead if place(name)}
            yield from _first(_tried(file, warning.id, "warning", [_set(file.one, sets)]))
    yield from _without_effect(file)


def _first(ways: Iterator[Mend]) -> Iterator[Mend]:
    for _, way in zip(range(_MOST), ways, strict=False):
        yield way


def told(refused: MfcError) -> tuple[str, str]:
    """The rule that a refusal is of, `impossible` where it is of none, and what it says."""
    text = convert.reason(refused)
    rule = re.search(r" \[([\w/-]+)\]$", text)
    return (rule[1], text[: rule.start()]) if rule else ("impossible", text)


def _renamed(file: Lintable) -> Iterator[Mend]:
    """Keys that the framework does not know, as the one that was meant."""
    for row in file.one.rows:
        meant = re.search(r"did you mean (\S+)\?$", row.why) if row.cause == "unknown-key" else None
        if meant is None:
            continue
        new = keys.renamed(file.found, file.text, row.key, meant[1])
        if new is not None:
            yield Mend("unknown-key", "error", {row.key: edit.GONE, meant[1]: row.value}, {file.name: new})


def _without_effect(file: Lintable) -> Iterator[Mend]:
    """Keys that have no effect, taken out."""
    for row in file.one.rows:
        if row.status == "dropped" and row.cause == "no-effect" and row.part not in file.one.beside:
            new = keys.edited(file.found, file.text, {row.key: edit.GONE}, ())
            if new and new != file.text:
                yield Mend("no-effect", "warning", {row.key: edit.GONE}, {file.name: new})


def _set(one: Imported, sets: Mapping[str, Any]) -> _Wish:
    return _Wish(load(one.spec, [f"{path}={_said(value)}" for path, value in sets.items()]).raw, frozenset(sets))


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _left_out(one: Imported, refused: MfcError) -> Iterator[_Wish]:
    """The spec without a value that a refusal names, and without those that are refused after it."""
    for changed, path, _ in convert.without(one.spec, refused):
        spec, paths = changed, {path}
        while (error := _refused(spec, one.target)) and len(paths) < _MOST:
            found = next(convert.without(spec, error), None)
            if found is None:
                break
            spec, paths = found[0], {*paths, found[1]}
        if error is None:
            yield _Wish(spec, frozenset(paths))


def _refused(spec: Mapping[str, Any], target: str) -> MfcError | None:
    """What stands in the way of a spec, but memory."""
    try:
        loaded = load(spec)
        api.writable(loaded, api.plan(loaded, target))
    except MfcError as error:
        return error
    return None


def _tried(
    file: Lintable, of: str, level: str, wishes: Sequence[_Wish] | Iterator[_Wish], refused: MfcError | None = None
) -> Iterator[Mend]:
    """The wishes that edits of the files bring about; of each the least edit that does."""
    old = _lowered(file.one.spec, file.one.target) if refused is None else None
    seen = set()
    for wish in wishes:
        new = _lowered(wish.spec, file.one.target)
        for edits in keys.edits(file.found, file.one, wish.paths, old[1] if old else None, new[1]) if new else ():
            texts = keys.texts(file.found, file.text, file.one, edits)
            if not texts or str(texts) in seen:
                continue
            seen.add(str(texts))
            again = _read(file, texts)
            if new and again and (plan := _mended(file, again, of, new[0])):
                every = [pair for part in edits.values() for pair in part.items()]
                changed = {key: value for key, value in every if not isinstance(value, Mapping)}  # they hold others
                yield Mend(of, level, changed, texts, plan)
                break


def _lowered(spec: Mapping[str, Any], target: str) -> tuple[Plan, Lowered] | None:
    """The plan of a spec and what mfc writes for it; None where it cannot."""
    try:
        loaded = load(spec)
        plan = api.plan(loaded, target)
        return plan, api.lower(loaded, plan, Path())
    except MfcError:
        return None


def _read(file: Lintable, texts: Mapping[str, str]) -> Imported | None:
    """A run with other texts; None where it cannot be read."""
    text = texts.get(file.name, file.text)
    try:
        found = source.parsed(file.name, file.found.folder, text.removeprefix("\ufeff"))
        return imports.read_found(found._replace(instead=texts), file.target, file.hardware)
    except MfcError:
        return None


def _mended(file: Lintable, again: Imported, of: str, wanted: Plan) -> Plan | None:
    """The plan of a run that is read again, where it is what was wanted, and nothing stands in its way."""
    plan = again.plan
    if plan is None or any(one.id == of for one in plan.warnings):
        return None
    if file.told and not plan.fits and file.one.plan is not None:  # what could not be planned may not fit then
        return None
    if any(not equal(plan.values.get(name), wanted.values.get(name)) for name in {*MEANING, *RESULTS}):
        return None
    try:
        return api.writable(load(again.spec), plan)
    except MfcError:
        return None
