"""What a head that scores tokens in tiles holds, and the other facts of a stack that go with it."""

from __future__ import annotations

from typing import Any

import pytest
from mfc.catalog import gpus
from mfc.catalog.models import find
from mfc.catalog.parameters import count
from mfc.memory import Run, Stack, predict
from mfc.memory.formats import formats
from mfc.memory.model import Memory
from mfc.memory.stack import Tiles
from mfc.strategy import Lora, Quantization, Strategy

QWEN = find("Qwen/Qwen2.5-0.5B").architecture
TILES = Tiles(tokens=4096, vocab=32768)
TILED = Stack(tiles=TILES, fused_blocks="never", expandable_segments=True)
BASE = Strategy(
    task="sft",
    method="lora",
    precision="bf16",
    sharding="ddp",
    world_size=1,
    max_length=8192,
    micro_batch=1,
    gradient_accumulation=1,
    gradient_checkpointing=True,
    attention="flash",
    loss="fused",
    optimizer="adamw",
    lora=Lora(8, 16.0),
)
FULL: dict[str, Any] = {"method": "full", "lora": None}


def memory(stack: Stack, **changes: Any) -> Memory:
    return predict(Run(QWEN, BASE._replace(**changes), gpus.find("A100 80GB SXM"), 1, stack))


def moment(stack: Stack, name: str, **changes: Any) -> int:
    return memory(stack, **changes).moments[name]


def test_the_loss_holds_a_tile_and_gradients_of_what_is_scored() -> None:
    without = TILED._replace(tiles=None)
    more = moment(TILED, "loss backward") - moment(without, "loss backward")
    assert more == pytest.approx(2 * 4096 * 32768 + (2 + 4) * QWEN.hidden * 8192, rel=0.01)


def test_a_head_that_trains_in_16_bits_has_its_gradient_twice() -> None:
    pure: dict[str, Any] = {**FULL, "precision": "pure_bf16"}
    without = TILED._replace(tiles=None)
    more = moment(TILED, "head gradient", **pure) - moment(without, "head gradient", **pure)
    own = 2 * 4096 * 32768 + (2 + 4) * QWEN.hidden * 8192
    assert more == pytest.approx(own + 4 * QWEN.vocab * QWEN.hidden, rel=0.01)


def test_a_head_that_trains_in_fp32_has_it_once() -> None:
    stack = TILED._replace(trainable_fp32=True)
    more = moment(stack, "head gradient", **FULL) - moment(stack._replace(tiles=None), "head gradient", **FULL)
    assert more == pytest.approx(2 * 4096 * 32768 + (4 + 4) * QWEN.hidden * 8192, rel=0.01)


def test_tiles_have_no_part_in_whole_logits() -> None:
    assert memory(TILED, loss="plain") == memory(TILED._replace(tiles=None), loss="plain")


@pytest.mark.parametrize(
    ("changes", "width"),
    [
        ({}, 4),
        ({"quantization": Quantization(4, "nf4"), "method": "qlora"}, 2),
        ({"sharding": "zero3", "world_size": 2}, 2),
        ({"sharding": "fsdp2", "world_size": 2}, 4),
    ],
)
def test_adapters_keep_16_bits_where_the_stack_says_so(changes: dict[str, Any], width: int) -> None:
    strategy = BASE._replace(**changes)
    assert formats(strategy, Stack(adapter_fp32_kbit=False, adapter_fp32_zero3=False)).trained == width
    assert formats(strategy, Stack()).trained == 4


def test_a_reference_is_loaded_as_the_policy_is() -> None:
    compared: dict[str, Any] = {**FULL, "task": "dpo", "reference_model": True}
    wide, narrow = (Stack(trainable_fp32=True, reference_as_policy=each) for each in (True, False))
    more = memory(wide, **compared).components["weights"] - memory(narrow, **compared).components["weights"]
    assert more == pytest.approx(2 * count(QWEN).total, rel=0.001)


def test_some_inputs_are_on_the_card_while_they_come_and_go() -> None:
    offloaded: dict[str, Any] = {"offload_activations": "cpu"}
    window, one = (Stack(offload_window=number) for number in (5, 1))
    name = "top layer, busy"
    more = moment(window, name, **offloaded) - moment(one, name, **offloaded)
    assert more == pytest.approx(4 * 2 * QWEN.hidden * 8192, rel=0.05)
