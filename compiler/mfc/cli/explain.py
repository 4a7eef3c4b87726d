"""`mfc explain`: why each value is what it is."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from mfc import api
from mfc.cli import options
from mfc.errors import SpecError

if TYPE_CHECKING:
    from mfc.planner.plan import Plan


class Native(NamedTuple):
    """A key of a target's files: its value there, and the plan fields that it carries."""

    name: str
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
    names = options.named(target, loaded.spec.targets)
    plans = [api.plan(loaded, name) for name in names]
    found = [(plan, *_asked(plan, field)) for plan in plans]
    if not any(fields for _, fields, _ in found):
        raise SpecError(_unknown(str(field), plans))
    for plan, fields, key in found:
        chosen = [plan.decisions[name] for name in fields if name in plan.decisions]
        if form == "json":
            print(options.dump([decision_json(decision) for decision in chosen]))
            continue
        if len(names) > 1:
            print(f"== {plan.profile.target} {plan.profile.version}")
        if key:
            print(f"{key.name}: {show(key.value)}\n  carries  {', '.join(key.fields)}")
        for decision in chosen:
            print(f"{decision.field}: {show(decision.value)}")
            print(f"  because  {decision.because}")
            print(f"  rule     {decision.rule}")
            print(f"  source   {decision.source}")
    return 0


def _asked(plan: Plan, field: str | None) -> tuple[tuple[str, ...], Native | None]:
    """The plan fields to explain, and the native key when one was asked for; no fields when nothing is so called."""
    from mfc.problem import SPEC_PATHS

    if field is None:
        return tuple(plan.decisions), None
    places = {path: name for name, path in SPEC_PATHS.items()}
    for name in (places.get(field, ""), field):
        if name in plan.decisions:
            return (name,), None
    keys = _keys(plan)
    key = keys.get(field) or next((keys[name] for name in keys if name.endswith(f".{field}")), None)
    if key:
        return key.fields, key
    last = field.rpartition(".")[2]
    return ((last,) if last in plan.decisions else ()), None


def _keys(plan: Plan) -> dict[str, Native]:
    """Every key that the plan's target writes."""
    if not plan.profile.target:
        return {}
    from mfc.target import get
    from mfc.target.keys import native

    made = native(get(plan.profile.target).KEYS, plan)
    return {name: Native(name, _at(made.data, name), fields) for name, fields in made.cites.items()}


def _at(data: Any, name: str) -> Any:
    for part in name.split("."):
        data = data[part]
    return data


def _unknown(field: str, plans: list[Plan]) -> str:
    values = sorted({name for plan in plans for name in plan.decisions})
    keys = sorted({name for plan in plans for name in _keys(plan)})
    near = difflib.get_close_matches(field.rpartition(".")[2], [*values, *keys], n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    where = " or a key of a target's files, with --target" if not keys else ""
    return f"error: no value called {field!r}{hint}\n  there are: {', '.join(values)}{where}"
