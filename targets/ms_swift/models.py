"""Model types and chat templates: what ms-swift calls a model, by its own list.

`models.json` holds, for each version, the model types with the Hugging Face ids that they have by template; it is
extracted from ms-swift itself (contract/extract.py models).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

# Models that the list lacks, by what their names say; the first that matches counts.
_BY_NAME = (
    (r"tinyllama|zephyr", "zephyr"),
    (r"llama-3\.[123]", "llama3_2"),
    (r"llama-3", "llama3"),
    (r"llama-2", "llama"),
    (r"qwen2\.5", "qwen2_5"),
)


@lru_cache
def known(version: str) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Model type -> template -> ids, of one version."""
    table: Mapping[str, Mapping[str, tuple[str, ...]]] = json.loads(
        Path(__file__).with_name("models.json").read_bytes()
    )[version]
    return table


@lru_cache
def templates(version: str) -> frozenset[str]:
    """Names of all chat templates that models of the list have."""
    return frozenset(template for groups in known(version).values() for template in groups if template)


_SAY = "to compile, set data.template"


class Known(NamedTuple):
    """What ms-swift calls a model and its chat template, each with why; empty where nothing says."""

    kind: str
    template: str
    why_kind: str
    why_template: str


@lru_cache(maxsize=256)
def find(model: str, family: str, version: str) -> Known:
    """The model type and chat template of a model. ms-swift goes by the last part of the name."""
    table = known(version)
    own = _last(model)
    for kind, groups in table.items():
        for template, ids in groups.items():
            if any(_last(one) == own for one in ids):
                why = f"what ms-swift {version} has for {own}"
                return Known(kind, template, why, why)
    if family not in table:
        why = f"ms-swift {version} knows neither {own} nor its family {family}"
        return Known("", "", why, f"{why}: {_SAY}")
    groups = table[family]
    why = f"ms-swift {version} does not list {own}; its family is {family}"
    named = next((template for pattern, template in _BY_NAME if re.search(pattern, own)), "")
    if named in templates(version):
        return Known(family, named, why, f"ms-swift {version} does not list {own}; its name says {named}")
    template = next(iter(groups)) if len(groups) == 1 else ""
    said = "its only template" if template else f"which has several templates: {_SAY}"
    return Known(family, template, why, f"{why}, {said}")


def _last(model: str) -> str:
    """The part of a name that counts; Meta once put its name before Llama's, and no longer does."""
    return model.rstrip("/").rpartition("/")[2].lower().removeprefix("meta-")
