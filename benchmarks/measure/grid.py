"""What the sweep measures: models, changes of one thing at a time, and the frameworks they are tried in."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from benchmarks import truth

WORDS = 400  # that the tokenizer of saved models knows: w0 and so on, each one token
Case = Mapping[str, Any]

# trainer: the Hugging Face Trainer as it is. The others run what mfc compiles for them.
FRAMEWORKS = ("trainer", "deepspeed", "llamafactory")
# dims_key -> model_type of transformers; dense from half a billion numbers to 32, and mixtures of experts.
MODELS = {
    "Qwen2.5-0.5B-Instruct": "qwen2",
    "Llama-3.2-1B": "llama",
    "Qwen2.5-1.5B-Instruct": "qwen2",
    "gemma-2-2b": "gemma2",
    "Llama-3.2-3B": "llama",
    "Qwen3-4B": "qwen3",
    "Qwen2.5-7B": "qwen2",
    "Llama-3.1-8B": "llama",
    "Qwen2.5-14B": "qwen2",
    "qwen1.5-moe-a2.7b": "qwen2_moe",
    "Qwen3-30B-A3B": "qwen3_moe",
    "Qwen2.5-32B": "qwen2",
}
COMPILED_MODELS = ("Qwen2.5-0.5B-Instruct", "Llama-3.2-1B", "Llama-3.2-3B", "Qwen2.5-7B", "qwen1.5-moe-a2.7b")
TINY = {
    "hidden": 64, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 16, "intermediate": 128, "vocab": 512,
    "tie_embeddings": True, "qkv_bias": False, "experts": 0, "experts_per_token": 0,
}  # fmt: skip
BASE: Case = {
    "framework": "trainer", "sharding": "ddp", "offload": "none", "method": "full", "rank": 16, "micro_batch": 1,
    "accumulation": 1, "length": 2048, "checkpointing": True, "attention": "sdpa", "padded": False, "fused_loss": False,
    "precision": "bf16", "optimizer": "adamw_torch_fused", "steps": 4,
}  # fmt: skip
# One change at a time around the three methods, and a few together.
VARIANTS: tuple[Case, ...] = (
    {},
    {"length": 8192},
    {"length": 32768},
    {"length": 512, "micro_batch": 16},
    {"micro_batch": 4},
    {"checkpointing": False},
    {"checkpointing": False, "length": 512, "micro_batch": 8},
    {"fused_loss": True},
    {"fused_loss": True, "length": 8192},
    {"fused_loss": True, "checkpointing": False},
    {"accumulation": 4},
    {"padded": True, "micro_batch": 4},
    {"attention": "eager", "length": 1024},
    {"attention": "flash_attention_2"},
    {"attention": "flash_attention_2", "padded": True, "micro_batch": 4},
    {"precision": "fp32 weights"},
    {"precision": "pure bf16"},
    {"optimizer": "adamw_torch"},
    {"optimizer": "adamw_8bit"},
    {"rank": 128},
)
# The same for compiled files; what the JSON or the YAML says is mfc's.
COMPILED: Mapping[str, tuple[Case, ...]] = {
    "deepspeed": (
        {},
        {"sharding": "zero2"},
        {"sharding": "zero3"},
        {"sharding": "zero1"},
        {"sharding": "zero2", "accumulation": 4},
        {"sharding": "zero3", "length": 8192},
        {"sharding": "zero2", "micro_batch": 4},
        {"sharding": "zero2", "fused_loss": True},
        {"sharding": "zero2", "checkpointing": False},
        {"sharding": "zero2", "offload": "optimizer"},
    ),
    "llamafactory": (
        {},
        {"length": 8192},
        {"micro_batch": 4},
        {"checkpointing": False},
        {"fused_loss": True},
        {"accumulation": 4},
        {"precision": "pure bf16"},
        {"sharding": "zero2"},
        {"sharding": "zero3"},
        {"attention": "flash_attention_2"},
    ),
}
# What each thing needs beside the framework: importable modules by (key, value) of a case.
NEEDS: Mapping[tuple[str, Any], str] = {
    ("method", "lora"): "peft",
    ("method", "qlora"): "bitsandbytes",
    ("optimizer", "adamw_8bit"): "bitsandbytes",
    ("attention", "flash_attention_2"): "flash_attn",
    ("fused_loss", True): "liger_kernel",
}


def grid(libraries: Mapping[str, Collection[str]]) -> Iterator[Case]:
    """All cases that the libraries of each framework's interpreter allow, by the name of the framework."""
    for framework in libraries:
        models = MODELS if framework == "trainer" else COMPILED_MODELS
        variants = COMPILED.get(framework, VARIANTS)
        for model, method, change in itertools.product(models, ("full", "lora", "qlora"), variants):
            made = {**BASE, "framework": framework, "model": model, "family": MODELS[model], "method": method, **change}
            if made["family"] == "gemma2" and made["attention"] == "sdpa":
                made["attention"] = "eager"  # its capped attention scores have no other kernel
            if _makes_sense(made) and _possible(made, libraries[framework]):
                yield made


