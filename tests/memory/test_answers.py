"""GRPO's and PPO's logits, against what the trainers themselves hold (counted by benchmarks.count.answers)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mfc.catalog import models
from mfc.memory.stack import Stack
from mfc.memory.static import scored
from mfc.strategy import Rollout, Strategy
from mfc.targets import ms_swift

COUNTED = json.loads((Path(__file__).parent / "data" / "answers.json").read_text(encoding="utf-8"))
ROWS = [(run["versions"]["ms-swift"], row) for run in COUNTED for row in run["rows"]]
STRATEGY = Strategy(
    task="grpo",
    method="full",
    precision="bf16",
    sharding="zero3",
    world_size=2,
    max_length=2048,
    micro_batch=1,
    gradient_accumulation=1,
    gradient_checkpointing=True,
    attention="sdpa",
    loss="plain",
    optimizer="adamw",
    rollout=Rollout("colocate", 512),
)


def stack(version: str) -> Stack:
    made: Stack = ms_swift.profile(version, {}).stack
    return made


@pytest.mark.parametrize(("version", "row"), ROWS, ids=[f"{v}-{row['task']}-{row['wide']}" for v, row in ROWS])
def test_what_the_loss_holds(version: str, row: dict[str, Any]) -> None:
    made = stack(version).preferences.of(row["task"], row["wide"])
    assert made is not None
    assert row["backward"] - 0.5 <= made.backward
    assert row["forward"] - 0.5 <= made.forward
    if row.get("share", 1.0) == 1.0:  # PPO's figure is for answers that are the whole sequence
        assert made.backward == pytest.approx(row["backward"], abs=0.5)


@pytest.mark.parametrize(
    ("model", "version", "task", "tokens"),
    [
        ("Qwen/Qwen2.5-7B", "3.6.4", "grpo", 512),
        ("Qwen/Qwen2.5-VL-3B-Instruct", "3.6.4", "grpo", 2048),
        ("Qwen/Qwen2.5-VL-3B-Instruct", "3.7.0", "grpo", 512),
        ("Qwen/Qwen2.5-VL-3B-Instruct", "4.6.0", "grpo", 512),
        ("Qwen/Qwen2.5-7B", "4.6.0", "ppo", 2048),
    ],
)
def test_whose_tokens_are_scored(model: str, version: str, task: Any, tokens: int) -> None:
    architecture = models.find(model).architecture
    held = scored(architecture, STRATEGY._replace(task=task), stack(version))
    assert held.tokens == tokens
    assert held.size == pytest.approx(held.width * architecture.vocab * tokens, rel=1e-3)
