"""Would `unsloth train` read this file? Nothing of it is imported but the module that reads its config.

A case: `{"folder": where it runs}`. The module is loaded alone, from its file, for the package wants a GPU. Its reader
refuses keys that it does not know and values of another type.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any


def prepare() -> None:
    """Nothing is needed before the cases."""


def check(case: dict[str, Any]) -> dict[str, Any]:
    """The facts that the reader read back. Raises whatever the reader raises."""
    os.chdir(case["folder"])
    config = _module().load_config(Path("train.yaml"))
    facts = config.model_dump(mode="json")
    return {"model": facts.pop("model"), **{f"{at}.{key}": value for at in facts for key, value in facts[at].items()}}


def _module() -> ModuleType:
    package = importlib.util.find_spec("unsloth_cli")  # finds, and does not import
    assert package is not None
    assert package.submodule_search_locations
    spec = importlib.util.spec_from_file_location("config", Path(package.submodule_search_locations[0]) / "config.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
