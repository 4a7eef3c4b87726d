"""One framework's run as another's: imported, loosened where the other cannot say it, and planned there.

What a target refuses is taken out of the spec one value at a time, those alone that its refusal names; what the user
means (model, task, method, length, batch, learning rate) stays, and is refused where the target cannot say it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc import api
from mfc.errors import CannotExpress, Fault, MfcError, SpecError
from mfc.fields import FIELDS, MEANING, field
from mfc.imports import typed
from mfc.planner.refusal import NOTHING
from mfc.spec.marks import printable
from mfc.target import contracts
from mfc.target.values import at_key, equal

if TYPE_CHECKING:
    from mfc.imports import Imported, Row
    from mfc.planner.plan import Plan
    from mfc.spec.load import LoadedSpec

_MOST = 12  # values taken out before a target is said to be unable
_KEPT = {"model", "hardware", "data.train", "train.task", *(field(name).path for name in MEANING)}
_PATH = re.compile(r"\b(?:data|train|strategy|run)(?:\.[a-z_]+|\[\d+\])+")


class Loosened(NamedTuple):
    """One value that the other framework cannot say: where the spec had it, what it has there now, and why."""

    path: str
    before: Any
    after: Any  # None: nothing
    why: str


class Shift(NamedTuple):
    """One field of the two plans. `because` is the reason of the new one."""

    field: str
    before: Any
    after: Any
    because: str


class Default(NamedTuple):
    """A key that the new files say because the two frameworks do otherwise where it is left out."""

    key: str
    usual: Any  # what the new framework would do
    value: Any  # what the file says, which is what the old framework does


class Converted(NamedTuple):
    """A run, and the same for another framework. `spec` is what was planned for it."""

    source: Imported
    target: str
    title: str
    spec: Mapping[str, Any]
    plan: Plan
    loosened: tuple[Loosened, ...]
    same: Mapping[str, Any]  # field -> value
    shifts: tuple[Shift, ...]
    own: tuple[Row, ...]  # keys of the old framework's that the new files do not have
    defaults: tuple[Default, ...]


def convert(one: Imported, to: str, overrides: Sequence[str] = ()) -> Converted:
    """Plan an imported run for another target, with fields of its spec overridden (`K=V`).

    Raises SpecError, CannotFit or CannotExpress where there is no plan.
    """
    from mfc.target import get

    target = get(to)
    if to == one.target:
        raise SpecError(f"{printable(one.file)}: error: is a run of {one.title} already; `mfc import` reads it")
    if "model" not in one.spec:
        raise SpecError(f"{printable(one.file)}: error: names no model to train: it is part of a run, not one")
    if "gpu" not in one.spec.get("hardware", {}):
        raise SpecError(f"{printable(one.file)}: error: does not tell the GPU; say it by --hardware '8x A100-80G'")
    try:
        spec, taken = _loosened({**one.spec, "targets": {to: {}}}, to, overrides)
    except Fault:
        raise
    except MfcError as error:
        raise relabelled(error, one.file) from None
    loaded = api.load(spec, overrides)
    plan = api.writable(loaded, api.plan(loaded, to))
    every = (Loosened(path, value, _now(plan, path), why) for path, value, why in taken)
    loosened = tuple(each for each in every if not equal(each.before, each.after))  # others chose it all the same
    left = {each.path for each in loosened}
    shifts, same = _compared(one.plan, plan, left) if one.plan else ((), {})
    own = tuple(row for row in one.rows if row.status == "carried" or (row.status == "dropped" and not row.cause))
    return Converted(
        one, to, target.TITLE, spec, plan, loosened, same, shifts, own, tuple(_defaults(one, loaded, plan))
    )


_Taken = tuple[str, Any, str]


def _loosened(spec: dict[str, Any], to: str, overrides: Sequence[str]) -> tuple[dict[str, Any], list[_Taken]]:
    """The spec without what a target refuses, and what was taken out of it and why."""
    taken: list[_Taken] = []
    error = _refusal(spec, to, overrides)
    while error is not None:
        tries = [] if len(taken) == _MOST else list(_without(spec, to, error, overrides))
        helps = [one for one in tries if one[1] is None or reason(one[1]) != reason(error)]
        if not helps:
            raise error
        (spec, path, value), now = next((one for one in helps if one[1] is None), helps[0])
        taken.append((path, value, reason(error)))
        error = now
    return spec, taken


def _without(
    spec: Mapping[str, Any], to: str, error: MfcError, overrides: Sequence[str]
) -> Iterator[tuple[tuple[dict[str, Any], str, Any], MfcError | None]]:
    """The spec without each of the values that a refusal names, and what is refused then."""
    for one in without(spec, error):
        yield one, _refusal(one[0], to, overrides)


def without(spec: Mapping[str, Any], error: MfcError) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """The spec without each of the values that a refusal names, with the path of that value and the value."""
    for path in _named(str(error).partition("\n")[0], spec):
        changed = copy.deepcopy(dict(spec))
        value = _take(changed, path)
        if value is not None:
            yield changed, path, value


def _named(text: str, spec: Mapping[str, Any]) -> list[str]:
    """The places of a spec that a text names, by path or by field; what costs no result first."""
    words = set(re.findall(r"[a-z_]+", text))
    found = [*_PATH.findall(text), *(one.path for one in FIELDS if one.path and one.name in words)]
    if "data.train: " in text:  # the rows of one of the sets
        found += [f"data.train[{number}].format" for number in range(len(spec.get("data", {}).get("train", ())))]
    costly = {one.path for one in FIELDS if one.result}
    return sorted(dict.fromkeys(path for path in found if path not in _KEPT), key=lambda path: path in costly)


def _take(tree: Any, path: str) -> Any:
    """Take a value out of a spec; None where there is none."""
    *above, last = re.findall(r"[a-z_]+|\d+", path)
    for part in above:
        try:
            tree = tree[int(part)] if isinstance(tree, list) else tree[part]
        except (IndexError, KeyError, TypeError, ValueError):
            return None
    return tree.pop(last, None) if isinstance(tree, dict) else None


def _refusal(spec: Mapping[str, Any], to: str, overrides: Sequence[str]) -> MfcError | None:
    """What stands in the way of a spec on a target, but memory."""
    try:
        loaded = api.load(spec, overrides)
        api.writable(loaded, api.plan(loaded, to))
    except MfcError as error:
        return error
    return None


def reason(error: MfcError) -> str:
    """The first line of a refusal, without what says only that the spec has it."""
    text = str(error).partition("\n")[0].partition("error: ")[2] or str(error)
    return re.sub(r" \([^()]* at spec[^()]*\)$", "", text).removeprefix(NOTHING)


def relabelled(error: MfcError, file: str) -> MfcError:
    """A refusal of a spec that was never a file, as one of the file that it was read from."""
    label, found, rest = str(error).partition(": error: ")
    text = f"{printable(file)}: error: {rest}" if found and label == "spec" else str(error)
    return CannotExpress(text) if isinstance(error, CannotExpress) else SpecError(text)


def _now(plan: Plan, path: str) -> Any:
    """What a plan has where the spec says nothing any more."""
    name = next((one.name for one in FIELDS if one.path == path), "")
    return plan.decisions[name].value if name in plan.decisions else None


def _compared(old: Plan, new: Plan, left: set[str]) -> tuple[tuple[Shift, ...], dict[str, Any]]:
    """The fields of both plans that differ, what the user means first, and those that do not."""
    shifts, same = [], {}
    for name, decision in old.decisions.items():
        row = field(name)
        if not row.compared or name not in new.decisions or row.path in left:
            continue
        after = new.decisions[name]
        if equal(decision.value, after.value):
            same[name] = decision.value
        else:
            shifts.append(Shift(name, decision.value, after.value, after.because))
    return tuple(sorted(shifts, key=lambda one: (one.field not in MEANING, not field(one.field).result))), same


def _defaults(one: Imported, loaded: LoadedSpec, plan: Plan) -> Iterator[Default]:
    """The keys that say what the old framework did by default and the new one does not."""
    left_out = {path for row in one.rows if row.status == "defaulted" for path in row.to.split(", ")}
    for file in api.lower(loaded, plan, Path()).files:
        if file.said is None or file.contract is None:
            continue
        contract = contracts.load(file.contract)
        for key in file.said.keys:
            paths = {field(name.partition(".")[0]).path for name in key.fields}
            usual = typed.default(key.name, contract)
            if usual is None or not paths & left_out:
                continue
            try:
                value = at_key(file.said.data, key.name)
            except KeyError:
                continue
            if not equal(value, usual):
                yield Default(key.name, usual, value)
