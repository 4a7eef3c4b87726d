"""Simulate runs in an environment that has torch, transformers and PEFT.

    python driver.py < cases.json > answers.json

A case is {"model", "strategy", "stack", "whole"}; its answer {"simulated", "predicted", "moments", "depths"} in bytes.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mfc.catalog import hf_config, models
from mfc.memory import Run, Stack
from mfc.simulate import simulate
from mfc.simulate.source import stripped
from mfc.strategy import Lora, Strategy


def answer(case: dict[str, Any]) -> dict[str, Any]:
    config = next(row["config"] for row in models.rows() if case["model"] in models.ids(row))
    fields = dict(case["strategy"])
    if "lora" in fields:
        fields["lora"] = Lora(**{**fields["lora"], "modules_to_save": tuple(fields["lora"].get("modules_to_save", ()))})
    run = Run(hf_config.read(config).architecture, Strategy(**fields), None, 1, Stack(**case["stack"]))
    made = simulate(run, stripped(config), whole=case.get("whole", False))
    return {
        "simulated": made.comparison.peak.simulated,
        "predicted": made.comparison.peak.predicted,
        "moments": {moment.name: [moment.simulated, moment.predicted] for moment in made.comparison.moments},
        "depths": list(made.depths),
        "left_out": list(made.left_out),
    }


if __name__ == "__main__":
    stdout = os.dup(1)  # libraries chat on standard output; it is kept for the answers
    os.dup2(2, 1)
    answers = {name: answer(case) for name, case in json.load(sys.stdin).items()}
    with os.fdopen(stdout, "w", encoding="utf-8") as out:
        json.dump(answers, out)
