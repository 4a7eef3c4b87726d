"""`mfc plan`: the strategy, memory by component and moment, time, alternatives."""

from __future__ import annotations

from typing import Any

import click

from mfc import api
from mfc.cli import options
from mfc.errors import CannotFit, MfcError


@click.command()
@options.specs
@options.target
@options.overrides
@options.as_format
@click.option("--strict", is_flag=True, help="Warnings count as a failure (exit code 2).")
def command(specs: tuple[str, ...], target: str | None, overrides: tuple[str, ...], form: str, strict: bool) -> int:
    """Show the strategy, the memory it takes and the time."""
    from mfc import calibration
    from mfc.report import compare, json, text

    codes: list[int] = []
    plans: list[dict[str, Any]] = []
    for path in specs:
        try:
            loaded = api.load(path, overrides)
            made = api.plans(loaded, options.named(target, loaded.spec.targets))
            for plan in made:
                codes.append(0 if plan.fits else CannotFit.exit_code)
                if strict and plan.warnings:
                    codes.append(2)
                calibrated = calibration.about(plan)
                if form == "json":
                    plans.append(json.to_json(plan, loaded, calibrated))
                else:
                    print(
                        text.to_text(plan, loaded.name, calibrated),
                        end="\n\n" if len(specs) > 1 or len(made) > 1 else "\n",
                    )
            if form == "text" and len(made) > 1:
                print(compare.text(made), end="")
        except MfcError as error:
            codes.append(options.report(error))
    if form == "json":
        print(options.dump({"schema_version": 1, "plans": plans}))
    return options.worst(codes)
