"""What of a run is traced, and what is said to be left out."""

from __future__ import annotations

from typing import Any

import pytest
from mfc.catalog import models
from mfc.errors import SpecError
from mfc.memory import Run, Stack, prepare
from mfc.simulate.alone import alone, setup
from mfc.simulate.comparison import compare, predicted_moments
from mfc.strategy import Lora, Quantization, Strategy

LORA = {"method": "lora", "lora": Lora(8, 16)}
BASE = Strategy(
    task="sft",
    method="full",
    precision="bf16",
    sharding="ddp",
    world_size=1,
    max_length=2048,
    micro_batch=2,
    gradient_accumulation=1,
    gradient_checkpointing=True,
    attention="sdpa",
    loss="plain",
    optimizer="adamw",
)


def run(stack: Stack | None = None, model: str = "Qwen/Qwen2.5-7B", **changes: Any) -> Run:
    return Run(models.find(model).architecture, BASE._replace(**changes), None, 1, stack or Stack())


def test_a_run_on_one_gpu_is_traced_whole() -> None:
    traced, left_out = alone(run())
    assert traced.strategy == BASE
    assert left_out == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sharding": "zero3", "world_size": 8}, "zero3"),
        ({"world_size": 2}, "buckets"),
        ({"offload_optimizer": "cpu"}, "offload"),
        ({"sequence_parallel": 4}, "sequence parallelism"),
        ({"loss": "fused"}, "fused kernels"),
        ({"task": "dpo", "reference_model": True}, "the reference model"),
        ({"optimizer": "paged_adamw_8bit"}, "paged_adamw_8bit"),
        ({"precision": "fp16"}, "fp16"),
        ({**LORA, "method": "qlora", "quantization": Quantization(4)}, "nf4 kernels"),
    ],
)
def test_what_is_left_out_is_said(changes: dict[str, Any], said: str) -> None:
    traced, left_out = alone(run(**changes))
    assert any(said in sentence for sentence in left_out), left_out
    assert alone(traced)[0] == traced  # nothing more to leave out
    assert (traced.strategy.world_size, traced.strategy.sharding, traced.strategy.loss) == (1, "ddp", "plain")


def test_other_libraries_are_said() -> None:
    (sentence,) = alone(run(Stack(logits_shift_copy=True, sdpa_expands_kv=True)))[1]
    assert "logits_shift_copy, sdpa_expands_kv" in sentence


@pytest.mark.parametrize("changes", [{"method": "freeze", "trainable_layers": 2}])
def test_what_cannot_be_traced(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="not simulated"):
        alone(run(**changes))
    with pytest.raises(SpecError, match="images"):
        alone(run(model="Qwen/Qwen2.5-VL-7B-Instruct"))


@pytest.mark.parametrize(
    ("stack", "changes", "expected"),
    [
        (Stack(), {}, {"weights": 2, "autocast": True, "kernel": "masked"}),
        (Stack(), {"packing": True}, {"kernel": "flash"}),
        (Stack(packing_mask=True), {"packing": True}, {"kernel": "blocks"}),
        (Stack(), {"attention": "eager"}, {"kernel": "eager"}),
        (Stack(trainable_fp32=True), {}, {"weights": 4, "autocast": True}),
        (Stack(trainable_fp32=True), {"sharding": "zero2"}, {"weights": 2, "autocast": False}),
        (Stack(), {"precision": "fp32"}, {"weights": 4, "autocast": False}),
        (Stack(), LORA, {"weights": 2, "adapter": 4, "autocast": True}),
        (Stack(), {**LORA, "sharding": "zero2"}, {"adapter": 2, "autocast": False}),
        (Stack(), {"task": "dpo"}, {"sequences": 4}),
        (Stack(), {"sequence_parallel": 2}, {"length": 1024}),
        (Stack(optimizer_foreach=True), {"gradient_accumulation": 8}, {"foreach": True, "accumulates": True}),
        (Stack(), {"method": "lora", "lora": Lora(8, 16, targets="q_proj, v_proj")}, {"targets": ("q_proj", "v_proj")}),
    ],
)
def test_formats_are_those_of_the_plan(stack: Stack, changes: dict[str, Any], expected: dict[str, Any]) -> None:
    asked = setup(alone(run(stack, **changes))[0], {})
    assert {name: getattr(asked, name) for name in expected} == expected


def test_comparison() -> None:
    alone_run = run()
    predicted = predicted_moments(alone_run)
    assert max(predicted.values()) == int(prepare(alone_run).allocated(2))
    workspace = 2 * 8_519_680
    traced = {
        "forward": 10,
        "loss forward": predicted["loss forward"] - workspace,
        "loss backward": predicted["loss backward"] * 2 - workspace,
        "layer 0 from the top": 7,
        "layer 1 from the top": predicted["layers backward"] - workspace,
        "embedding": 1,
        "optimizer": 1,
    }
    found = compare(alone_run, traced)
    by_name = {moment.name: moment for moment in found.moments}
    assert by_name["loss forward"].difference == 0
    assert by_name["layers backward"].difference == 0
    assert by_name["loss backward"].difference == -50
    assert found.peak.name == "loss backward"
    assert not found.agrees(5)
