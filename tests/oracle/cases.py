"""The dozen live cases: every kind of attention and feed-forward, full and LoRA, both checkpointing modes.

A case is (model of the catalogue, fields of the strategy over BASE, facts of the stack over its defaults). Hundreds
more are recorded in tests/memory/data.
"""

from __future__ import annotations

from typing import Any

BASE: dict[str, Any] = {
    "task": "sft",
    "method": "full",
    "precision": "bf16",
    "sharding": "ddp",
    "world_size": 1,
    "max_length": 2048,
    "micro_batch": 1,
    "gradient_accumulation": 1,
    "gradient_checkpointing": True,
    "attention": "sdpa",
    "loss": "plain",
    "optimizer": "adamw",
    "packing": True,
}
LORA = {"method": "lora", "lora": {"rank": 8, "alpha": 16}}
OPEN = {"gradient_checkpointing": False, "micro_batch": 2}

CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama full": ("meta-llama/Llama-3.1-8B", {}, {}),
    "llama full, fp32 weights under autocast": ("meta-llama/Llama-3.1-8B", OPEN, {"trainable_fp32": True}),
    "llama lora, padded batches": ("meta-llama/Llama-3.1-8B", {**LORA, **OPEN, "packing": False}, {}),
    "llama lora, packed with a mask": (
        "meta-llama/Llama-3.1-8B",
        {**LORA, **OPEN, "max_length": 4096},
        {"packing_mask": True},
    ),
    "qwen3 full, packed with a mask": ("Qwen/Qwen3-8B", {"max_length": 8192}, {"packing_mask": True}),
    "llama lora, accumulating, outputs held": (
        "meta-llama/Llama-3.2-1B",
        {**LORA, "gradient_accumulation": 4, "micro_batch": 4},
        {"keeps_outputs": True, "autocast": False},
    ),
    "qwen2 full, foreach": ("Qwen/Qwen2.5-0.5B", {"max_length": 512}, {"optimizer_foreach": True}),
    "qwen2 lora with dropout on two targets": (
        "Qwen/Qwen2.5-7B",
        {**OPEN, "method": "lora", "lora": {"rank": 64, "alpha": 16, "dropout": 0.05, "targets": "q_proj,v_proj"}},
        {},
    ),
    "llama lora, embedding and head trained whole": (
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        {"method": "lora", "lora": {"rank": 8, "alpha": 16, "modules_to_save": ("embed_tokens", "lm_head")}},
        {},
    ),
    "qwen3 full, long": ("Qwen/Qwen3-8B", {"max_length": 8192}, {}),
    "gemma2 full": ("google/gemma-2-2b", OPEN, {}),
    "glm4 lora": ("THUDM/glm-4-9b-chat-hf", {**LORA, **OPEN}, {}),
    "phi3 full": ("microsoft/Phi-3-mini-4k-instruct", OPEN, {}),
    "mixtral lora": ("mistralai/Mixtral-8x7B-v0.1", LORA, {}),
    "qwen2-moe full": ("Qwen/Qwen1.5-MoE-A2.7B", OPEN, {}),
    "qwen3-moe lora": ("Qwen/Qwen3-30B-A3B", {**LORA, **OPEN}, {}),
    "deepseek full": ("deepseek-ai/DeepSeek-V2-Lite", OPEN, {}),
}