def tiny_grid(libraries: Mapping[str, Collection[str]]) -> Iterator[Case]:
    """What tries the machinery on a CPU."""
    small = {**BASE, "model": "tiny", "family": "llama", "length": 32, "steps": 2}
    changes: Mapping[str, tuple[Case, ...]] = {
        "trainer": (
            {},
            {"method": "lora", "micro_batch": 2, "accumulation": 2, "padded": True},
            {"method": "lora", "checkpointing": False},
            {"method": "qlora"},
        ),
        "deepspeed": ({"accumulation": 2}, {"method": "lora", "sharding": "zero2", "micro_batch": 2}),
        "llamafactory": ({"method": "lora", "micro_batch": 2}, {"sharding": "zero2", "accumulation": 2}),
    }
    for framework, found in libraries.items():
        for change in changes[framework]:
            made = {**small, "framework": framework, **change}
            if _possible(made, found):
                yield made


def _makes_sense(made: Case) -> bool:
    """Without what a method or a framework cannot do, or does not show."""
    adapters = made["method"] != "full"
    if made["precision"] == "fp32 weights" and adapters:
        return False
    if made["rank"] != BASE["rank"] and not adapters:
        return False
    if made["framework"] == "deepspeed" and made["method"] == "qlora":
        return False  # the engine's casts and flat buffers are for weights it trains
    if made["offload"] != "none" and adapters:
        return False
    return not (made["method"] == "qlora" and (made["sharding"] == "zero3" or made["precision"] == "pure bf16"))


def _possible(made: Case, libraries: Collection[str]) -> bool:
    if made["method"] == "qlora" and "peft" not in libraries:
        return False
    return all(library in libraries for (key, value), library in NEEDS.items() if made[key] == value)


def identity(made: Case, device: str) -> str:
    """The id of a case's row: everything that differs from BASE."""
    parts = [f"{key}={made[key]}" for key in BASE if made[key] != BASE[key]]
    return "/".join(["mfc-measure", device, str(made["model"]), *parts]).replace(" ", "-")


def dimensions(model: str) -> Mapping[str, Any]:
    """Dimensions by dims_key."""
    return TINY if model == "tiny" else truth.dimensions()[model]


def config(made: Case) -> dict[str, Any]:
    """The Hugging Face config of a case's model."""
    dims = dimensions(str(made["model"]))
    found = {
        "model_type": made["family"],
        "hidden_size": dims["hidden"],
        "num_hidden_layers": dims["layers"],
        "num_attention_heads": dims["heads"],
        "num_key_value_heads": dims["kv_heads"],
        "head_dim": dims["head_dim"],
        "intermediate_size": dims["intermediate"],
        "vocab_size": dims["vocab"],
        "tie_word_embeddings": dims["tie_embeddings"],
        "max_position_embeddings": 32768,
        "pad_token_id": 0,
    }
    if dims["experts"]:
        found["num_experts"] = dims["experts"]
        found["num_experts_per_tok"] = dims["experts_per_token"]
        found["moe_intermediate_size"] = dims["moe_intermediate"]
        if "shared_expert_intermediate" in dims:
            found["shared_expert_intermediate_size"] = dims["shared_expert_intermediate"]
    return found
