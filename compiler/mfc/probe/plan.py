"""The plan of a probe: that of the run, but for what the spec is told otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mfc.errors import CannotExpress, Refused, SpecError
from mfc.fields import SPEC_PATHS
from mfc.plans import replanned
from mfc.spec.load import load
from mfc.target import get

if TYPE_CHECKING:
    from mfc.planner.plan import Decision, Plan
    from mfc.spec.load import LoadedSpec
    from mfc.spec.models import Spec

STEPS = 2  # the optimizer's states come with the first, so the second has the peak
_WHY = "for the probe, which runs a few steps on rows of its own"


def probed(loaded: LoadedSpec, made: Plan, folder: str) -> tuple[LoadedSpec, Plan]:
    """The spec and the plan of a run's probe, whose files lie in `folder`, as seen from the spec's.

    Saving is left out, and steps are counted, where the target can say so. Raises Refused with what stands in the way
    where it can be said in none of these ways, and where rows and steps are those of a program of the user's own.
    """
    target = get(made.profile.target)
    if {"max_steps", "epochs"} <= target.ELSEWHERE.keys():
        why = f"{target.TITLE} starts a program of your own, whose rows and steps mfc does not know"
        raise Refused("run.probe", why, "leave it out; the targets that train know both")
    refused: list[SpecError | CannotExpress] = []
    for edits in _ways(loaded.spec, made, folder):
        sets = [f"{path}={json.dumps(value)}" for path, value in edits.items()]
        try:
            changed = load(loaded.path or loaded.raw, (*loaded.overrides, *sets))
            plan = replanned(changed, made, _pins(made))
        except (SpecError, CannotExpress) as error:
            refused.append(error)
            continue
        if plan.strategy == made.strategy:
            decisions = {name: _said(one, made.decisions.get(name)) for name, one in plan.decisions.items()}
            return changed, plan._replace(decisions=decisions)
    first = str(refused[0]) if refused else "its plan would be another"
    raise Refused("run.probe", f"{target.TITLE} cannot run a few steps of this: {first}", "leave it out")


def trained(made: Plan) -> int:
    """Rows for the steps of a probe. Of a batch of answers there are fewer prompts, so they are more than enough."""
    return STEPS * int(made.values["batch_size"])


def evaluated(made: Plan) -> int:
    """Rows to evaluate on: two micro-batches on each GPU."""
    return 2 * int(made.values["eval_micro_batch"]) * made.strategy.world_size


def data_file(spec: Spec, name: str) -> str:
    """A file of made rows, of the kind that the run reads: a JSON array, or JSON lines."""
    [first, *_] = spec.data.train
    return f"{name}.json" if PurePosixPath(first.path or "").suffix == ".json" else f"{name}.jsonl"


def _ways(spec: Spec, made: Plan, folder: str) -> Iterator[dict[str, Any]]:
    """What the spec is told, the best first."""
    both = product([{"train.max_steps": STEPS}, {"train.epochs": 1}], [{"run.save_every": "never"}, {}])
    for counted, saved in both:
        yield {**_edits(spec, made, folder), **counted, **saved}


def _edits(spec: Spec, made: Plan, folder: str) -> dict[str, Any]:
    from mfc import rows

    [first, *_] = spec.data.train
    names = first.model_dump(include={"columns", "roles"}, exclude_defaults=True, exclude_none=True)
    train = {"path": f"{folder}/{data_file(spec, 'rows')}", "format": rows.layout(first, spec.train.task), **names}
    edits: dict[str, Any] = {
        "data.train": [train],
        "data.lengths": None,
        "run.log_every": 1,
        "run.report_to": "none",
        "run.output_dir": output_dir(spec),
    }
    if isinstance(spec.data.eval, str) and spec.data.eval != "none":
        edits["data.eval"] = f"{folder}/{data_file(spec, 'eval')}"
    elif spec.data.eval not in (None, "none", 0.0):
        some = evaluated(made)
        edits["data.eval"] = round(some / (some + trained(made)), 5)
    for name in ("warmup", "decay"):  # steps beyond the probe's
        if isinstance(made.values.get(name), int) and made.values[name]:
            edits[f"train.optim.{name}"] = int(name == "decay")
    return edits


def output_dir(spec: Spec) -> str:
    """Where the probe writes: the same name in its own folder, and `output` for what would lead out of it."""
    asked = PurePosixPath(spec.run.output_dir)
    away = asked.is_absolute() or ".." in asked.parts or spec.run.output_dir.startswith("~") or not asked.parts
    return "output" if away else str(asked)


def _pins(made: Plan) -> Mapping[str, Any]:
    """Every choice of the run's plan, so that nothing is chosen anew."""
    pins = {name: made.values[name] for name in SPEC_PATHS if name in made.decisions and name in made.values}
    return {**pins, "eval_every": STEPS} if "eval_every" in pins else pins


def _said(decision: Decision, before: Decision | None) -> Decision:
    """Why a value is what it is: as in the run, or since this is a probe."""
    if before is not None and before.value == decision.value:
        return before
    return decision._replace(rule="probe", because=_WHY, source="mfc compile --probe", gist="")
