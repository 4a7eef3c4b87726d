# /// script
# requires-python = ">=3.11"
# dependencies = ["ms-swift", "deepspeed"]
# ///
"""Prints a contract of the installed ms-swift as JSON: of `swift sft` and `pt`, of `swift rlhf`, or of `swift rollout`.

    python extract.py sft|rlhf|rollout|models

What is read are the dataclasses behind each command; with those of `sft`, which templates are for models that see.
`models` prints the model types that ms-swift registers, with
the ids of its own list by their chat template.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))  # mfc is not installed where this runs

from targets.contract import json_types

PACKAGES = ("accelerate", "datasets", "deepspeed", "peft", "torch", "transformers", "trl")
CLASSES = {
    "sft": ("SftArguments", "TrainArguments"),  # 4.x, 3.x
    "rlhf": ("RLHFArguments",),
    "rollout": ("RolloutArguments",),
}


def arguments(command: str) -> json_types.Schema:
    """A closed schema of every flag that a command takes."""
    kind = _arguments_class(CLASSES[command])
    hints = typing.get_type_hints(kind)
    properties: json_types.Schema = {}
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        schema = json_types.of_type(hints[field.name])
        default = _default(field)
        if default is None and schema and "null" not in str(schema):
            schema = json_types.either([schema, {"type": "null"}])
        elif schema == {"type": "string"} and default is not None and not isinstance(default, str):
            schema = {}
        if "choices" in field.metadata and schema.get("type") == "string":
            schema = {"enum": list(field.metadata["choices"])}
        properties[field.name] = {**schema, "default": default}
    # A config file may also hold environment variables (swift/cli/main.py, parse_yaml_args).
    properties["ENV"] = {"type": "object", "additionalProperties": {"type": "string"}}
    return json_types.closed(properties)


def seeing() -> dict[str, list[str]]:
    """Templates for models that take more than text, and those of them that run the tower for rows of text too.

    The first are the framework's own list, the second those whose code calls the tower, or the model's own method
    around it, after each batch is encoded.
    """
    try:
        from swift.template import TEMPLATE_MAPPING, Template
        from swift.template.constant import MLLMTemplateType as Kind
    except ImportError:  # 3.x
        from swift.llm import TEMPLATE_MAPPING, Template
        from swift.llm.template.constant import MLLMTemplateType as Kind
    listed = {value for name, value in vars(Kind).items() if isinstance(value, str) and not name.startswith("_")}
    found: dict[str, list[str]] = {"sees": [], "runs_tower": []}
    for name, meta in sorted(TEMPLATE_MAPPING.items()):
        if name in listed:
            found["sees"].append(name)
        encode = meta.template_cls._post_encode
        calls = ("_get_inputs_embeds_hf(", "get_vllm_embedding(", "VLTemplate._post_encode(")
        if encode is not Template._post_encode and any(call in inspect.getsource(encode) for call in calls):
            found["runs_tower"].append(name)
    return found


def ids() -> dict[str, str]:
    """What ModelScope calls the models of the list that have another id on the Hugging Face Hub, by that id."""
    from swift.model.model_meta import MODEL_MAPPING

    listed = [model for meta in MODEL_MAPPING.values() for group in meta.model_groups for model in group.models]
    both = {model.hf_model_id: model.ms_model_id for model in listed if model.hf_model_id and model.ms_model_id}
    return {hub: scope for hub, scope in sorted(both.items()) if hub != scope}


def models() -> dict[str, Any]:
    """Model types, with the Hugging Face ids of ms-swift's list by the template that they get."""
    try:
        from swift.model.model_meta import MODEL_MAPPING
    except ImportError:  # 3.x
        from swift.llm import MODEL_MAPPING
    found: dict[str, dict[str, list[str]]] = {}
    for name, meta in sorted(MODEL_MAPPING.items()):
        for group in meta.model_groups:
            template = getattr(group, "template", None) or meta.template or ""  # 3.x has it on the type only
            ids = {model.hf_model_id for model in group.models if model.hf_model_id}
            known = found.setdefault(name, {}).setdefault(template, [])
            known.extend(sorted(ids - set(known)))
    return found


def _arguments_class(names: tuple[str, ...]) -> Any:
    try:
        import swift.arguments as module
    except ImportError:  # 3.x
        import swift.llm.argument as module
    return next(getattr(module, name) for name in names if hasattr(module, name))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return json_types.plain(field.default)
    return None if field.default_factory is dataclasses.MISSING else json_types.plain(field.default_factory())


if __name__ == "__main__":
    out = json_types.quiet_stdout()
    if sys.argv[1] in ("models", "ids"):
        json_types.write(models() if sys.argv[1] == "models" else ids(), out)
    else:
        knows = {"x-knows": seeing()} if sys.argv[1] == "sft" else {}
        json_types.write(
            json_types.contract("ms-swift", "ms-swift", PACKAGES, {**arguments(sys.argv[1]), **knows}), out
        )
