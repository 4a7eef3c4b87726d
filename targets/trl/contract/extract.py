# /// script
# requires-python = ">=3.11"
# dependencies = ["trl", "peft"]
# ///
"""Prints a contract of the installed TRL as JSON: of the YAML of one command.

    python extract.py sft|dpo|kto|grpo|reward

What is read are the dataclasses that the command's parser takes. TRL itself takes a YAML value of any type that is no
text as it is, and hands keys that it does not know on to accelerate.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
import typing
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))  # mfc is not installed where this runs

from targets.contract import json_types

PACKAGES = ("accelerate", "datasets", "peft", "torch", "transformers")
# Annotated wider than what the trainer then compares with: kept as the trainer's code has it.
CHOICES = {
    "attn_implementation": ["eager", "sdpa", "flash_attention_2", "flash_attention_3", None],
    "truncation_mode": ["keep_start", "keep_end"],
}


def arguments(command: str) -> json_types.Schema:
    """A closed schema of every key that the YAML of a command takes."""
    parser: Any = importlib.import_module(f"trl.scripts.{command}").make_parser()
    properties: json_types.Schema = {}
    for kind in parser.dataclass_types:
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            if field.init:
                properties[field.name] = _property(field, hints[field.name])
    # Environment variables may stand in the same file (scripts/utils.py, parse_args_and_config).
    properties["env"] = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    return json_types.closed(properties, required=["model_name_or_path", "output_dir"])


def _property(field: dataclasses.Field[Any], hint: Any) -> json_types.Schema:
    if field.name == "datasets":
        items = {"type": "array", "items": _dataclass(typing.get_args(hint)[0])}
        return {**items, "default": []}
    schema = json_types.of_type(hint)
    default = _default(field)
    choices: Any = CHOICES.get(field.name) or field.metadata.get("choices")
    if choices:
        schema = {"enum": [json_types.plain(one) for one in choices]}
    elif default is None and schema and "null" not in str(schema):
        schema = json_types.either([schema, {"type": "null"}])
    elif default is not None and schema == {"type": "string"} and not isinstance(default, str):
        schema = {}
    return {**schema, "default": default}


def _dataclass(kind: Any) -> json_types.Schema:
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    return json_types.closed({field.name: json_types.of_type(hints[field.name]) for field in fields}, required)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return json_types.plain(field.default)
    return None if field.default_factory is dataclasses.MISSING else json_types.plain(field.default_factory())


if __name__ == "__main__":
    out = json_types.quiet_stdout()
    json_types.write(json_types.contract("trl", "TRL", PACKAGES, arguments(sys.argv[1])), out)
