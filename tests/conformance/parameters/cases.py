"""Which models of the catalogue are built for real, and at what depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfc.catalog import models
from mfc.catalog.hf_config import read
from mfc.catalog.parameters import target_names

# Their code is not part of transformers: only their published counts check them (tests/catalog/test_models.py).
REMOTE_ONLY = (
    *("baichuan", "chatglm", "internlm2", "internlm3", "internvl_chat"),
    *("mgm", "mgm_gemma", "mgm_mixtral", "minicpm", "minicpmv", "minimind", "qwen"),
)

# Also built at full depth: dense, MLA, hybrid, vision.
FULL_DEPTH = (
    "Qwen/Qwen2.5-7B",
    "deepseek-ai/DeepSeek-V2-Lite",
    "Qwen/Qwen3.5-0.8B",
    "Qwen/Qwen2.5-VL-3B-Instruct",
)

_TOWERS = r".*(vision|visual|multi_modal_projector).*"


def cases() -> list[dict[str, Any]]:
    """One model of each family at small depth, and the few of FULL_DEPTH as they are."""
    found: dict[str, dict[str, Any]] = {}
    for row in models.rows():
        config = row["config"]
        kind = variant(config)
        if config["model_type"] not in REMOTE_ONLY and kind not in found:
            found[kind] = case(f"{kind}: {row['id']}", shallow(config))
    whole = [case(f"full depth: {row['id']}", row["config"]) for row in models.rows() if row["id"] in FULL_DEPTH]
    return [*found.values(), *whole]


def variant(config: Mapping[str, Any]) -> str:
    """The family, and what changes its code path."""
    parts = [config["model_type"]]
    text = config.get("text_config")
    if text:
        parts.append(text["model_type"])
    if config.get("vision_config", {}).get("model_type"):
        parts.append(config["vision_config"]["model_type"])
    switches = ("new_decoder_architecture", "num_ln_in_parallel_attn", "qk_layernorm", "use_qk_norm", "use_qkv_bias")
    parts += [key for key in (*switches, "attention_bias", "mlp_bias") if config.get(key)]
    if config.get("q_lora_rank"):
        parts.append("q_lora_rank")
    if (text or config).get("interleave_moe_layer_step", 1) != 1:
        parts.append("interleaved")
    if config.get("tie_word_embeddings"):
        parts.append("tied")
    return " ".join(parts)


def shallow(config: Mapping[str, Any], depth: int = 4) -> dict[str, Any]:
    """The same model with few layers: every kind of layer is still there."""
    cut: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            cut[key] = shallow(value, depth)
        elif key in ("num_hidden_layers", "n_layer", "num_layers", "depth"):
            cut[key] = min(value, depth)
        elif key == "num_global_layers":
            cut[key] = 2
        elif key == "first_k_dense_replace":
            cut[key] = min(value, depth - 1)
        elif key == "cross_attention_layers":
            cut[key] = [1, 3]
        elif key == "deepstack_visual_indexes":
            cut[key] = [0, 1, 2][: len(value)]
        else:
            cut[key] = value
    return cut


def case(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the driver is asked."""
    architecture = read(config).architecture
    towers = _TOWERS if architecture.vision else None
    adapters: dict[str, Any] = {"all-linear": {"target_modules": "all-linear"}}
    for group in ("attention", "mlp"):
        adapters[group] = {"target_modules": list(target_names(architecture, group)), "exclude_modules": towers}
    if towers:
        adapters["language"] = {"target_modules": "all-linear", "exclude_modules": towers}
    return {"name": name, "config": dict(config), "adapters": adapters}
