"""From two outputs of mfc to the keys of the user's own files in which they differ, and those files with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mfc import files
from mfc.fields import place
from mfc.imports import typed
from mfc.lint import edit, python, scripts
from mfc.target import contracts
from mfc.target.values import at_key, equal

if TYPE_CHECKING:
    from mfc.imports import Imported
    from mfc.imports.source import Found
    from mfc.target import Lowered
    from mfc.target.importing import Part
    from mfc.target.keys import Key
    from mfc.target.outputs import File

Edits = Mapping[str, Mapping[str, Any]]  # part -> key -> value


def edits(found: Found, one: Imported, paths: frozenset[str], old: Lowered | None, new: Lowered) -> Iterator[Edits]:
    """The keys to change: those alone that say what the paths of a spec do, then all that change.

    `old` is what mfc writes for the run as it is; None where it cannot.
    """
    written = {file.path for file in new.files}
    ours = [part for part in one.told.parts if part.own or part.name in one.beside or found.script]
    pairs = [(part, file) for part in ours if (file := _counterpart(part, new)) is not None]
    for least in (True, False) if old else (True,):
        wanted = {}
        for part, file in pairs:
            before = next((each for each in old.files if each.path == file.path), None) if old else None
            changed = dict(_changed(part, file, before, paths if least else None))
            if any(value in written for value in changed.values() if isinstance(value, str)):
                return  # a file that mfc would write beside
            if changed:
                wanted[part.name] = changed
        if wanted:
            yield wanted


def _counterpart(part: Part, lowered: Lowered) -> File | None:
    """The file of mfc's that says what a part of the run does: that with the most of its keys."""
    names = {key.name for key in part.keys}
    every = [(len(names & {key.name for key in file.said.keys}), file) for file in lowered.files if file.said]
    most, file = max(every, key=lambda each: each[0], default=(0, None))
    return file if most else None


def _changed(part: Part, file: File, before: File | None, paths: frozenset[str] | None) -> Iterator[tuple[str, Any]]:
    contract = contracts.load(part.contract) if part.contract else {}
    for key in file.said.keys if file.said else ():
        if paths is not None and not paths & set(_places(key)):
            continue
        here, now = _at(part.data, key.name), _at(file.said.data, key.name) if file.said else edit.GONE
        was = _at(before.said.data, key.name) if before and before.said else here
        if was is now or equal(was, now) or here is now or equal(here, now) or (part.auto and here == part.auto):
            continue
        if here is edit.GONE and now is not edit.GONE and equal(now, typed.default(key.name, contract)):
            continue
        yield key.name, now


def _places(key: Key) -> Iterator[str]:
    """The paths of a spec that a key says, and the sections that they are in."""
    for name in key.fields:
        path = place(name)
        while path:
            yield path
            path = path.rpartition(".")[0]
    if {"micro_batch", "gradient_accumulation"} & {*key.fields}:  # one makes up for the other
        yield from ("strategy.micro_batch", "train.batch_size")


def _at(data: Mapping[str, Any], name: str) -> Any:
    try:
        return at_key(data, name)
    except KeyError:
        return edit.GONE


def texts(found: Found, text: str, one: Imported, changes: Edits) -> dict[str, str] | None:
    """The files with their keys changed, by path; None where that cannot be done."""
    made: dict[str, str] = {}
    for part in one.told.parts:
        if part.name not in changes:
            continue
        order = [key.name for key in part.keys]
        path = one.beside.get(part.name)
        name = str(path or found.name)
        old = made.get(name, files.read(path).decode("utf-8", "replace") if path else text)
        if path is not None:
            new = _config(name, old, changes[part.name], order)
        elif found.script and part.name in found.script.files:
            new = scripts.document(old, found.script.files[part.name], changes[part.name], order)
        elif found.script and not part.own:
            new = scripts.variables(old, changes[part.name])
        else:
            new = edited(found, old, changes[part.name], order, part.data)
        if new is None:
            return None
        if new != old:
            made[name] = new
    return made


def edited(
    found: Found, text: str, changes: Mapping[str, Any], order: Sequence[str], there: Iterable[str] = ()
) -> str | None:
    """The first file of a run with keys changed; `there` are those that it has."""
    return scripts.flags(text, changes, there) if found.script else _config(found.name, text, changes, order)


def renamed(found: Found, text: str, old: str, new: str) -> str | None:
    """The first file of a run with another name for a key."""
    if found.script:
        return scripts.renamed(text, old, new)
    return python.renamed(text, old, new) if found.name.endswith(".py") else edit.renamed(text, old, new)


def _config(name: str, text: str, changes: Mapping[str, Any], order: Sequence[str]) -> str | None:
    if name.endswith(".py"):
        return python.config(text, changes)
    return edit.config(text, changes, order)
