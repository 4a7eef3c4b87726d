"""`mfc explain`: why each value is what it is."""

from __future__ import annotations

import difflib

import click

from mfc import api
from mfc.cli import options
from mfc.errors import SpecError


@click.command()
@click.argument("spec")
@click.argument("field", required=False)
@options.target
@options.overrides
@options.as_format
def command(spec: str, field: str | None, target: str | None, overrides: tuple[str, ...], form: str) -> int:
    """Say why each value is what it is: the rule or the search that chose it, its numbers and its source."""
    from mfc.planner.report import decision_json, show

    loaded = api.load(spec, overrides)
    names = options.named(target, loaded.spec.targets)
    for name in names:
        plan = api.plan(loaded, name)
        chosen = dict(plan.decisions)
        if field is not None:
            key = field.rpartition(".")[2]
            if key not in chosen:
                near = difflib.get_close_matches(key, chosen, n=3)
                hint = f"; did you mean {', '.join(near)}?" if near else ""
                raise SpecError(f"error: no value called {field!r}{hint}\n  there are: {', '.join(sorted(chosen))}")
            chosen = {key: chosen[key]}
        if form == "json":
            print(options.dump([decision_json(decision) for decision in chosen.values()]))
            continue
        if len(names) > 1:
            print(f"== {plan.profile.target} {plan.profile.version}")
        for decision in chosen.values():
            print(f"{decision.field}: {show(decision.value)}")
            print(f"  because  {decision.because}")
            print(f"  rule     {decision.rule}")
            print(f"  source   {decision.source}")
    return 0
