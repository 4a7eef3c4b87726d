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

from mfc.target import contracts
from mfc.target.templates import Listed

# Lines of models that the list has in no size, by how their names begin; each was trained with this very template.
_BY_NAME = (
    (r"codellama-.*instruct|mathstral-", "llama"),
    (r"tinyllama-.*chat|stablelm-(2-)?zephyr", "zephyr"),
    (r"(gemma-1\.1|codegemma)-.*it", "gemma"),
    (r"minicpm-2b", "minicpm"),
)


@lru_cache
def known(version: str) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Model type -> template -> ids, of one version."""
    table: Mapping[str, Mapping[str, tuple[str, ...]]] = json.loads(
        Path(__file__).with_name("models.json").read_bytes()
    )[version]
    return table


@lru_cache
def templates(version: str) -> Mapping[str, tuple[str, ...]]:
    """All chat templates that models of the list have, each with those models."""
    found: dict[str, tuple[str, ...]] = {}
    for groups in known(version).values():
        for template, ids in groups.items():
            found[template] = (*found.get(template, ()), *ids)
    return {name: found[name] for name in sorted(found) if name}


@lru_cache
def seeing(version: str) -> tuple[frozenset[str], frozenset[str]]:
    """The templates for models that take more than text, and those of them that call the tower for rows of text too."""
    known_of = contracts.load(f"ms-swift-sft-{version}")["x-knows"]
    return frozenset(known_of["sees"]), frozenset(known_of["runs_tower"])


@lru_cache
def _listed(version: str) -> Listed:
    """What the list has for its ids: type and template with a line between, for both are asked at once."""
    return Listed({f"{kind}|{name}": ids for kind, groups in known(version).items() for name, ids in groups.items()})


class Known(NamedTuple):
    """What ms-swift calls a model and its chat template, each with why; empty where nothing says."""

    kind: str
    template: str
    why_kind: str
    why_template: str


_SAY = "to compile, set targets.ms-swift.template"


@lru_cache(maxsize=256)
def find(names: tuple[str, ...], family: str, instruct: bool | None, version: str) -> Known:
    """The model type and chat template of a model, by the names that it is known as.

    ms-swift goes by the last part of a name.
    """
    table, own = known(version), _last(names[0])
    if match := _listed(version).match(names):
        kind, _, template = match.found.partition("|")
        why = f"what ms-swift {version} has for {_last(match.listed)}"
        return Known(kind, template, why, why if template else f"{why}, which is no template: {_SAY}")
    kind = family if family in table else ""
    why = f"ms-swift {version} does not list {own}; its family is {family}"
    why_kind = why if kind else f"ms-swift {version} knows neither {own} nor its family {family}"
    lasts = [_last(name) for name in names]
    named = next((name for pattern, name in _BY_NAME if any(re.match(pattern, each) for each in lasts)), "")
    if named in templates(version):
        return Known(kind, named, why_kind, f"ms-swift {version} does not list {own}; its name says {named}")
    groups = table.get(family, {})
    if instruct is False and len(groups) == 1:
        (template,) = groups
        return Known(kind, template, why_kind, f"{why}, and what base models get there")
    return Known(kind, "", why_kind, f"ms-swift {version} does not list {own}: {_SAY}")


def _last(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2].lower()
