"""Embedding and head that train in fp32 beside layers in 16 bits (`Stack.edges_fp32`)."""

from __future__ import annotations

from typing import Any

import pytest
from mfc.catalog import gpus
from mfc.catalog.models import find
from mfc.catalog.parameters import count
from mfc.memory import Run, Stack, predict
from mfc.memory.model import Memory
from mfc.strategy import Lora, Strategy

QWEN = find("Qwen/Qwen2.5-0.5B").architecture  # tied: one matrix
EDGE = QWEN.vocab * QWEN.hidden
EDGES = Stack(edges_fp32=True, expandable_segments=True)
BASE = Strategy(
    task="sft",
    method="full",
    precision="bf16",
    sharding="ddp",
    world_size=1,
    max_length=2048,
    micro_batch=1,
    gradient_accumulation=1,
    gradient_checkpointing=True,
    attention="sdpa",
    loss="fused",
    optimizer="adamw",
)


def memory(stack: Stack, **changes: Any) -> Memory:
    return predict(Run(QWEN, BASE._replace(**changes), gpus.find("A100 80GB SXM"), 1, stack))


def test_weights_gradients_and_moments_of_the_edges_are_twice_as_wide() -> None:
    wide, plain = memory(EDGES).moments, memory(EDGES._replace(edges_fp32=False)).moments
    assert wide["optimizer step"] - plain["optimizer step"] == pytest.approx(8 * EDGE, rel=0.01)


def test_the_stream_is_fp32_and_the_heads_copy_waits() -> None:
    wide, plain = memory(EDGES), memory(EDGES._replace(edges_fp32=False))
    layers = QWEN.layers * 2 * QWEN.hidden * 2048  # the inputs that checkpointing keeps
    held = 6 * EDGE + 2 * EDGE  # weights and moments of the edges, and the head's copy in 16 bits
    more = wide.moments["head gathered"] - plain.moments["head gathered"]
    assert more == pytest.approx(layers + held, rel=0.02)


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": "flash"},
        {"sharding": "zero2", "world_size": 2},
        {"sharding": "fsdp2", "world_size": 2},
        {"precision": "fp32"},
        {"method": "lora", "lora": Lora(8, 16.0)},
    ],
)
def test_elsewhere_nothing_changes(changes: dict[str, Any]) -> None:
    assert memory(EDGES, **changes) == memory(EDGES._replace(edges_fp32=False), **changes)


def test_a_reference_has_wide_edges_too() -> None:
    changes: dict[str, Any] = {"task": "dpo", "loss": "plain", "reference_model": True}
    wide, plain = memory(EDGES, **changes).moments, memory(EDGES._replace(edges_fp32=False), **changes).moments
    assert wide["optimizer step"] - plain["optimizer step"] == pytest.approx(10 * EDGE, rel=0.01)


def test_a_reference_that_the_trainer_loads_is_fp32_outside_deepspeed() -> None:
    own = EDGES._replace(fp32_references=("kto",))
    changes: dict[str, Any] = {"task": "kto", "loss": "plain", "reference_model": True}
    wide, plain = memory(own, **changes).moments, memory(own._replace(fp32_references=()), **changes).moments
    more = 2 * count(QWEN).total - 2 * EDGE  # the one that is loaded with the policy has wide edges
    assert wide["optimizer step"] - plain["optimizer step"] == pytest.approx(more, rel=0.01)
    split = {**changes, "sharding": "zero2", "world_size": 2}
    assert memory(own, **split) == memory(own._replace(fp32_references=()), **split)
