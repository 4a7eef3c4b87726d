"""`mfc explain`: why each value is what it is."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from mfc import api
from mfc.cli import options
from mfc.errors import MfcError, SpecError
from mfc.fields import BY_NAME, SPEC_PATHS

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.spec.load import LoadedSpec


class Said(NamedTuple):
    """A key of one of a target's files: its value there, and the plan fields that it carries."""

    name: str
    file: str
    value: Any
    fields: tuple[str, ...]


@click.command()
@click.argument("spec")
@click.argument("field", required=False)
@options.target
@options.overrides
@options.as_format
def command(spec: str, field: str | None, target: str | None, overrides: tuple[str, ...], form: str) -> int:
    """Say why each value is what it is: the rule or the search that chose it, its numbers and its source.

    FIELD is one value of a plan, a field of the spec, or a key of the target's own files.
    """
    from mfc.report.json import decision_json
    from mfc.report.text import show

    loaded = api.load(spec, overrides)
    names = [target] if target else api.planned_for(loaded)
    made, refused = options.parted(names, api.plan_each(loaded, names))
    codes = options.report_each(refused, several=len(names) > 1)
    plans = [plan for _, plan in made]
    found = [(plan, *_asked(loaded, plan, field)) for plan in plans]
    if plans and not any(fields for _, fields, _ in found):
        raise SpecError(_unknown(str(field), loaded, plans))
    for plan, fields, key in found:
        if not fields:
            continue  # another target's key
        if form == "json":
            print(options.dump([decision_json(plan.decisions[name]) for name in fields if name in plan.decisions]))
            continue
        if len(names) > 1:
            print(f"== {plan.profile.target} {plan.profile.version}")
        if key:
            print(f"{key.name}: {show(key.value)}\n  file     {key.file}\n  carries  {', '.join(key.fields)}")
        for name in fields:
            _explain(plan, name)
    return options.worst(codes)


def _explain(plan: Plan, name: str) -> None:
    from mfc.report.text import show

    if decision := plan.decisions.get(name):
        print(f"{decision.field}: {show(decision.value)}")
        print(f"  because  {decision.because}")
        print(f"  rule     {decision.rule}")
        print(f"  source   {decision.source}")
    elif only := BY_NAME[name].applies.said if name in BY_NAME else "":
        print(f"{name}: nothing to decide here, only {only}")


def _asked(loaded: LoadedSpec, plan: Plan, field: str | None) -> tuple[tuple[str, ...], Said | None]:
    """The plan fields to explain, and the native key when one was asked for; no fields when nothing is so called."""
    if field is None:
        return tuple(plan.decisions), None
    places = {path: name for name, path in SPEC_PATHS.items()}
    try:
        keys = _keys(loaded, plan)
    except MfcError:
        if not {places.get(field), field, field.rpartition(".")[2]} & plan.values.keys():
            raise  # what cannot be written has no keys
        keys = {}
    key = keys.get(field) or next((keys[name] for name in keys if name.endswith(f".{field}")), None)
    for name in (places.get(field, ""), field):
        if name in plan.values:
            return (name,), key if key and name in key.fields else None
    if key:
        return key.fields, key
    last = field.rpartition(".")[2]
    return ((last,) if last in plan.decisions else ()), None


def _keys(loaded: LoadedSpec, plan: Plan) -> dict[str, Said]:
    """Every key of every file that the plan's target writes; of those with one name, the first."""
    from mfc.emit import place
    from mfc.target.values import at_key

    found: dict[str, Said] = {}
    for file in api.lower(loaded, plan, place.declared(loaded, plan.profile.target)).files:
        if said := file.said:
            for key in said.keys:
                if key.name in said.cites:
                    found.setdefault(key.name, Said(key.name, file.path, at_key(said.data, key.name), key.fields))
    return found


def _has(plan: Plan, key: str) -> bool:
    """Whether the target has a key of this name, which some other plan would write."""
    from mfc.target import get

    names = [one.name for one in get(plan.profile.target).KEYS]
    return any(name == key or name.endswith(f".{key}") for name in names)


def _unknown(field: str, loaded: LoadedSpec, plans: list[Plan]) -> str:
    values = sorted({name for plan in plans for name in plan.decisions})
    keys = sorted({name for plan in plans for name in _keys(loaded, plan)})
    if any(_has(plan, field) for plan in plans):
        return f"error: {field} is a key of the target's that this plan does not write"
    near = difflib.get_close_matches(field.rpartition(".")[2], [*values, *keys], n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return f"error: no value called {field!r}{hint}\n  there are: {', '.join(values)}"
