# /// script
# requires-python = ">=3.11"
# dependencies = ["pydantic", "pyyaml", "unsloth"]
# ///
"""Prints a contract of the installed Unsloth as JSON: of the YAML of `unsloth train`.

    python extract.py contract

The package wants a GPU when it is imported, so its config module is loaded alone, from its file. What is taken from it
are the names, types and defaults of the keys.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))  # mfc is not installed where this runs

from targets.contract import json_types

PACKAGES = ("pydantic",)


def config_module() -> Any:
    """The module that reads the YAML."""
    package = importlib.util.find_spec("unsloth_cli")  # finds, and does not import
    assert package is not None
    assert package.submodule_search_locations
    file = Path(package.submodule_search_locations[0]) / "config.py"
    spec = importlib.util.spec_from_file_location("unsloth_config", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["unsloth_config"] = module
    spec.loader.exec_module(module)
    return module


def of_model(kind: Any) -> json_types.Schema:
    """A closed schema of one section."""
    return json_types.closed({name: _property(field) for name, field in kind.model_fields.items()})


def _property(field: Any) -> json_types.Schema:
    if hasattr(field.annotation, "model_fields"):
        return of_model(field.annotation)
    return {**json_types.of_type(field.annotation), "default": json_types.plain(field.get_default())}


if __name__ == "__main__":
    out = json_types.quiet_stdout()
    root = of_model(config_module().Config)
    json_types.write(json_types.contract("unsloth", "Unsloth", PACKAGES, root), out)
