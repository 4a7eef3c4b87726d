"""The committed contracts are what the real frameworks say today, and refuse what the frameworks let through."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import jsonschema
import pytest
from mfc.rules.packages import EXAMPLES

from tests.conformance.contracts import (
    CONTRACTS,
    LIGER,
    LIGER_VERSION,
    MODELSCOPE,
    TEMPLATES,
    committed,
    contract_file,
    extracted,
    extracted_liger,
    extracted_modelscope,
    extracted_templates,
)

LLAMAFACTORY = {"model_name_or_path": "m", "stage": "sft", "finetuning_type": "lora", "lora_target": "all"}
DEEPSPEED = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 2}}
TRL = {"model_name_or_path": "m", "output_dir": "o", "datasets": [{"path": "json", "data_files": "a.jsonl"}]}
AXOLOTL = {"base_model": "m", "learning_rate": 1e-4, "datasets": [{"path": "a.jsonl", "type": "chat_template"}]}
ACCELERATE = {"distributed_type": "FSDP", "num_processes": 2, "fsdp_config": {"fsdp_version": 2}}
GOOD: dict[str, dict[str, Any]] = {
    "llamafactory": LLAMAFACTORY,
    "deepspeed": DEEPSPEED,
    "trl": TRL,
    "accelerate": ACCELERATE,
    "axolotl": AXOLOTL,
}
ADAMW = {"type": "AdamW", "params": {"lr": 1e-4, "betas": [0.9, 0.999]}}


@pytest.mark.framework
@pytest.mark.parametrize("name", CONTRACTS)
def test_contract_is_what_the_framework_says(name: str) -> None:
    assert contract_file(name).read_text(encoding="utf-8") == extracted(name)


@pytest.mark.framework
def test_templates_are_what_the_framework_says() -> None:
    assert TEMPLATES.read_text(encoding="utf-8") == extracted_templates()


@pytest.mark.framework
def test_modelscopes_ids_are_what_ms_swift_says() -> None:
    assert MODELSCOPE.read_text(encoding="utf-8") == extracted_modelscope()


@pytest.mark.framework
def test_liger_is_what_the_package_says() -> None:
    assert committed(LIGER)[LIGER_VERSION] == extracted_liger()


def test_releases_of_liger_are_newest_first_and_lose_no_family() -> None:
    releases = committed(LIGER)
    assert next(iter(releases)) == LIGER_VERSION == EXAMPLES["liger-kernel"]
    assert list(releases) == sorted(releases, key=lambda name: [int(part) for part in name.split(".")], reverse=True)
    for newer, older in pairwise(releases.values()):
        for kind in ("fuses", "plain"):
            assert all(set(kinds) <= set(newer[kind][name]) for name, kinds in older[kind].items())


@pytest.mark.parametrize("name", CONTRACTS)
def test_contract_is_a_schema_and_closed(name: str) -> None:
    schema = committed(contract_file(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    sections = [one for one in _objects(schema) if one.get("type") == "object" and "properties" in one]
    assert not [one for one in sections if one.get("additionalProperties") is not False]


@pytest.mark.parametrize(
    ("family", "change", "accepted"),
    [
        ("llamafactory", {}, True),
        ("llamafactory", {"lora_target": ["q_proj", "v_proj"]}, True),
        ("llamafactory", {"lora_alpha": None, "learning_rate": 1e-4, "deepspeed": "ds.json"}, True),
        ("llamafactory", {"report_to": ["wandb"], "dataset": "a,b"}, True),
        ("llamafactory", {"pref_loss": "orp0"}, False),
        ("llamafactory", {"stage": "sftx"}, False),
        ("llamafactory", {"quantization_method": "bitsandbytes"}, False),
        ("llamafactory", {"cutoff_lenn": 2048}, False),
        ("llamafactory", {"cutoff_len": "2048"}, False),
        ("llamafactory", {"bf16": "yes"}, False),
        ("llamafactory", {"model_max_length": 2048}, False),
        ("deepspeed", {}, True),
        ("deepspeed", {"optimizer": ADAMW, "bf16": {"enabled": True}}, True),
        ("deepspeed", {"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 10}}}, True),
        ("deepspeed", {"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}}, True),
        ("deepspeed", {"gradient_acumulation_steps": 4}, False),
        ("deepspeed", {"stage3_gather_16bit_weights_on_model_save": True}, False),
        ("deepspeed", {"bf16": {"enabled": "auto"}}, False),
        ("deepspeed", {"train_batch_size": "auto"}, False),
        ("deepspeed", {"aio": {"blok_size": 1}}, False),
        ("deepspeed", {"amp": {"enabled": True}}, False),
        ("deepspeed", {"zero_optimization": {"stage": 4}}, False),
        ("deepspeed", {"zero_optimization": {"stage": 2, "cpu_offload": True}}, False),
        ("deepspeed", {"optimizer": {"type": "AdamW", "params": {"lrr": 1}}}, False),
        ("deepspeed", {"optimizer": {"type": "AdamWW"}}, False),
        ("deepspeed", {"scheduler": {"type": "WarmupLR", "params": {"warmup_steps": 10}}}, False),
        ("trl", {}, True),
        ("trl", {"learning_rate": 1e-4, "warmup_steps": 0.03, "report_to": "none"}, True),
        ("trl", {"max_seq_length": 2048}, False),
        ("trl", {"accelerate_config": "zero3"}, False),
        ("trl", {"dtype": "bf16"}, False),
        ("trl", {"learning_rate": "fast"}, False),
        ("trl", {"datasets": [{"path": "json", "files": "a.jsonl"}]}, False),
        ("accelerate", {}, True),
        ("accelerate", {"deepspeed_config": {"deepspeed_config_file": "a.json", "zero3_init_flag": True}}, True),
        ("accelerate", {"fsdp_config": {"fsdp_reshard_after_forwards": True}}, False),
        ("accelerate", {"fsdp_config": {"fsdp_state_dict_type": "FULL"}}, False),
        ("accelerate", {"deepspeed_config": {"zero_stages": 3}}, False),
        ("accelerate", {"mixed_precision": "bfloat16"}, False),
        ("accelerate", {"num_process": 2}, False),
        ("axolotl", {}, True),
        ("axolotl", {"bf16": "auto", "fsdp_version": 2, "fsdp_config": {"offload_params": True}}, True),
        ("axolotl", {"attn_implementation": "kernels-community/flash-attn3", "adapter": "lora"}, True),
        ("axolotl", {"bf16": True, "fp16": False, "optimizer": "muon", "lr_scheduler": "rex"}, True),
        ("axolotl", {"bf16": True, "fp16": True}, False),
        ("axolotl", {"gradient_acumulation_steps": 4}, False),
        ("axolotl", {"optimizer": "adam"}, False),
        ("axolotl", {"lr_scheduler": "cosin"}, False),
        ("axolotl", {"save_strategy": "step"}, False),
        ("axolotl", {"adapter": "dora"}, False),
        ("axolotl", {"fsdp_config": {"fsdp_offload_params": True}}, False),
        ("axolotl", {"datasets": [{"path": "a.jsonl", "typ": "chat_template"}]}, False),
        ("axolotl", {"rope_scaling": {"type": "yarn"}}, False),
    ],
)
def test_contract_refuses_what_frameworks_let_through(family: str, change: dict[str, Any], accepted: bool) -> None:
    config = {**GOOD[family], **change}
    for name in (name for name in CONTRACTS if name.startswith(family)):
        assert jsonschema.Draft202012Validator(committed(contract_file(name))).is_valid(config) is accepted, name


def test_templates_name_models_once() -> None:
    for version, found in committed(TEMPLATES).items():
        models = [model for ids in found["models"].values() for model in ids]
        assert "Qwen/Qwen2.5-7B-Instruct" in found["models"]["qwen"], version
        assert len(models) > 300
        assert set(found["reasoning"]) < set(found["models"])


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from _objects(value)
