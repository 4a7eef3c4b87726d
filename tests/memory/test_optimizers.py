"""Optimizers that save memory, against what their own classes hold (counted by benchmarks.count.optimizers)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mfc.catalog import gpus, hf_config
from mfc.catalog.architecture import Architecture
from mfc.catalog.parameters import trainable
from mfc.memory import Run, Stack, optimizers, predict
from mfc.memory.formats import formats
from mfc.memory.shape import shape
from mfc.memory.stack import LowRank
from mfc.memory.static import key, static
from mfc.strategy import Strategy

COUNTED = json.loads((Path(__file__).parent / "data" / "optimizers.json").read_text(encoding="utf-8"))
ROWS = COUNTED["rows"]
BASE = Strategy(
    task="sft",
    method="full",
    precision="pure_bf16",
    sharding="ddp",
    world_size=1,
    max_length=2048,
    micro_batch=1,
    gradient_accumulation=1,
    gradient_checkpointing=True,
    attention="flash",
    loss="plain",
    optimizer="adamw",
    packing=True,
)
LLAMA = hf_config.read(
    {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "vocab_size": 32000,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "tie_word_embeddings": False,
    }
).architecture
LAYER, EDGES = 202_383_360, 2 * 131_072_000
TOTAL = 32 * LAYER + EDGES + 4096


def model_of(row: dict[str, Any]) -> Architecture:
    return hf_config.read(COUNTED["models"][row["model"]]).architecture


def kept_of(row: dict[str, Any]) -> optimizers.Kept:
    architecture = model_of(row)
    strategy = BASE._replace(optimizer=row["optimizer"], precision="pure_bf16" if row["half"] else "fp32")
    stack = Stack(low_rank=LowRank(row["rank"], layerwise=row["layerwise"]))
    figure = shape(architecture, stack.fused_experts)
    return optimizers.kept(figure, formats(strategy, stack), stack, strategy, trainable(architecture, strategy))


def name_of(row: dict[str, Any]) -> str:
    return " ".join(str(row[each]) for each in ("model", "half", "optimizer", "rank", "layerwise"))


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_states_are_those_counted(row: dict[str, Any]) -> None:
    kept = kept_of(row)
    assert kept.state == row["state"]
    assert kept.trained == row.get("trained", row["parameters"])


@pytest.mark.parametrize("row", [row for row in ROWS if "first" in row], ids=name_of)
def test_steps_hold_what_was_counted(row: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU: what cuSOLVER and LAPACK work in is not seen."""
    monkeypatch.setattr(optimizers, "SVD_MATRICES", 0)
    gradients = row["gradients"] if row["optimizer"] == "badam" else 0  # its 16-bit gradients were gone by then
    assert kept_of(row).step + gradients == pytest.approx(
        max(row["first"], row.get("later", 0), row.get("again", 0)), rel=0.02
    )


@pytest.mark.parametrize("row", [row for row in ROWS if row["optimizer"] == "badam"], ids=name_of)
def test_a_new_block_frees_the_states_of_the_last(row: dict[str, Any]) -> None:
    assert row["after_switch"] == 4 * row["trained"]


def memory_of(stack: Stack | None = None, **changes: Any) -> Any:
    run = Run(LLAMA, BASE._replace(**changes), gpus.find("A100 80GB SXM"), 1, stack or Stack())
    return predict(run)


@pytest.mark.parametrize("row", [row for row in ROWS if row["layerwise"]], ids=name_of)
def test_layerwise_updates_keep_one_gradient(row: dict[str, Any]) -> None:
    """What the phases add for gradients, at most, is one parameter's."""
    stack = Stack(low_rank=LowRank(row["rank"], layerwise=True))
    strategy = BASE._replace(optimizer=row["optimizer"], precision="pure_bf16" if row["half"] else "fp32")
    made = static(model_of(row), key(strategy), stack)
    assert all(phase.done == 0 for phase in made.step.course.phases)
    largest = max(phase.live for phase in made.step.course.phases) * made.states.gradient
    assert largest == pytest.approx(row["gradients"], rel=0.01)


@pytest.mark.parametrize(
    ("changes", "stack", "optimizer", "gradients"),
    [
        ({"optimizer": "badam"}, Stack(), 12 * LAYER, 2 * LAYER),
        ({"optimizer": "badam", "precision": "bf16"}, Stack(trainable_fp32=True), 12 * LAYER, 2 * LAYER),
        ({"trained_blocks": "drawn", "trainable_layers": 2}, Stack(), 4 * TOTAL, 2 * (2 * LAYER + EDGES)),
        (
            {"trained_blocks": "drawn", "trainable_layers": 2},
            Stack(lisa_states="first"),
            4 * (2 * LAYER + EDGES),
            2 * (2 * LAYER + EDGES),
        ),
        (
            {"trained_blocks": "drawn", "trainable_layers": 2},
            Stack(lisa_states="none"),
            4 * EDGES,
            2 * (2 * LAYER + EDGES),
        ),
        (
            {"method": "freeze", "trained_blocks": "spread", "trainable_layers": 4},
            Stack(),
            4 * 4 * LAYER,
            2 * 4 * LAYER,
        ),
    ],
    ids=["badam", "badam under autocast", "lisa", "lisa, first draw only", "lisa, blocks unknown", "llama pro"],
)
def test_blocks_that_take_turns(changes: dict[str, Any], stack: Stack, optimizer: int, gradients: int) -> None:
    strategy = BASE._replace(gradient_accumulation=4, **changes)
    made = static(LLAMA, key(strategy), stack).states
    assert made.trained * made.optimizer == pytest.approx(optimizer, rel=1e-6)
    assert made.trained * made.gradient == pytest.approx(gradients, rel=1e-6)
    assert made.base + made.trained * made.weight == pytest.approx(2 * TOTAL, rel=1e-6)


def test_gradients_reach_the_lowest_block_that_trains() -> None:
    """Spread blocks keep inputs of all layers, the last ones only of their own."""
    spread: dict[str, Any] = {"method": "freeze", "trainable_layers": 4, "max_length": 16384, "loss": "fused"}
    last, pro = memory_of(**spread), memory_of(**spread, trained_blocks="spread")
    assert pro.allocated_bytes - last.allocated_bytes > 20 * 2 * 4096 * 16384


ORDER = (
    ("adamw", LowRank()),
    ("galore", LowRank(128)),
    ("galore", LowRank(128, embedding=True)),
    ("galore_8bit", LowRank(128, embedding=True)),
    ("apollo", LowRank(1, embedding=True)),
)


def test_each_saves_more() -> None:
    """Accumulating, so that the gradients exist and the loss decides, not the step."""
    found = [
        memory_of(Stack(low_rank=low), optimizer=name, gradient_accumulation=8, max_length=8192).components["optimizer"]
        for name, low in ORDER
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] == 4 * TOTAL
    layered = memory_of(Stack(low_rank=LowRank(128, layerwise=True)), optimizer="galore")
    assert layered.components.get("gradients", 0) < 4 * EDGES
    assert memory_of(optimizer="badam").allocated_bytes < 22e9


@pytest.mark.parametrize("optimizer", ["galore", "apollo", "badam"])
def test_they_are_modelled(optimizer: str) -> None:
    assert memory_of(optimizer=optimizer).confidence != "unmodelled"
