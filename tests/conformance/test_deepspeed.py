"""What mfc writes for DeepSpeed starts a real engine, which reads every key and reads back what was planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mfc.planner.plan import Plan

from tests.conformance.judging import Case, compile_all, differences, examples, judge
from tests.conformance.specs import TASKS, specs

ENOUGH = 60
CONFIG = "ds_config.json"
ENVIRONMENT = "deepspeed-0.19.8"


def planned(plan: Plan) -> dict[str, Any]:
    """What DeepSpeed has to read back."""
    strategy = plan.strategy
    return {
        "world_size": strategy.world_size,
        "train_batch_size": strategy.micro_batch * strategy.gradient_accumulation * strategy.world_size,
        "micro_batch": strategy.micro_batch,
        "gradient_accumulation": strategy.gradient_accumulation,
        "gradient_clipping": plan.values["max_grad_norm"],
        "dtype": strategy.precision,
        "zero_stage": strategy.zero_stage,
        "offload_optimizer": strategy.offload_optimizer,
        "offload_parameters": strategy.offload_parameters,
    }


def question(case: Case, file: str = CONFIG) -> dict[str, Any]:
    return {"file": str(case.folder / file), "world_size": case.compiled.plan.strategy.world_size}


def failures(cases: list[Case]) -> dict[str, str]:
    """Every output that is refused, or read otherwise than planned."""
    verdicts = judge("deepspeed_driver", ENVIRONMENT, [question(case) for case in cases])
    answers = {}
    for case, verdict in zip(cases, verdicts, strict=True):
        wrong = differences(verdict["facts"], planned(case.compiled.plan)) if verdict["accepted"] else verdict["reason"]
        if wrong:
            answers[case.name] = wrong
    return answers


@pytest.mark.framework
def test_generated_specs_are_accepted(tmp_path: Path) -> None:
    without_rollouts = tuple(task for task in TASKS if task != "ppo")
    cases, too_big = compile_all(specs(without_rollouts), "deepspeed", tmp_path)
    assert len(cases) >= ENOUGH, too_big
    assert failures(cases) == {}


@pytest.mark.framework
def test_examples_are_accepted(tmp_path: Path) -> None:
    cases, too_big = compile_all(examples("deepspeed"), "deepspeed", tmp_path)
    assert too_big == {}
    assert failures(cases) == {}


@pytest.mark.framework
def test_the_judge_can_say_no(tmp_path: Path) -> None:
    [case], _ = compile_all([next(specs(("sft",)))], "deepspeed", tmp_path)
    good = json.loads((case.folder / CONFIG).read_text(encoding="utf-8"))
    changes: list[dict[str, Any]] = [
        {"gradient_acumulation_steps": 4},
        {"train_batch_size": good["train_batch_size"] + 1},
        {"train_micro_batch_size_per_gpu": "auto"},
        {"aio": {"blok_size": 1}},
        {"zero_optimization": {"stage": 5}},
        {"optimizer": {"type": "AdamW", "params": {"lrr": 1e-4}}},
        {"scheduler": {"type": "NoSuchSchedule", "params": {}}},
    ]
    for number, change in enumerate(changes):
        (case.folder / f"{number}.json").write_text(json.dumps({**good, **change}), encoding="utf-8")
    (case.folder / "twice.json").write_text('{"bf16": {}, "bf16": {}}', encoding="utf-8")
    files = [*(f"{number}.json" for number in range(len(changes))), "twice.json"]
    verdicts = judge("deepspeed_driver", ENVIRONMENT, [question(case, file) for file in files])
    assert [file for file, verdict in zip(files, verdicts, strict=True) if verdict["accepted"]] == []
