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

from mfc.target.templates import Listed

# Lines of models that the list has in no size, by how their names begin. Each was trained with the very template of its
# line's entry: a fine-tune of another maker's, a reasoning model or a newer generation often has one of its own.
_BY_NAME: tuple[tuple[str, str], ...] = (
    (r"(code)?qwen(1\.5)?-.*chat", "qwen"),
    (r"qwen3-coder-", "qwen3_nothink"),
    (r"codellama-.*instruct", "llama2"),
    (r"llama-3\.1-nemotron-.*instruct", "llama3"),
    (r"tinyllama-.*chat|stablelm-(2-)?zephyr", "zephyr"),
    (r"deepseek-math-.*-rl", "deepseek"),
    (r"mistral-(small|large)-instruct-240[79]", "mistral"),
    (r"devstral-small-2505", "mistral_small"),
    (r"openchat_3\.5", "openchat"),
    (r"phi-3\.5-(mini|moe)-instruct", "phi"),
    (r"phi-4-mini-instruct", "phi4_mini"),
    (r"glm-4-.*chat", "glm4"),
    (r"glm-4\.6", "glm4_moe"),
    (r"internlm2-math", "intern2"),
    (r"internvl", "intern_vl"),
    (r"olmo(e|-2)-.*instruct", "olmo"),
    (r"gpt-oss", "gpt_oss"),
    (r"aya-", "cohere"),
    (r"minimax-m2", "minimax2"),
)


@lru_cache
def known(version: str) -> Mapping[str, Sequence[str]]:
    """All templates of one version, each with the models whose default it is."""
    table: Mapping[str, Any] = json.loads(Path(__file__).with_name("templates.json").read_bytes())
    models: Mapping[str, Sequence[str]] = table[version]["models"]
    return models


@lru_cache
def seeing(version: str) -> frozenset[str]:
    """The templates that take pictures, videos or sound."""
    table: Mapping[str, Any] = json.loads(Path(__file__).with_name("templates.json").read_bytes())
    return frozenset(table[version]["multimodal"])


@lru_cache
def _listed(version: str) -> Listed:
    return Listed(known(version))


def find(names: tuple[str, ...], instruct: bool | None, version: str) -> tuple[str, str]:
    """The template of a model, by the names that it is known as, and why; an empty name when nothing says."""
    model, own = names[0], [name.rstrip("/").rpartition("/")[2].lower() for name in names]
    if match := _listed(version).match(names):
        return match.found, f"the default that LLaMA-Factory {version} has for {match.listed}"
    if instruct is False or (instruct is None and own[-1].endswith("-base")):
        return "default", f"{model} is a base model, made for no chat template"
    for pattern, name in _BY_NAME:
        if name in known(version) and any(re.match(pattern, each) for each in own):
            return name, f"by its name, {model} is of a line that was trained with it"
    return "", f"LLaMA-Factory {version} has none for {model}: to compile, set targets.llamafactory.template"
