"""Plans as JSON and as text: the shape that others rely on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import mfc
import mfc.schemas
import pytest
from mfc import api
from mfc.report import json as to
from mfc.report import text as report
from mfc.report.bill import bill
from mfc.report.schema import json_schema

SCHEMA = Path(mfc.schemas.__path__[0], "plan.schema.json")
SPECS: dict[str, dict[str, Any]] = {
    "fits": {"model": "Qwen/Qwen2.5-7B", "hardware": "4x RTX 4090"},
    "does not fit": {"model": "Qwen/Qwen2.5-7B", "hardware": "T4", "train": {"method": "full"}},
    "qlora": {"model": "meta-llama/Llama-3.1-8B", "hardware": "RTX 4090", "train": {"method": "qlora"}},
    "host too small": {
        "model": "Qwen/Qwen2.5-7B",
        "hardware": {"gpu": "RTX 3090", "host_memory": "96GiB"},
        "train": {"method": "full"},
    },
}


def test_the_schema_is_the_generated_one() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json_schema()


@pytest.mark.parametrize("name", SPECS)
def test_plans_satisfy_the_schema(name: str) -> None:
    loaded = mfc.load(SPECS[name])
    plan = mfc.plan(loaded)
    said: dict[str, Any] = {
        "schema_version": 1,
        "plans": [to.to_json(plan, loaded, bill(plan, None), api.survey(plan))],
        "refused": [],
    }
    jsonschema.validate(json.loads(json.dumps(said)), json_schema())
    memory = said["plans"][0]["memory"]["gpu"]
    assert sum(memory["components"].values()) == memory["peak_bytes"]
    assert memory["allocated_peak_bytes"] <= memory["peak_bytes"] <= memory["held_bytes"]
    assert memory["allocated_peak_bytes"] <= memory["upper_bytes"] <= memory["held_bytes"]
    assert plan.fits == (name in ("fits", "qlora"))


@pytest.mark.parametrize("name", SPECS)
def test_every_decision_has_a_reason_and_a_source(name: str) -> None:
    for decision in mfc.plan(SPECS[name]).decisions.values():
        assert decision.because, decision
        assert decision.source, decision
        assert decision.rule, decision


@pytest.mark.parametrize(
    ("packages", "needs"),
    [
        ({}, ("bitsandbytes", "liger-kernel")),
        ({"liger-kernel": None}, ("bitsandbytes",)),
        ({"bitsandbytes": "0.50.2", "liger-kernel": "0.8.5"}, ()),
    ],
)
def test_a_plan_tells_which_packages_it_rests_on(packages: dict[str, str | None], needs: tuple[str, ...]) -> None:
    plan = mfc.plan({**SPECS["qlora"], "targets": {"llamafactory": {"packages": packages}}})
    assert sorted(plan.needs) == sorted(needs)
    assert ("needs  " in report.to_text(plan, "spec.yaml", bill(plan, None))) is bool(needs)


def test_what_does_not_fit_says_what_would() -> None:
    plan = mfc.plan(SPECS["host too small"])
    assert plan.limited_by == "host"
    assert plan.relaxations
    for relaxation in plan.relaxations:
        edits = [f"{path}={str(value).lower()}" for path, value in relaxation.set.items()]
        relaxed = mfc.plan(SPECS["host too small"], overrides=edits)
        assert relaxed.fits
        assert relaxed.memory.upper_bytes == pytest.approx(relaxation.upper_bytes, abs=2)


def test_the_text_names_what_matters() -> None:
    plan = mfc.plan(SPECS["does not fit"])
    text = report.to_text(plan, "spec.yaml", bill(plan, None))
    assert "DOES NOT FIT" in text
    assert "GPU memory is too small" in text
    assert "any of these would fit" in text


def test_pinned_knobs_are_freed_before_what_changes_results() -> None:
    spec = {
        "model": "Qwen/Qwen2.5-7B",
        "hardware": {"gpu": "A100 PCIe 40GB", "count": 2, "host_memory": "256GiB"},
        "data": {"max_length": 32768},
        "strategy": {"gradient_checkpointing": False, "micro_batch": 2, "loss": "plain"},
    }
    first = mfc.plan(spec).relaxations[0]
    assert first.set == dict.fromkeys(
        ("strategy.gradient_checkpointing", "strategy.micro_batch", "strategy.loss"), "auto"
    )


ADVICE = {
    "a smaller model before more machines": (
        {"model": "Qwen/Qwen2.5-14B-Instruct", "hardware": "RTX 4060", "train": {"method": "qlora"}},
        {"model": "Qwen/Qwen2.5-3B-Instruct"},
    ),
    "a gentler method without a smaller model": (
        {"model": "Qwen/Qwen2.5-14B-Instruct", "hardware": "RTX 3090", "data": {"max_length": 4096}},
        {"train.method": "qlora"},
    ),
    "pins freed together with another edit": (
        {
            "model": "Qwen/Qwen2.5-7B-Instruct",
            "hardware": {"gpu": "RTX 4090", "gpu_reserved": "12GiB"},
            "strategy": {"micro_batch": 8, "loss": "plain"},
        },
        {"strategy.micro_batch": "auto", "strategy.loss": "auto", "train.method": "qlora"},
    ),
}


@pytest.mark.parametrize("case", ADVICE)
def test_advice_is_of_use(case: str) -> None:
    spec, wanted = ADVICE[case]
    edits = [dict(one.set) for one in mfc.plan(spec, "ms-swift").relaxations]
    assert wanted in edits
    assert ("model" in wanted) == any("model" in edit for edit in edits)


def test_the_method_says_what_more_faithful_ones_need() -> None:
    spec = {"model": "google/gemma-2-9b-it", "hardware": "RTX 4080", "train": {"method": "auto"}}
    method = mfc.plan(spec).decisions["method"]
    assert method.value == "qlora"
    assert "full needs up to" in method.because
    assert "lora needs up to" in method.because


def test_checkpointing_never_costs_memory_where_some_layers_train() -> None:
    spec = {"model": "meta-llama/Llama-3.2-3B", "hardware": "RTX 4080", "train": {"method": "freeze"}}
    kept, recomputed = (
        mfc.plan(spec | {"strategy": {"gradient_checkpointing": each, "micro_batch": 4}}, target="llamafactory")
        for each in (False, True)
    )
    assert recomputed.memory.upper_bytes < kept.memory.upper_bytes


WHY = {
    "what forbids the winner with another value": (
        {"model": "Qwen/Qwen3-8B", "hardware": "2x RTX 4090"},
        "offload_optimizer",
        "the size of host memory is unknown",
    ),
    "what the framework lacks": (
        {"model": "Qwen/Qwen3-8B", "hardware": "2x RTX 4090"},
        "sequence_parallel",
        "llamafactory has no sequence_parallel 2",
    ),
}


METHODS = {
    "the first that fits": ("A100-80G", "the most faithful that fits"),
    "none fits": ("RTX 4060", "the nearest to fitting; full needs up to"),
}


@pytest.mark.parametrize("case", METHODS)
def test_the_method_is_never_the_only_candidate(case: str) -> None:
    gpu, said = METHODS[case]
    plan = mfc.plan({"model": "meta-llama/Llama-3.1-8B", "hardware": gpu, "train": {"method": "auto"}})
    assert plan.decisions["method"].because.startswith(said)
    assert plan.fits == (gpu == "A100-80G")


@pytest.mark.parametrize("case", WHY)
def test_reasons_are_of_the_plan_at_hand(case: str) -> None:
    spec, field, said = WHY[case]
    plan = mfc.plan(spec, "llamafactory", ("strategy.sharding=zero1",))
    assert plan.decisions[field].because.startswith(said)


def test_a_range_of_ranks_costs_no_more_than_a_range_of_lengths() -> None:
    spec = {"model": "Qwen/Qwen3-8B", "hardware": "RTX 4090", "train": {"lora": {"rank": {"min": 1, "max": 2**31 - 1}}}}
    plan = mfc.plan(spec)
    assert plan.fits
    rank = plan.values["lora_rank"]
    assert 16 < rank < 4096
    assert not mfc.plan(spec, None, (f"train.lora.rank={rank + 8}",)).fits


@pytest.mark.parametrize("size", [1, 2**31 - 1])
def test_a_batch_of_any_size_is_planned_at_once(size: int) -> None:
    plan = mfc.plan({"model": "Qwen/Qwen3-8B", "hardware": "RTX 4090", "train": {"batch_size": size}})
    assert plan.strategy.gradient_accumulation * plan.strategy.micro_batch == size


def test_what_is_as_fast_and_leaves_room_is_taken() -> None:
    """Not the plainer loss with 14 GiB of logits and the bound at the budget, and then the advice to fuse it."""
    spec = {"model": "Qwen/Qwen2.5-32B-Instruct", "hardware": "8x A100-40G", "data": {"max_length": 8192}}
    plan = mfc.plan(spec, "llamafactory")
    assert plan.strategy.loss == "fused"
    assert plan.memory.upper_bytes < plan.budget_bytes
    assert not [warning for warning in plan.warnings if warning.id == "loss/vocabulary-dominates"]
