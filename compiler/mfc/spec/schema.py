"""The JSON Schema of the language, for editors: generated from the models, short forms and other names included."""

from __future__ import annotations

import json
from typing import Any

from mfc.spec.models import Spec
from mfc.spec.short import FORMS, NAMES, OF_ONE_SET

# What another name of a field takes, where that is not what the field itself takes.
_OTHER: dict[str, dict[str, Any]] = {
    "path": {"description": "Path of the one data set to train on.", "type": "string", "minLength": 1},
    "hub": {"description": "Hub id of the one data set to train on.", "type": "string", "minLength": 1},
    "zero": {"description": "ZeRO stage, as a short form of sharding.", "enum": ["auto", 0, 1, 2, 3]},
}


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) that every spec and every base of one satisfies, as plain data."""
    schema = Spec.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    for section, names in NAMES.items():
        fields = definitions[section]["properties"]
        for name, field in names.items():
            fields[name] = _OTHER.get(name) or {**fields[field], "title": name}
    for name in OF_ONE_SET:
        definitions["DataSpec"]["properties"][name] = definitions["DatasetSpec"]["properties"][name]
    one = {"$ref": "#/$defs/DatasetSpec"}
    train = definitions["DataSpec"]["properties"]["train"]
    train["anyOf"] = [one, {"type": train.pop("type"), "items": train.pop("items")}]
    for section, forms in FORMS.items():
        whole: Any = definitions[section]
        described = {"title": whole.pop("title"), "description": whole.pop("description")}
        definitions[section] = {**described, "anyOf": [*forms, whole]}
    targets = schema["properties"]["targets"]
    mapping = {"type": targets.pop("type"), "additionalProperties": targets.pop("additionalProperties")}
    word = {"type": "string", "minLength": 1}
    targets["anyOf"] = [word, {"type": "array", "items": word, "uniqueItems": True}, mapping]
    # A base, and a spec that builds on one, need not be whole.
    del schema["required"]
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mfc spec"}
    return {**title, **_tidy({key: value for key, value in schema.items() if key != "title"})}


def text() -> str:
    """The schema as the file schemas/spec.schema.json holds it."""
    return json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _tidy(node: Any, *, names: bool = False) -> Any:
    """Without the titles that only repeat a field's name. `names`: the keys are names of fields, not keywords."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "allOf" in node and not names:  # how older pydantic writes a reference with a description
        node = {**node, **node["allOf"][0]}
        del node["allOf"]
    return {
        key: _tidy(value, names=not names and key in ("properties", "$defs"))
        for key, value in node.items()
        if names or key != "title"
    }
