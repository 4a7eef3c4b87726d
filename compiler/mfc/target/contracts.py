"""The contracts: for each framework and version a JSON Schema of its native keys, extracted from the framework."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mfc.errors import Fault


@lru_cache
def load(name: str) -> Mapping[str, Any]:
    """The contract called `name`, such as deepspeed-0.19.8. Raises Fault when there is none."""
    import mfc.schemas

    path = Path(mfc.schemas.__path__[0], "contracts", f"{name}.json")
    try:
        schema: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Fault(f"the contract {name} cannot be read: {error}") from error
    return schema
