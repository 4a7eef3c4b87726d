"""What ModelScope calls the models of the catalogue, where it is another name than the Hugging Face Hub's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).with_name("modelscope.json")


def theirs(model_id: str) -> str | None:
    """ModelScope's id of a model with this Hub id; None where it is the same, or not known."""
    return _ids().get(model_id)


def ours(model_id: str) -> str | None:
    """The Hub id of a model that ModelScope calls so, in any case; None where it is the same, or not known."""
    return _reversed().get(model_id.lower())


@lru_cache(maxsize=1)
def _ids() -> Mapping[str, str]:
    ids: Mapping[str, str] = json.loads(_FILE.read_text(encoding="utf-8"))
    return ids


@lru_cache(maxsize=1)
def _reversed() -> Mapping[str, str]:
    return {name.lower(): own for own, name in _ids().items()}
