"""Reading config.json files: what is found, what is assumed, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mfc.catalog import hf_config
from mfc.catalog.architecture import Mlp, Moe
from mfc.errors import SpecError
from mfc.strategy import Quantization

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "intermediate_size": 2816,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}


def test_a_plain_decoder() -> None:
    read = hf_config.read(LLAMA)
    a = read.architecture
    ((count, block),) = a.blocks
    assert (count, a.hidden, a.vocab, a.tied, a.max_positions) == (4, 1024, 32000, False, 4096)
    assert (block.attention.heads, block.attention.kv_heads, block.attention.head_dim) == (16, 4, 64)
    assert block.ffn == Mlp(2816)
    assert (read.assumed, read.quantization, read.dtype) == ((), None, "bfloat16")


@pytest.mark.parametrize(
    "key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"]
)
def test_a_missing_key_is_named_with_its_file(key: str) -> None:
    config = {name: value for name, value in LLAMA.items() if name != key}
    with pytest.raises(SpecError, match=rf"^some/config\.json: the key .*{key}.* is missing$"):
        hf_config.read(config, where="some/config.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": None}, "the key model_type is missing"),
        ({"model_type": 3}, "the key model_type is 3, it has to be text"),
        ({"hidden_size": "wide"}, "hidden_size is 'wide', it has to be a whole number"),
        ({"hidden_size": True}, "hidden_size is True, it has to be a whole number"),
        ({"hidden_size": 0}, "hidden_size is 0, it has to be positive"),
        ({"num_hidden_layers": -2}, "num_hidden_layers is -2, it has to be positive"),
        ({"num_hidden_layers": 10**9}, "1000000000 layers"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "'t5' is not a decoder-only transformer"),
        ({"model_type": "gemma3n_text", "altup_num_inputs": 4}, "gemma3n_text' is not .* mfc can count"),
        ({"model_type": "mamba2", "state_size": 128}, "'mamba2' is not a decoder-only transformer"),
    ],
)
def test_wrong_values_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        hf_config.read({**LLAMA, **change})


def test_an_unknown_family_is_read_as_llama_and_said_so() -> None:
    read = hf_config.read({**LLAMA, "model_type": "brandnew"})
    assert read.architecture.blocks == hf_config.read(LLAMA).architecture.blocks
    (sentence,) = read.assumed
    assert "'brandnew'" in sentence
    assert "Llama" in sentence


def test_an_unknown_vision_tower_is_left_out_and_said_so() -> None:
    read = hf_config.read(
        {"model_type": "brandnew_vl", "text_config": LLAMA, "vision_config": {"model_type": "strange"}}
    )
    assert read.architecture.vision is None
    assert any("vision tower" in sentence for sentence in read.assumed)


MOE = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 512}


@pytest.mark.parametrize(
    ("keys", "sparse"),
    [
        ({}, [0, 1, 2, 3]),
        ({"mlp_only_layers": [1]}, [0, 2, 3]),
        ({"decoder_sparse_step": 2}, [1, 3]),
        ({"first_k_dense_replace": 3}, [3]),
        ({"first_k_dense_replace": 1, "moe_layer_freq": 2}, [2]),
        ({"moe_layer_freq": [0, 1, 1, 0]}, [1, 2]),
        ({"interleave_moe_layer_step": 2}, [1, 3]),
        ({"moe_layers": [0, 3]}, [0, 3]),
        ({"mlp_layer_types": ["dense", "sparse", "dense", "sparse"]}, [1, 3]),
    ],
)
def test_which_layers_have_experts(keys: dict[str, Any], sparse: list[int]) -> None:
    a = hf_config.read({**LLAMA, "model_type": "qwen3_moe", **MOE, **keys}).architecture
    found = [layer for layer, group in enumerate(a.groups) if isinstance(a.blocks[group][1].ffn, Moe)]
    assert found == sparse
    assert sum(count for count, _ in a.blocks) == 4


@pytest.mark.parametrize(
    ("keys", "linear"),
    [
        ({}, [0, 1, 2]),
        ({"full_attention_interval": 2}, [0, 2]),
        ({"layer_types": ["full_attention", "linear_attention", "linear_attention", "full_attention"]}, [1, 2]),
    ],
)
def test_which_layers_are_linear(keys: dict[str, Any], linear: list[int]) -> None:
    hybrid = {
        "linear_num_value_heads": 8, "linear_num_key_heads": 4, "linear_key_head_dim": 64,
        "linear_value_head_dim": 64, "linear_conv_kernel_dim": 4,
    }  # fmt: skip
    a = hf_config.read({**LLAMA, "model_type": "qwen3_5_text", **hybrid, **keys}).architecture
    assert [i for i, group in enumerate(a.groups) if a.blocks[group][1].attention.kind == "linear"] == linear


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"quant_method": "gptq", "bits": 8}, Quantization(8, "gptq", False, pre=True)),
        ({"quant_method": "awq", "bits": 4}, Quantization(4, "awq", False, pre=True)),
        ({"quant_method": "fp8"}, Quantization(8, "fp8", False, pre=True)),
        ({"quant_method": "mxfp4"}, Quantization(4, "mxfp4", False, pre=True)),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, Quantization(4, "fp4", False, pre=True)),
        ({"load_in_4bit": True, "bnb_4bit_use_double_quant": True}, Quantization(4, "nf4", True, pre=True)),
        ({"load_in_8bit": True}, Quantization(8, "int8", False, pre=True)),
    ],
)  # fmt: skip
def test_a_quantised_checkpoint(section: dict[str, Any], expected: Quantization) -> None:
    assert hf_config.read({**LLAMA, "quantization_config": section}).quantization == expected


def test_a_nested_text_config_may_leave_out_class_defaults() -> None:
    clip = {
        "model_type": "clip_vision_model", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "intermediate_size": 4096, "patch_size": 14, "image_size": 336,
    }  # fmt: skip
    text = {"model_type": "llama", "vocab_size": 32064, "max_position_embeddings": 4096}
    a = hf_config.read({"model_type": "llava", "text_config": text, "vision_config": clip}).architecture
    assert (a.hidden, a.layers, a.vocab) == (4096, 32, 32064)
    assert a.vision is not None
    assert a.vision.tokens(65536) == 576


def test_from_file_takes_the_file_or_its_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert hf_config.from_file(tmp_path) == hf_config.from_file(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("content", "message"), [(b"{", "not a JSON file"), (b"[]", "is a JSON object"), (b"\xff\xfe", "not a JSON file")]
)
def test_files_that_are_no_config(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=message):
        hf_config.from_file(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.json: cannot read the model's config: No such file"):
        hf_config.from_file(tmp_path / "nowhere.json")


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"])
def test_from_cache_reads_the_revision_that_main_points_at(tmp_path: Path, variable: str) -> None:
    hub = {"HF_HUB_CACHE": tmp_path, "HF_HOME": tmp_path / "hub", "XDG_CACHE_HOME": tmp_path / "huggingface" / "hub"}
    folder = hub[variable] / "models--org--name"
    for revision, layers in (("aaa", 4), ("bbb", 8)):
        snapshot = folder / "snapshots" / revision
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": layers}))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("aaa\n")
    environ = {variable: str(tmp_path)}
    read = hf_config.from_cache("org/name", environ)
    assert read is not None
    assert read.architecture.layers == 4
    assert hf_config.from_cache("org/other", environ) is None
