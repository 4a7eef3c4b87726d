"""What minimind's code has built in: which script a task has, and which models the flags of size can say."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, pi
from typing import TYPE_CHECKING, Any

from mfc.catalog import hf_config, models

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.strategy import Strategy

NEW, OLD = "3", "2"  # minimind-3 and minimind2: commits d65ef2c of 2026-08-21 and 561979c of 2025-04-30
VERSIONS = (NEW, OLD)

SCRIPTS = {
    "pretrain": "train_pretrain",
    "sft": "train_full_sft",
    "dpo": "train_dpo",
    "grpo": "train_grpo",
    "ppo": "train_ppo",
    "distill": "train_distillation",
}
NEW_ALONE = ("train_grpo", "train_ppo", "train_distillation")  # OLD's train_distillation gives softmax a hidden_size
# The weights that each script writes, and those that it starts from; OLD reads them from the folder that it writes to.
WRITES = {
    "train_pretrain": "pretrain",
    "train_full_sft": "full_sft",
    "train_lora": "lora",
    "train_dpo": "dpo",
    "train_grpo": "grpo",
    "train_ppo": "ppo_actor",
    "train_distillation": "full_dist",
}
READS = {"train_pretrain": "none", "train_full_sft": "pretrain"}
LORA_RANK = {NEW: 16, OLD: 8}  # model/model_lora.py, apply_lora

# What AdamW, its schedule and its seed are in every script, and adapters in train_lora.py: scale 1, on square linears.
# torch.optim.AdamW decays by 0.01; setup_seed(42 + rank), of OLD base_seed 1337.
_ADAMW = {"warmup": 0.0, "weight_decay": 0.01, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8, "keep": 1}
_SAMPLING = {"temperature": 0.8, "top_p": 0.85, "top_k": 50, "repetition_penalty": 1.0}


def always(version: str) -> Mapping[str, Any]:
    """What no flag changes."""
    rank = LORA_RANK[version]
    lora = {"lora_rank": rank, "lora_alpha": rank, "lora_dropout": 0.0, "lora_targets": "q_proj,o_proj"}
    seed = {"seed": 42 if version == NEW else 1337}
    return {**_ADAMW, **lora, **seed, **(_SAMPLING if version == NEW else {"preference_beta": 0.1})}


def script(strategy: Strategy) -> str:
    """The name of the trainer, without its ending."""
    return "train_lora" if strategy.method == "lora" else SCRIPTS[strategy.task]


def reads(name: str) -> str:
    """The name of the weights that a script starts from; none for random ones."""
    return READS.get(name, "full_sft")


def looks_beside(name: str, version: str) -> bool:
    """Whether a script reads weights from the folder that it writes to; PPO does for its critic."""
    return version == OLD or name == "train_ppo"


def writes(name: str, version: str) -> str:
    """The name of the weights that a script writes."""
    if version == OLD and name == "train_dpo":
        return "rlhf"
    return f"lora/{WRITES[name]}" if version == OLD and name == "train_lora" else WRITES[name]


def suffix(architecture: Architecture) -> str:
    """What the name of a file of weights ends with."""
    return f"_{architecture.hidden}" + ("_moe" if architecture.moe else "")


def built(version: str, hidden: int, layers: int, moe: bool) -> Architecture:
    """The model that the size flags make (model/model_minimind.py, MiniMindConfig)."""
    common = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 8, "vocab_size": 6400}
    if version == NEW:
        width = ceil(hidden * pi / 64) * 64
        own = {"num_key_value_heads": 4, "head_dim": hidden // 8, "intermediate_size": width}
        experts = {"num_experts": 4, "num_experts_per_tok": 1, "moe_intermediate_size": width}
    else:
        own = {"num_key_value_heads": 2, "intermediate_size": -(-(hidden * 8 // 3) // 64) * 64}
        experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1}
    config = {"model_type": "minimind", "tie_word_embeddings": True, "use_moe": moe, **common, **own}
    return hf_config.read({**config, **(experts if moe else {})}, where=version).architecture


def teacher(version: str, name: str) -> Architecture | None:
    """A published model that the teacher's flags of size make."""
    found = models.known(name, local=True)
    return found.architecture if found and says(version, found.architecture) else None


def says(version: str, model: Architecture) -> bool:
    """Whether the size flags of a version make this very model."""
    if model.hidden % 16 or model.vision is not None:
        return False
    made = built(version, model.hidden, model.layers, model.moe)
    return (made.blocks, made.vocab, made.tied, made.norm) == (model.blocks, model.vocab, model.tied, model.norm)
