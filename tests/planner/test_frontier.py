"""The frontier of memory against time, and the price of each lever."""

from __future__ import annotations

from functools import cache
from typing import Any

import mfc
import mfc.fields
import pytest
from mfc import api
from mfc.planner.frontier import Survey
from mfc.planner.plan import Plan

SPECS: dict[str, tuple[dict[str, Any], str]] = {
    "adapters": ({"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": "4x RTX 4090"}, "llamafactory"),
    "one GPU": ({"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": "RTX 3090"}, "ms-swift"),
    "offload": (
        {
            "model": "meta-llama/Llama-3.1-8B",
            "hardware": {"gpu": "RTX 3090", "count": 2, "host_memory": "256GiB"},
            "train": {"method": "full"},
        },
        "llamafactory",
    ),
    "pinned": (
        {"model": "Qwen/Qwen3-8B", "hardware": "2x A100-80G", "strategy": {"sharding": "zero3"}},
        "trl",
    ),
    "does not fit": ({"model": "Qwen/Qwen2.5-7B", "hardware": "T4", "train": {"method": "full"}}, "llamafactory"),
    "rollouts": (
        {
            "model": "Qwen/Qwen2-7B-Instruct",
            "hardware": "4x RTX 3090",
            "train": {"task": "grpo", "rollout": {"rewards": ["accuracy"]}},
        },
        "ms-swift",
    ),
}


@cache
def surveyed(name: str) -> tuple[Plan, Survey]:
    spec, target = SPECS[name]
    plan = mfc.plan(spec, target)
    return plan, api.survey(plan)


@pytest.mark.parametrize("name", SPECS)
def test_each_point_is_larger_and_faster_than_the_one_before(name: str) -> None:
    plan, survey = surveyed(name)
    assert survey.frontier
    sizes = [point.upper_bytes for point in survey.frontier]
    assert sizes == sorted(sizes)
    for point in survey.frontier:
        assert "optimizer" not in point.changes
        assert "method" not in point.changes
        assert not point.fits or plan.fits
    plain = [p for p in survey.frontier if not any(key.startswith("offload") for key in p.changes)]
    times = [point.seconds_per_step for point in plain]
    if "offload" not in name:
        assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("name", SPECS)
def test_a_lever_is_the_plan_with_one_field_pinned(name: str) -> None:
    """What it saves and costs is what planning anew finds, every other choice pinned as it was."""
    plan, survey = surveyed(name)
    pinned = {name for name in plan.problem.pins if name in mfc.fields.SPEC_PATHS}
    assert survey.levers
    for lever in survey.levers:
        assert lever.field not in pinned
        assert lever.value != plan.values.get(lever.field)
    if "rollouts" in name:
        return
    spec, target = SPECS[name]
    lever = survey.levers[0]
    kept = {field: plan.values[field] for field in mfc.fields.CHOICES if field in plan.values} | {
        lever.field: lever.value
    }
    if "lora_rank" in kept and plan.strategy.lora is None:
        del kept["lora_rank"]
    sets = [f"{mfc.fields.SPEC_PATHS[field]}={str(value).lower()}" for field, value in kept.items()]
    other = mfc.plan(spec, target, sets)
    assert plan.memory.upper_bytes - other.memory.upper_bytes == pytest.approx(lever.saved_bytes, abs=4)
    added = other.speed.seconds_per_step - plan.speed.seconds_per_step
    assert added == pytest.approx(lever.added_seconds, rel=1e-6, abs=1e-9)
    assert other.fits == lever.fits
