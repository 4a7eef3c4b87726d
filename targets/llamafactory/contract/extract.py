# /// script
# requires-python = ">=3.11"
# dependencies = ["llamafactory"]
# ///
"""Prints the contract of the installed LLaMA-Factory's YAML (`contract`) or its templates (`templates`) as JSON.

LLaMA-Factory's own parser checks only the names of keys that come from a YAML; this contract also holds their types and
choices. `x-mfc.group` is the dataclass that a key belongs to: model, data, training, finetuning or generating.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
import typing
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))  # mfc is not installed where this runs

from targets.contract import json_types

PACKAGES = ("accelerate", "datasets", "deepspeed", "peft", "torch", "transformers", "trl")
LISTS = (["a", "b"], ["0.5", "0.5"])  # values tried on string fields, to see which also take a list
NEEDED: dict[str, dict[str, Any]] = {
    "ModelArguments": {"model_name_or_path": "m"},
    "TrainingArguments": {"output_dir": "o", "use_cpu": True},
}


def arguments() -> json_types.Schema:
    """A closed schema of every key that `llamafactory-cli train FILE.yaml` takes."""
    from llamafactory.hparams.parser import _TRAIN_ARGS

    properties: json_types.Schema = {}
    for kind in _TRAIN_ARGS:
        hints = typing.get_type_hints(kind)
        group = kind.__name__.removesuffix("Arguments").lower()
        for field in dataclasses.fields(kind):
            if not field.init:
                continue
            schema = json_types.of_type(hints[field.name])
            if schema.get("type") in ("string", ["string", "null"]) and _takes_list(kind, field.name):
                schema = json_types.either([schema, {"type": "array", "items": {"type": ["string", "number"]}}])
            default = _default(field)
            if default is not None and schema == {"type": "string"} and not isinstance(default, str):
                schema = {}
            elif default is None:
                schema = json_types.either([schema, {"type": "null"}]) if "null" not in str(schema) else schema
            properties[field.name] = {**schema, "default": default, "x-mfc": {"group": group}}
    return json_types.closed(properties, required=["model_name_or_path"])


def liger() -> dict[str, str]:
    """Model type -> the function of Liger's that is called for it, less its prefix: read from the chain of ifs."""
    import llamafactory.model.model_utils.liger_kernel as module

    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        match node:
            case ast.If(test=ast.Compare(left=ast.Name("model_type"), comparators=[kinds])):
                (name, *_) = (one.names[0].name for one in ast.walk(node.body[0]) if isinstance(one, ast.ImportFrom))
                function, known = name.removeprefix("apply_liger_kernel_to_"), ast.literal_eval(kinds)
                found |= dict.fromkeys([known] if isinstance(known, str) else known, function)
    return dict(sorted(found.items()))


def templates() -> dict[str, Any]:
    """Template names, each with the Hugging Face ids whose default it is; which of them think, which see."""
    from llamafactory.data.template import TEMPLATES, ReasoningTemplate
    from llamafactory.extras.constants import DEFAULT_TEMPLATE, SUPPORTED_MODELS, DownloadSource

    models: dict[str, list[str]] = {name: [] for name in sorted(TEMPLATES)}
    for title, sources in SUPPORTED_MODELS.items():
        identifier = sources.get(DownloadSource.DEFAULT)
        if identifier and DEFAULT_TEMPLATE.get(title):
            models[DEFAULT_TEMPLATE[title]].append(identifier)
    return {
        "models": {name: sorted(set(ids)) for name, ids in models.items()},
        "multimodal": sorted(n for n, t in TEMPLATES.items() if type(t.mm_plugin).__name__ != "BasePlugin"),
        "reasoning": sorted(n for n, t in TEMPLATES.items() if isinstance(t, ReasoningTemplate)),
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return json_types.plain(field.default)
    return None if field.default_factory is dataclasses.MISSING else json_types.plain(field.default_factory())


def _takes_list(kind: Any, name: str) -> bool:
    """Whether the dataclass splits a comma string of this field itself and leaves a list alone."""
    for items in LISTS:
        try:
            given = NEEDED.get(kind.__name__, {})
            split = getattr(kind(**{**given, name: ",".join(items)}), name)
            kept = getattr(kind(**{**given, name: items}), name)
        except (AttributeError, TypeError, ValueError, OSError, ImportError):
            continue
        if isinstance(split, list) and split == kept:
            return True
    return False


if __name__ == "__main__":
    out = json_types.quiet_stdout()
    if sys.argv[1] == "templates":
        json_types.write(templates(), out)
    else:
        json_types.write(
            json_types.contract(
                "llamafactory", "LLaMA-Factory", PACKAGES, {**arguments(), "x-knows": {"liger": liger()}}
            ),
            out,
        )
