"""XTuner's InternVL configs read back, for other frameworks: mfc's target for XTuner trains language models.

Source: xtuner/model/internvl.py and dataset/internvl_dataset.py of 0.2.0: weights in bf16, flash attention, every layer
computed again; what no key freezes trains, and the projector always does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import codecs as x

MODEL = "InternVL_V1_5"
_QUANTISED = {
    "load_in_4bit": True,
    "bnb_4bit_compute_dtype": "torch:float16",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_quant_type": "nf4",
}
_SAID = (
    "freeze_llm",
    "freeze_visual_encoder",
    "llm_lora",
    "visual_encoder_lora",
    "quantization_vit",
    "quantization_llm",
)
NOTE = "mfc's target for XTuner trains language models: convert it to a framework that mfc writes pictures for"


def is_one(config: Mapping[str, Any]) -> bool:
    """Whether a config builds an InternVL."""
    kind = config["model"].get("type") if isinstance(config.get("model"), Mapping) else None
    return isinstance(kind, str) and kind.rpartition(":")[2].rpartition(".")[2] == MODEL


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as one of a language model, whose keys say the same."""
    said = config["model"]
    llm = {
        "type": x.LLM,
        "pretrained_model_name_or_path": said.get("model_path"),
        "torch_dtype": "torch:bfloat16",
        "attn_implementation": "flash_attention_2",
    }
    if said.get("quantization_llm"):
        llm["quantization_config"] = _QUANTISED
    model = {"type": x.TUNES, "use_activation_checkpointing": True, "llm": llm}
    if adapters := said.get("llm_lora") or said.get("visual_encoder_lora"):
        model["lora"] = adapters
    made = {**config, "model": model}
    loader = config.get("train_dataloader")
    rows = loader.get("dataset") if isinstance(loader, Mapping) else None
    if isinstance(loader, Mapping) and isinstance(rows, Mapping):
        kept = {key: rows[key] for key in ("type", "max_length", "data_paths", "image_folders") if key in rows}
        template = {"template_map_fn": {"template": rows["template"]}} if "template" in rows else {}
        made["train_dataloader"] = {**loader, "dataset": {**kept, **template, "pack_to_max_length": False}}
    return made


def told(config: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What of the model learns."""
    said = config["model"]
    adapts = {"language": said.get("llm_lora"), "vision": said.get("visual_encoder_lora")}
    frozen = {"language": said.get("freeze_llm"), "vision": said.get("freeze_visual_encoder")}
    if not any(adapts.values()):
        return {"freeze_parts": (tuple(part for part in ("vision", "language") if frozen[part]),)}
    return {
        "freeze_parts": (tuple(part for part in ("vision", "language") if not adapts[part]),),
        "whole_parts": (("projector",),),
    }


def taken() -> dict[str, str]:
    """Keys of such a config that are no language model's, and where the spec says them."""
    keys = dict.fromkeys((f"model.{name}" for name in _SAID), "train.freeze_parts")
    return {**keys, "model.model_path": "model.id", "train_dataset.data_paths": "data.train"}


def knows(kind: str) -> bool:
    """Whether rows are read by InternVL's data set."""
    return kind.rpartition(":")[2].rpartition(".")[2] == "InternVL_V1_5_Dataset"
