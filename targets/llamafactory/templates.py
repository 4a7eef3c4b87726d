"""Chat templates: which of LLaMA-Factory's a model was trained with.

`templates.json` holds, for each version, all templates with the models whose default they are; it is extracted from
LLaMA-Factory itself (contract/extract.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

# Models that the list does not know, by what their names say; the first that matches counts. All of these describe
# models that answer; a base model has the template `default`.
_BY_NAME: tuple[tuple[str, str], ...] = (
    (r"deepseek-r1-distill|deepseek-r1", "deepseekr1"),
    (r"qwen3-vl.*instruct", "qwen3_vl_nothink"),
    (r"qwen3-vl", "qwen3_vl"),
    (r"qwen3-omni.*thinking", "qwen3_omni"),
    (r"qwen3-omni", "qwen3_omni_nothink"),
    (r"qwen3-(next|coder).*instruct|qwen3-.*instruct-2507", "qwen3_nothink"),
    (r"qwen3[.-]5", "qwen3_5"),
    (r"qwen3", "qwen3"),
    (r"qwen2(\.5)?-omni", "qwen2_omni"),
    (r"qwen2-audio", "qwen2_audio"),
    (r"qwen2(\.5)?-vl|qvq", "qwen2_vl"),
    (r"qwen|qwq", "qwen"),
    (r"llama-?3\.2.*vision", "mllama"),
    (r"llama-?4", "llama4"),
    (r"llama-?3|tulu-3|hermes-3", "llama3"),
    (r"tinyllama|zephyr", "zephyr"),
    (r"vicuna", "vicuna"),
    (r"llama-?2", "llama2"),
    (r"glm-?z1", "glmz1"),
    (r"glm-?4\.[56]v", "glm4_5v"),
    (r"glm-?4\.1v", "glm4v"),
    (r"glm-?4\.7", "glm4_7"),
    (r"glm-?4\.[56]", "glm4_moe"),
    (r"glm-?4", "glm4"),
    (r"chatglm3", "chatglm3"),
    (r"deepseek-coder", "deepseekcoder"),
    (r"deepseek-(v2|v3)", "deepseek3"),
    (r"deepseek-(llm|moe|math)", "deepseek"),
    (r"pixtral", "pixtral"),
    (r"ministral-3", "ministral3"),
    (r"mistral-small|devstral|magistral", "mistral_small"),
    (r"nemo|ministral", "ministral"),
    (r"mistral|mixtral|codestral", "mistral"),
    (r"gemma-?4", "gemma4"),
    (r"gemma-?3n", "gemma3n"),
    (r"gemma-?3|medgemma", "gemma3"),
    (r"gemma-?2", "gemma2"),
    (r"gemma", "gemma"),
    (r"internvl", "intern_vl"),
    (r"internlm|intern2", "intern2"),
    (r"phi-?4-mini", "phi4_mini"),
    (r"phi-?4", "phi4"),
    (r"phi-?3(\.5)?-small", "phi_small"),
    (r"phi-?3", "phi"),
    (r"yi-vl", "yi_vl"),
    (r"\byi-", "yi"),
    (r"minicpm-o", "minicpm_o"),
    (r"minicpm-v", "minicpm_v"),
    (r"minicpm-?4", "cpm4"),
    (r"ernie-4\.5-vl", "ernie_vl"),
    (r"ernie-4\.5.*thinking", "ernie"),
    (r"ernie-4\.5", "ernie_nothink"),
    (r"hunyuan", "hunyuan"),
    (r"gpt-oss", "gpt_oss"),
    (r"kimi-vl", "kimi_vl"),
    (r"moonlight", "moonlight"),
    (r"mimo-vl", "mimo_vl"),
    (r"mimo", "mimo"),
    (r"granite-?4", "granite4"),
    (r"granite-?3", "granite3"),
    (r"falcon-h1", "falcon_h1"),
    (r"falcon3", "falcon"),
    (r"falcon", "falcon"),
    (r"smollm2", "smollm2"),
    (r"smollm", "smollm"),
    (r"seed-oss", "seed_oss"),
    (r"seed-coder", "seed_coder"),
    (r"solar", "solar"),
    (r"aya|command-r", "cohere"),
    (r"exaone", "exaone"),
    (r"olmo", "olmo"),
    (r"minimax-m2", "minimax2"),
    (r"minimax", "minimax1"),
)


@lru_cache
def known(version: str) -> Mapping[str, Sequence[str]]:
    """All templates of one version, each with the models whose default it is."""
    table: Mapping[str, Any] = json.loads(Path(__file__).with_name("templates.json").read_bytes())
    models: Mapping[str, Sequence[str]] = table[version]["models"]
    return models


def find(model: str, instruct: bool | None, version: str) -> tuple[str, str]:
    """The template of a model and why it is that one; an empty name when nothing says."""
    templates = known(version)
    for name, models in templates.items():
        if model in models:
            return name, f"the default that LLaMA-Factory {version} has for {model}"
    own = _last(model)
    same = [name for name, models in templates.items() if any(_last(other) == own for other in models)]
    if len(same) == 1:
        return same[0], f"the default that LLaMA-Factory {version} has for a model called {own}"
    if instruct is False or (instruct is None and own.endswith("-base")):
        return "default", f"{model} is a base model, made for no chat template"
    for pattern, name in _BY_NAME:
        if name in templates and re.search(pattern, own):
            return name, f"by its name, {model} is of the family that uses it"
    return "", f"LLaMA-Factory {version} has none for {model}: to compile, set data.template"


def _last(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2].lower()
