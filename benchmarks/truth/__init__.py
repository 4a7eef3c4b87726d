"""The published measurements and the dimensions of their models, as the files of this folder hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
TRUTH = FOLDER / "memory-truth.jsonl"
MORE = FOLDER / "memory-more.jsonl"
ALL = (TRUTH, MORE, FOLDER / "memory-more-2.jsonl", FOLDER / "memory-more-3.jsonl")
GIB = 2**30
Row = Mapping[str, Any]


def rows(path: Path = TRUTH) -> list[dict[str, Any]]:
    """All rows of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def number(row: Row, key: str) -> int | None:
    """A field as a whole number; None when it is absent or is none."""
    value = row.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return int(value)
    return int(value) if isinstance(value, str) and value.isdigit() else None


@lru_cache(maxsize=1)
def dimensions() -> Mapping[str, Mapping[str, Any]]:
    """Model dimensions by dims_key."""
    found: Mapping[str, Mapping[str, Any]] = json.loads((FOLDER / "model-dims.json").read_text(encoding="utf-8"))
    return found
