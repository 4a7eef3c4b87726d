"""One spec on several frameworks: the same experiment, and a reason for each difference."""

from __future__ import annotations

from typing import Any

import mfc
from mfc.planner import compare
from mfc.planner.plan import Plan
from mfc.report.compare import text

SPEC: dict[str, Any] = {
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "hardware": {"gpu": "RTX 4090", "count": 4, "host_memory": "256GiB"},
    "data": {"train": "train.jsonl", "max_length": 4096},
    "train": {"lora": {"rank": 16}, "batch_size": 64, "epochs": 2},
}
TARGETS = ("llamafactory", "ms-swift", "deepspeed")


def plans(spec: dict[str, Any]) -> list[Plan]:
    return [mfc.plan(spec, target) for target in TARGETS]


def test_what_the_user_means_is_the_same_everywhere() -> None:
    made = plans(SPEC)
    assert [one.field for one in compare.differences(made) if one.meaning] == []
    assert compare.common(made) == {}
    said = text(made)
    assert said.startswith("the same on all: method lora, lora_rank 16, max_length 4096, batch_size 64, learning_rate ")
    assert "NOT the same" not in said


def test_each_difference_has_the_reasons_of_all() -> None:
    made = plans(SPEC)
    for one in compare.differences(made):
        assert set(one.decisions) == set(TARGETS)
        assert len(set(map(repr, one.values.values()))) > 1
        assert all(decision.because for decision in one.decisions.values())


def test_one_plan_differs_from_nothing() -> None:
    assert compare.differences([mfc.plan(SPEC, "ms-swift")]) == ()


def test_lengths_that_differ_are_told_and_mended() -> None:
    long, short = mfc.plan(SPEC, "ms-swift"), mfc.plan(SPEC, "llamafactory")
    cut = short.decisions["max_length"]._replace(value=2048, because="the largest that fits")
    short = short._replace(decisions={**short.decisions, "max_length": cut})
    made = [long, short]
    assert compare.differences(made)[0].field == "max_length"
    assert compare.common(made) == {"data.max_length": 2048}
    assert "NOT the same experiment\n  max_length\n    ms-swift      4096: " in text(made)
