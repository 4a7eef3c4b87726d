"""`mfc verify`: the prediction beside the real model code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mfc import api
from mfc.cli import options
from mfc.errors import SpecError

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.simulate import Simulation

TOLERANCE = 5.0  # percent


@click.command()
@click.argument("spec")
@options.target
@options.overrides
@options.as_format
@click.option("--simulate", "simulated", is_flag=True, help="Trace the real model code on fake tensors, on this CPU.")
@click.option("--whole", is_flag=True, help="Trace every layer instead of extrapolating from a few: slower.")
def command(spec: str, target: str | None, overrides: tuple[str, ...], form: str, simulated: bool, whole: bool) -> int:
    """Compare a plan's prediction of allocated memory with a simulation of the step (needs mfc-compiler[simulate]).

    Exit code 1 when their peaks differ by more than 5 %.
    """
    if not simulated:
        raise SpecError("error: say how to verify: `mfc verify SPEC --simulate` traces the real model code on this CPU")
    from mfc import simulate
    from mfc.planner.costing import run_of
    from mfc.simulate.source import config_of

    simulate.require()
    loaded = api.load(spec, overrides)
    done: list[tuple[Plan, Simulation]] = []
    for plan in api.plans(loaded, [target] if target else api.planned_for(loaded)):
        run = run_of(plan.strategy, plan.problem, plan.profile)
        done.append((plan, simulate.simulate(run, config_of(loaded), whole=whole)))
    if form == "json":
        print(options.dump({"schema_version": 1, "verified": [_json(plan, made) for plan, made in done]}))
    else:
        print("\n\n".join(_text(loaded.name, plan, made) for plan, made in done))
    return 0 if all(made.comparison.agrees(TOLERANCE) for _, made in done) else 1


def _text(name: str, plan: Plan, made: Simulation) -> str:
    from mfc.report.text import gib

    target = f" for {plan.profile.target} {plan.profile.version}"
    verdict = "agrees" if made.comparison.agrees(TOLERANCE) else "DIFFERS"
    libraries = ", ".join(f"{library} {version}" for library, version in made.versions.items())
    layers = plan.problem.model.architecture.layers
    traced = f"{' and '.join(map(str, made.depths))} of {layers} layers" if made.depths != (layers,) else "every layer"
    rows = [
        (moment.name, gib(moment.simulated), gib(moment.predicted), f"{moment.difference:+.2f} %")
        for moment in made.comparison.moments
    ]
    peak = made.comparison.peak
    rows.append(("peak", gib(peak.simulated), gib(peak.predicted), f"{peak.difference:+.2f} %"))
    lines = [
        f"{name}{target}: {verdict} (allocated memory of one GPU)",
        f"traced {traced} with {libraries}",
        "",
        options.table(rows, ("moment", "simulated", "predicted", "difference")),
    ]
    if made.left_out:
        lines += ["", "not in either column", *(f"  {what}" for what in made.left_out)]
        lines.append(f"the plan itself: {gib(plan.memory.allocated_bytes)} allocated")
    return "\n".join(lines)


def _json(plan: Plan, made: Simulation) -> dict[str, Any]:
    def figures(moment: Any) -> dict[str, Any]:
        return {
            "moment": moment.name,
            "simulated_bytes": moment.simulated,
            "predicted_bytes": moment.predicted,
            "difference_pct": moment.difference,
        }

    return {
        "target": plan.profile.target,
        "agrees": made.comparison.agrees(TOLERANCE),
        "tolerance_pct": TOLERANCE,
        "peak": figures(made.comparison.peak),
        "moments": [figures(moment) for moment in made.comparison.moments],
        "plan_allocated_bytes": plan.memory.allocated_bytes,
        "left_out": list(made.left_out),
        "layers_traced": list(made.depths),
        "versions": dict(made.versions),
    }
