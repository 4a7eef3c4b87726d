"""Counting: the parts add up, and adapters follow PEFT's rules."""

from __future__ import annotations

import pytest
from mfc.catalog import models
from mfc.catalog.architecture import Architecture
from mfc.catalog.parameters import (
    adapters,
    count,
    linears,
    lora_count,
    saved_count,
    target_names,
    trainable_count,
)
from mfc.strategy import Lora


def arch(model_id: str) -> Architecture:
    return models.find(model_id).architecture


@pytest.mark.parametrize("model", models.all_models(), ids=lambda model: model.id)
def test_the_parts_add_up(model: models.Entry) -> None:
    a, counted = model.architecture, count(model.architecture)
    body = sum(repeat * each.total for (repeat, _), each in zip(a.blocks, counted.blocks, strict=True))
    outer = counted.total - body - counted.embedding - counted.head - counted.vision - counted.projector
    assert 0 <= outer <= 4 * a.hidden + a.extra_parameters  # the norms outside the blocks
    assert counted.language == counted.total - counted.vision - counted.projector
    assert trainable_count(a, "full") == counted.total
    assert trainable_count(a, "freeze", trainable_layers=a.layers) == body
    assert len(a.groups) == a.layers
    for fused in (True, False):
        listed = linears(a, fused_experts=fused)
        inside = sum(each.parameters for each in listed if each.group >= 0)
        assert 0 < inside <= body
        assert inside == sum(each.parameters for each in linears(a) if each.group >= 0)


# rank x (in + out) summed by hand from the published dimensions
@pytest.mark.parametrize(
    ("model", "targets", "rank", "expected"),
    [
        ("meta-llama/Llama-3.1-8B", "all-linear", 8, 20_971_520),
        ("meta-llama/Llama-3.1-8B", "q_proj,v_proj", 8, 3_407_872),
        ("meta-llama/Llama-3.1-8B", "q_proj, v_proj", 16, 6_815_744),
        ("meta-llama/Llama-3.1-8B", "attention", 8, 6_815_744),
        ("meta-llama/Llama-3.1-8B", "mlp", 8, 14_155_776),
        ("microsoft/Phi-3-mini-4k-instruct", "all-linear", 8, 12_582_912),  # fused qkv and gate_up
    ],
)
def test_adapters_of_dense_models(model: str, targets: str, rank: int, expected: int) -> None:
    assert lora_count(arch(model), Lora(rank, 2 * rank, targets=targets)) == expected


def test_fused_experts_get_twice_the_rank_and_the_router_is_adapted() -> None:
    a, lora = arch("mistralai/Mixtral-8x7B-v0.1"), Lora(8, 16)
    h, f, experts, layers = 4096, 14336, 8, 32
    attention = 8 * (2 * (h + h) + 2 * (h + 1024))
    fused = 8 * (h + experts) + 16 * experts * (h + 2 * f) + 8 * experts * (f + h)
    assert lora_count(a, lora) == layers * (attention + fused)
    apart = 8 * (h + experts) + 8 * experts * 3 * (h + f)
    assert lora_count(a, lora, fused_experts=False) == layers * (attention + apart)
    assert lora_count(a, lora, expert_adapters=False) == layers * attention


def test_the_remap_takes_the_names_of_dense_and_shared_layers() -> None:
    a = arch("deepseek-ai/DeepSeek-V3-Base")
    kinds = {each.linear.kind for each in adapters(a, Lora(8, 16))}
    assert kinds == {"attention", "expert", "router"}
    assert {each.linear.kind for each in adapters(a, Lora(8, 16), expert_adapters=False)} == {
        "attention",
        "mlp",
        "shared",
    }


def test_experts_that_peft_does_not_remap_stay_frozen() -> None:
    assert {each.linear.kind for each in adapters(arch("openai/gpt-oss-20b"), Lora(8, 16))} == {"attention"}


@pytest.mark.parametrize(
    ("model", "targets", "expected"),
    [
        ("Qwen/Qwen2.5-7B", "attention", ("k_proj", "o_proj", "q_proj", "v_proj")),
        ("Qwen/Qwen2.5-7B", "mlp", ("down_proj", "gate_proj", "up_proj")),
        ("Qwen/Qwen-7B", "attention", ("c_attn", "c_proj")),
        ("THUDM/chatglm3-6b", "all-linear", ("all-linear",)),
        ("THUDM/chatglm3-6b", "attention", ("dense", "query_key_value")),
        ("mistralai/Mixtral-8x7B-v0.1", "mlp", ("w1", "w2", "w3")),
        ("openai/gpt-oss-20b", "mlp", ()),
        ("OpenGVLab/InternVL2-8B", "attention", ("wo", "wqkv")),
        ("Qwen/Qwen3-Coder-Next", "attention",
         ("in_proj_ba", "in_proj_qkvz", "k_proj", "o_proj", "out_proj", "q_proj", "v_proj")),
        ("Qwen/Qwen2.5-7B", "q_proj,lm_head", ("lm_head", "q_proj")),
    ],
)  # fmt: skip
def test_target_names(model: str, targets: str, expected: tuple[str, ...]) -> None:
    assert target_names(arch(model), targets) == expected


def test_a_frozen_tower_gets_no_adapters() -> None:
    a, lora = arch("Qwen/Qwen2.5-VL-7B-Instruct"), Lora(8, 16)
    language = lora_count(a, lora, freeze_parts=("vision", "projector"))
    assert language == lora_count(arch("Qwen/Qwen2.5-7B"), lora)
    assert lora_count(a, lora) > lora_count(a, lora, freeze_parts=("vision",)) > language
    counted = count(a)
    assert trainable_count(a, "full", freeze_parts=("vision",)) == counted.total - counted.vision
    assert trainable_count(a, "full", freeze_parts=("language",)) == counted.vision + counted.projector


def test_dora_adds_a_magnitude_for_each_output() -> None:
    a = arch("meta-llama/Llama-3.1-8B")
    outputs = 32 * (4096 + 1024 + 1024 + 4096 + 14336 + 14336 + 4096)
    assert lora_count(a, Lora(8, 16, variant="dora")) - lora_count(a, Lora(8, 16)) == outputs


def test_modules_trained_whole_are_counted_beside_the_adapters() -> None:
    a = arch("Qwen/Qwen2.5-7B")
    lora = Lora(8, 16, modules_to_save=("embed_tokens", "lm_head"))
    assert saved_count(a, lora) == 2 * 152064 * 3584
    assert trainable_count(a, "lora", lora=lora) == lora_count(a, lora) + saved_count(a, lora)


def test_freeze_trains_the_last_blocks() -> None:
    a = arch("deepseek-ai/DeepSeek-V2-Lite")  # its first block is dense, the others are not
    dense, sparse = (each.total for each in count(a).blocks)
    assert trainable_count(a, "freeze", trainable_layers=2) == 2 * sparse
    assert trainable_count(a, "freeze", trainable_layers=27) == 26 * sparse + dense
    hybrid = arch("Qwen/Qwen3.5-0.8B")  # three linear layers, then one with attention
    linear, full = (each.total for each in count(hybrid).blocks)
    assert trainable_count(hybrid, "freeze", trainable_layers=2) == linear + full
