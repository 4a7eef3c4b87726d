"""Reading a Hugging Face config.json into an Architecture: no torch, no transformers, no network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.catalog.decoder import decoder
from mfc.catalog.families import BESIDE, FAMILIES
from mfc.catalog.keys import Keys
from mfc.errors import SpecError
from mfc.files import read as read_file
from mfc.strategy import Quantization


class Config(NamedTuple):
    """What planning needs of a config.json. `assumed` says, in sentences, what the file left open."""

    architecture: Architecture
    assumed: tuple[str, ...] = ()
    quantization: Quantization | None = None  # the checkpoint is stored quantised
    dtype: str | None = None  # bfloat16, float16, float32: how the checkpoint is stored


def read(config: Mapping[str, Any], *, where: str = "config.json") -> Config:
    """The architecture that a config describes.

    `where` names the file in messages. Raises SpecError when a key that the family needs is missing or is not what it
    should be, and for architectures that are no decoder-only language model that mfc can count.
    """
    keys = Keys(config, where)
    family = keys.text("model_type")
    text = _text_config(keys)
    text_family = text.text("model_type", family)
    assumed: list[str] = []
    traits = FAMILIES.get(_LIKE.get(text_family, text_family))
    if traits is None:
        _refuse_unknown(text, text_family)
        traits = FAMILIES["llama"]
        assumed.append(f"{where}: model_type {text_family!r} is not known, so it is read as a Llama-like decoder")
    architecture = decoder(text, family, text_family, traits, keys)
    vision = keys.section("vision_config") or keys.section("visual")
    if keys.has("mm_vision_tower_aux"):
        vision = keys  # Mini-Gemini names its towers beside the keys of the language model
    if vision is not None:
        from mfc.catalog.vision import add

        architecture, more = add(architecture, family, keys, vision)
        assumed += more
    return Config(architecture, tuple(assumed), _quantization(keys), keys.dtype() or text.dtype())


def from_file(path: str | Path) -> Config:
    """Read a config.json (or the folder that holds it). Raises SpecError when it cannot be read."""
    path = Path(path)
    if os.path.isdir(path):
        path = path / "config.json"
    try:
        config = json.loads(read_file(path))
    except OSError as error:
        raise SpecError(f"{path}: cannot read the model's config: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(config, dict):
        raise SpecError(f"{path}: a model's config is a JSON object, this is a {type(config).__name__}")
    return read(config, where=str(path))


def from_cache(model_id: str, environ: Mapping[str, str] = os.environ) -> Config | None:
    """The newest config of a model in the local Hugging Face cache, or None when it is not there."""
    found = cached(model_id, "config.json", environ)
    return from_file(found) if found else None


def cached(model_id: str, name: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """A file of a model in the local Hugging Face cache, of its main branch or else the newest; None without one."""
    home = Path(environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    hub = Path(environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or home / "hub").expanduser()
    folder = hub / ("models--" + model_id.replace("/", "--"))
    if not os.path.isdir(folder):
        return None
    try:
        current = folder / "snapshots" / read_file(folder / "refs" / "main").decode().strip() / name
    except (OSError, ValueError):
        current = folder
    if os.path.isfile(current):
        return current
    found = sorted(filter(os.path.isfile, folder.glob(f"snapshots/*/{name}")), key=os.path.getmtime)
    return found[-1] if found else None


# Nested configs that carry no model_type of their own, or another than the decoder they are.
_LIKE = {
    "qwen2_vl": "qwen2",
    "qwen2_5_vl": "qwen2",
    "llama4": "llama4_text",
    "glm4v": "glm4v_text",
    "mllama": "mllama_text_model",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen3_vl": "qwen3_vl_text",
    "kimi_k2": "deepseek_v3",
}
# Keys of models that are more than attention, or gated delta nets, and MLPs or experts.
_FOREIGN = {
    "encoder_layers", "d_kv", "ssm_cfg", "state_size", "mamba_d_state", "mamba_n_heads", "hybrid_override_pattern",
    "altup_num_inputs", "hidden_size_per_layer_input", "conv_L_cache", "linear_attn_config", "block_configs",
}  # fmt: skip
_TEXT_SECTIONS = ("text_config", "llm_config", "language_config")


def _text_config(keys: Keys) -> Keys:
    for name in _TEXT_SECTIONS:
        section = keys.section(name)
        if section is not None:
            return section
    inner = BESIDE.get(keys.text("model_type"))
    return keys._replace(values={**keys.values, "model_type": inner}) if inner else keys


def _refuse_unknown(text: Keys, family: str) -> None:
    foreign = sorted(_FOREIGN & text.values.keys())
    if foreign or text.flag("is_encoder_decoder"):
        raise SpecError(
            f"{text.where}: model_type {family!r} is not a decoder-only transformer that mfc can count"
            + (f" (it has {', '.join(foreign)})" if foreign else "")
        )


_BITS = {"fp8": 8, "mxfp4": 4, "awq": 4, "gptq": 4, "compressed-tensors": 8, "fbgemm_fp8": 8, "aqlm": 2, "hqq": 4}


def _quantization(keys: Keys) -> Quantization | None:
    section = keys.section("quantization_config")
    if section is None:
        return None
    method = section.text("quant_method", "bitsandbytes")
    if method == "bitsandbytes":
        eight = section.flag("load_in_8bit")
        kind = "int8" if eight else section.text("bnb_4bit_quant_type", "nf4")
        return Quantization(8 if eight else 4, kind, section.flag("bnb_4bit_use_double_quant"), pre=True)
    bits = section.optional("bits", "w_bit", "nbits") or _BITS.get(method, 4)
    return Quantization(bits, method, False, pre=True)
