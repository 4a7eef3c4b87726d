"""Compiled folders train: their own launch.sh runs two optimizer steps on the CPU through the real framework."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import tiny
from tests.conformance.environments import environment
from tests.conformance.judging import compile_all

RUNS: dict[str, dict[str, Any]] = {
    "lora": {"train": {"method": "lora", "batch_size": 4}, "strategy": {"sharding": "ddp"}},
    "full-zero2-on-two": {
        "hardware": {"gpu": "RTX 3090", "count": 2, "host_memory": "64GiB"},
        "train": {"method": "full", "batch_size": 4},
        "strategy": {"sharding": "zero2", "micro_batch": 1},
    },
    "dpo-lora": {
        "data": {"train": "preference.jsonl", "format": "preference"},
        "train": {"task": "dpo", "method": "lora", "batch_size": 4},
        "strategy": {"sharding": "ddp"},
    },
    "pretrain-packed": {
        "data": {"train": "text.jsonl", "format": "text", "packing": True},
        "train": {"task": "pretrain", "method": "full", "batch_size": 2},
        "strategy": {"sharding": "ddp"},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model and data in every format, beside which specs are written."""
    made = tmp_path_factory.mktemp("tiny")
    tiny.make_model(made / "model", environment("llamafactory-0.9.5"))
    tiny.make_data(made)
    return made


@pytest.mark.framework
@pytest.mark.parametrize("name", RUNS)
def test_llamafactory_trains_what_mfc_wrote(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    run = RUNS[name]
    spec = {
        "model": {"id": "./model", "config": "model/config.json"},
        "hardware": run.get("hardware", {"gpu": "RTX 3090", "host_memory": "64GiB"}),
        "data": {"max_length": 128, "template": "qwen", **run.get("data", {"train": "messages.jsonl"})},
        "train": run["train"],
        "strategy": {"loss": "plain", "attention": "sdpa", **run["strategy"]},
    }
    [case], _ = compile_all([(name, spec)], "llamafactory", folder)
    losses = tiny.train(case.folder, environment("llamafactory-0.9.5"), case.compiled.plan.strategy.world_size)
    assert len(losses) >= 2
    assert all(math.isfinite(loss) for loss in losses)
