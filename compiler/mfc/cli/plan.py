"""`mfc plan`: on one screen whether it fits, how it runs, the memory and the time that it takes; -v tells all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mfc import api
from mfc.cli import options
from mfc.errors import CannotFit, MfcError

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.spec.load import LoadedSpec


@click.command()
@options.specs
@options.target
@options.overrides
@options.launcher
@options.as_format
@click.option("-v", "--verbose", is_flag=True, help="Everything: moments, alternatives, where targets differ and why.")
@click.option("--strict", is_flag=True, help="Warnings count as a failure (exit code 2).")
def command(
    specs: tuple[str, ...],
    target: str | None,
    overrides: tuple[str, ...],
    launcher: str | None,
    form: str,
    verbose: bool,
    strict: bool,
) -> int:
    """Show the strategy, the memory it takes and the time.

    What compiling would refuse is refused here too, after the plan and with the same exit code; data alone need not be
    named. A spec that names no target is planned for the one most used, as the first line says.
    """
    overrides = options.with_launcher(overrides, launcher)
    codes: list[int] = []
    shown: list[dict[str, Any]] = []
    refusals: list[dict[str, Any]] = []
    for path in specs:
        try:
            loaded = api.load(path, overrides)
            names = [target] if target else api.planned_for(loaded)
            made, refused = options.parted(names, api.plan_each(loaded, names))
            made = [(name, _checked(loaded, name, plan, refused)) for name, plan in made]
            plans = [plan for _, plan in made]
            codes += [0 if plan.fits else CannotFit.exit_code for plan in plans]
            codes += [2 for plan in plans if strict and plan.warnings]
            if form == "json":
                shown += _as_json(plans, loaded)
            elif plans:
                _show(plans, loaded, verbose, asked=bool(target or loaded.spec.targets))
            codes += options.report_each(refused, several=len(names) > 1)
            refusals += [_refusal(path, name, error) for name, error in refused]
        except MfcError as error:
            codes.append(options.report(error))
            refusals.append(_refusal(path, None, error))
    if form == "json":
        print(options.dump({"schema_version": 1, "plans": shown, "refused": refusals}))
    return options.worst(codes)


def _refusal(path: str, name: str | None, error: MfcError) -> dict[str, Any]:
    """What stands in the way of a target, or of a spec as a whole."""
    return {"spec": path, "target": name, "error": str(error), "exit_code": error.exit_code}


def _checked(loaded: LoadedSpec, name: str, plan: Plan, refused: list[tuple[str, MfcError]]) -> Plan:
    """The plan as it would be compiled; what compiling would refuse of it is noted."""
    try:
        return api.writable(loaded, plan) if plan.fits else plan
    except MfcError as error:
        refused.append((name, error))
        return plan


def _as_json(plans: Sequence[Plan], loaded: LoadedSpec) -> list[dict[str, Any]]:
    from mfc import calibration
    from mfc.report import json
    from mfc.report.bill import bills

    charged = bills(plans, loaded)
    return [
        json.to_json(plan, loaded, bill, api.survey(plan), calibration.about(plan))
        for plan, bill in zip(plans, charged, strict=True)
    ]


def _show(plans: Sequence[Plan], loaded: LoadedSpec, verbose: bool, *, asked: bool) -> None:
    """One screen; `verbose`: each plan in full, then where they differ."""
    from mfc import calibration
    from mfc.report import compare, glance, levers, text
    from mfc.report.bill import bills

    measured, charged = [calibration.about(plan) for plan in plans], bills(plans, loaded)
    if not verbose:
        said = [text.calibrated_line(one) if one else "" for one in measured]
        options.show(glance.to_text(plans, loaded.name, charged, said, asked=asked, width=options.width()) + "\n")
        return
    for plan, bill, one in zip(plans, charged, measured, strict=True):
        print(text.to_text(plan, loaded.name, bill, one, asked=asked), end="\n\n")
        print(levers.text(plan, api.survey(plan)), end="\n\n")
    if len(plans) > 1:
        print(compare.text(plans), end="")
