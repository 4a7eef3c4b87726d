"""What became of each key of a run: the table that `mfc import` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.fields import place
from mfc.imports import typed
from mfc.imports.expand import unknown
from mfc.imports.gather import UNSAID, Fact, Told, rest
from mfc.spec.marks import nearest, show
from mfc.target import contracts
from mfc.target.importing import Part
from mfc.target.values import at_key, equal, held

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.target import Lowered

# kept: mfc writes the very same; translated: the spec says it, and mfc writes it otherwise; defaulted: the file leaves
# it to the framework, and the spec says what that does; carried: as the framework's own key, under `extra`; dropped.
STATUSES = ("kept", "translated", "defaulted", "carried", "dropped")
# Why a key was dropped, where that is the file's doing and not mfc's.
CAUSES = {
    "bad-value": "the framework does not take this value",
    "unknown-key": "the framework knows no such key",
    "overruled": "another key has the last word",
    "no-effect": "what the key goes with is not there",
    "elsewhere": "mfc says the key beside values that are not there",
    "idle": "the framework does not look at the key",
    "unsaid": "only a shell could tell its value",
    "default": "the framework does the same without the key",
}


class Row(NamedTuple):
    """One key: what it says, what became of it, where the spec says it now, and why."""

    part: str
    key: str
    value: Any
    status: str
    to: str = ""
    why: str = ""
    cause: str = ""  # of `CAUSES`; empty: none of them


def rows(told: Told, pinned: Mapping[str, Any], target: str, made: tuple[Plan, Lowered] | None) -> Iterator[Row]:
    """A row for each key of the run, and for each default that the spec now says."""
    for part in told.parts:
        written = _written(part, made[1]) if made else None
        for fact in told.facts:
            if fact.part == part.name:
                yield from _row(fact, part, told, pinned, made[0] if made else None, written)
        yield from _others(part, target)


def extra(told: Told) -> dict[str, Any]:
    """The framework's own keys that no row of its table carries, for `targets.<name>.extra`."""
    found = {}
    for part in told.parts:
        if part.own:
            found.update({key: value for key, value in rest(part).items() if _fate(part, key, value)[0] == "carried"})
    return found


def _row(
    fact: Fact,
    part: Part,
    told: Told,
    pinned: Mapping[str, Any],
    plan: Plan | None,
    written: Mapping[str, Any] | None,
) -> Iterator[Row]:
    to = part.taken.get(fact.key) or _places(fact.fields, pinned)
    row = Row(part.name, fact.key, fact.value, "dropped", to, fact.note, fact.cause)
    if fact.assumed:
        if to:
            yield row._replace(status="defaulted", why="the framework's default")
        return
    if fact.note:
        if written is not None and _same(written, fact.key, fact.value):
            row = row._replace(status="kept", why="", cause="")
        yield row
        return
    if isinstance(fact.value, str) and unknown(fact.value):
        row = row._replace(why=UNSAID, cause="unsaid")
    if written is None:
        yield row._replace(status="translated" if to else "dropped", why=row.why or ("" if to else _LEFT))
        return
    if _same(written, fact.key, fact.value):
        yield row._replace(status="kept")
    elif differs := _differs(fact, told, plan):
        yield row._replace(why=differs)
    else:
        now = _at(written, fact.key)
        said = f"{fact.key}: {show(now)}" if now is not _NOWHERE else "it needs no saying" if to else _LEFT
        yield row._replace(status="translated" if to or now is not _NOWHERE else "dropped", why=row.why or said)


_LEFT = "it follows from the rest of the spec"
_NOWHERE: Any = object()


def _places(fields: Sequence[str], pinned: Mapping[str, Any]) -> str:
    """Where the spec says these fields now."""
    found = []
    for field in fields:
        for path in (place(field), _BEHIND.get(field, "")):
            if path and any(each == path or each.startswith(f"{path}.") for each in pinned):
                found.append(path)
        if field == "template":
            found += [path for path in pinned if path.startswith("targets.") and path.endswith(".template")]
    return ", ".join(dict.fromkeys(found))


# Fields that the spec says as part of another.
_BEHIND = {
    "gradient_accumulation": "train.batch_size",
    "micro_batch": "strategy.micro_batch",
    "hardware.count": "hardware",
}


def _differs(fact: Fact, told: Told, plan: Plan | None) -> str:
    """What the plan does otherwise than a key says, and why."""
    for field in fact.fields if plan else ():
        if plan and field in told.values and field in plan.decisions:
            said, now = told.values[field], held(plan, field)
            if not equal(said, now) and not (not said and not now):
                return f"mfc has {field} {show(now)}: {plan.decisions[field].because}"
    return ""


def _others(part: Part, target: str) -> Iterator[Row]:
    """The keys that no row of the target's table carries."""
    for key, value in rest(part).items():
        status, why, cause = _fate(part, key, value)
        to = f"targets.{target}.extra.{key}" if status == "carried" else part.taken.get(key, "")
        yield Row(part.name, key, value, status, to, why, cause)


def _fate(part: Part, key: str, value: Any) -> tuple[str, str, str]:
    contract = contracts.load(part.contract) if part.contract else {}
    if key in part.taken:
        return "translated", "", ""
    if key in part.idle:
        return "dropped", part.idle[key], "idle"
    if part.auto and value == part.auto:
        return "translated", "what the run says", ""
    if isinstance(value, str) and unknown(value):
        return "dropped", UNSAID, "unsaid"
    if part.contract and not typed.knows(key, contract):
        near = nearest(key, contract.get("properties", {}))
        why = f"{part.contract} knows no such key" + (f"; did you mean {near}?" if near else "")
        return "dropped", why, "unknown-key"
    usual = part.defaults.get(key, typed.default(key, contract))
    if equal(usual, value) or value is None:
        return "dropped", "it is the framework's default", "default"
    if not part.own:
        return "dropped", f"mfc writes {part.name} itself, and has no place for it", ""
    return "carried", "", ""


def _written(part: Part, lowered: Lowered) -> Mapping[str, Any]:
    """What mfc writes for a part: the data of the file whose keys are those of its table."""
    names = {key.name for key in part.keys}
    best: Mapping[str, Any] = {}
    most = 0
    for file in lowered.files:
        if file.said and (common := len(names & {key.name for key in file.said.keys})) > most:
            best, most = file.said.data, common
    return best


def _at(data: Mapping[str, Any], key: str) -> Any:
    try:
        return at_key(data, key)
    except KeyError:
        return _NOWHERE


def _same(written: Mapping[str, Any], key: str, value: Any) -> bool:
    now = _at(written, key)
    return now is not _NOWHERE and (equal(now, value) or equal(str(now), value))
