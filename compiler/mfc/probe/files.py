"""What a probe adds to the files of its target: the runner, its meter, and what they are to do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mfc.emit.render import header
from mfc.errors import MfcError
from mfc.plans import attempt, plan_each
from mfc.spec.load import load
from mfc.target.outputs import Start

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.spec.load import LoadedSpec

FOLDER, SCRIPT = "probe", "probe.sh"
FLAG = "run.probe=true"  # what --probe stands for
# Parts of the budget for which changes are computed: what has to fit where a run takes so much more than predicted.
SHARES = (0.9, 0.8, 0.65, 0.5)

_SH = """#!/usr/bin/env bash
# {header}
#
#   bash {script}
#
# A few steps of the run on rows as long as they may be; it ends with the peak of memory beside what was predicted.
exec "$(command -v python3 || command -v python)" -I "$(dirname "${{BASH_SOURCE[0]}}")/probe.py" "$@"
"""


def start(lowered: Start) -> Start:
    """How a probe is started, from how its run is."""
    return Start(SCRIPT, words=lowered.words)


def beside(loaded: LoadedSpec, run: Plan, probe: Plan, lowered: Start, rows: Mapping[str, Any]) -> dict[str, str]:
    """Texts by path in the probe's folder. `run` is the plan of the run itself, `rows` how rows are made."""
    spec = loaded.path.name if loaded.path else "a spec"
    said = header(spec)
    what = {
        "spec": spec,
        "target": f"{run.profile.target} {run.profile.version}",
        "script": lowered.script,
        "server": lowered.server if lowered.server and not _apart(probe) else "",
        "output": probe.values["output_dir"],
        "card_bytes": run.problem.hardware.memory_bytes,
        "budget_bytes": run.budget_bytes,
        "predicted_bytes": run.memory.process_bytes,
        "upper_bytes": run.memory.upper_bytes,
        "set": [one for one in loaded.overrides if one != FLAG],
        "relaxations": list(relaxations(loaded, run)),
        "rows": rows,
    }
    return {
        SCRIPT: _SH.format(header=said, script=SCRIPT),
        "probe.json": json.dumps(what, indent=2, ensure_ascii=False) + "\n",
        "probe.py": f"# {said}\n{_source('runner')}",
        "meter/sitecustomize.py": f"# {said}\n{_source('meter')}",
    }


def relaxations(loaded: LoadedSpec, run: Plan) -> Iterator[dict[str, Any]]:
    """What would fit if the run took more than predicted, the mildest first: what to set, and what it then takes."""
    headroom, least = loaded.spec.strategy.headroom, run.memory.upper_bytes
    for share in SHARES:
        edit = f"strategy.headroom={1 - share * (1 - headroom):.3f}"
        changed = load(loaded.path or loaded.raw, (*loaded.overrides, edit))
        made = _planned(changed, run.profile.target)
        if isinstance(made, MfcError):
            return
        sets, upper, seconds = [edit], made.memory.upper_bytes, made.speed.seconds_per_step
        if not made.fits:
            if not made.relaxations:
                return
            mildest = made.relaxations[0]
            sets += [f"{path}={_word(value)}" for path, value in mildest.set.items()]
            upper, seconds = mildest.upper_bytes, mildest.seconds_per_step
        if upper < least:
            least = upper
            yield {"set": sets, "upper_bytes": upper, "time": round(seconds / run.speed.seconds_per_step, 2)}


def _planned(loaded: LoadedSpec, target: str) -> Plan | MfcError:
    """The plan of a target, or why there is none."""
    made = attempt(lambda: plan_each(loaded, [target], hub_cache=False))
    return made if isinstance(made, MfcError) else made[0]


def _apart(plan: Plan) -> bool:
    """Whether the server has nodes of its own, on which it is started by hand."""
    split = plan.problem.split
    return split is not None and not split.devices


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@lru_cache
def _source(module: str) -> str:
    """The text of a module of this package."""
    return files("mfc.probe").joinpath(f"{module}.py").read_text(encoding="utf-8")
