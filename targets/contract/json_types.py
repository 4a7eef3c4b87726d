"""Python's type annotations and default values as JSON Schema: shared by the scripts that extract contracts.

This folder and the targets' `contract` folders have no `__init__.py`, so they stay out of the wheel: the scripts run in
environments that hold a framework and not mfc.
"""

from __future__ import annotations

import collections.abc
import enum
import importlib.metadata
import inspect
import json
import pathlib
import sys
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any

Schema = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"
SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string", pathlib.Path: "string", type(None): "null"}


def of_type(annotation: Any) -> Schema:
    """What a value of this type may be in YAML or JSON; `{}` where the annotation says nothing usable."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return of_type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return either(of_type(a) for a in arguments if not _is_a_class_beside_plain_types(a, arguments))
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    kind = origin or annotation
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": list(dict.fromkeys(member.value for member in kind))}
    if isinstance(kind, type) and issubclass(kind, (list, tuple, set, collections.abc.Sequence)) and kind is not str:
        return {"type": "array", "items": of_type(arguments[0]) if arguments else {}}
    if isinstance(kind, type) and issubclass(kind, dict):
        return {"type": "object", **({"additionalProperties": of_type(arguments[1])} if arguments else {})}
    name = next((json_name for python, json_name in SCALARS.items() if kind is python), None)
    if name is None and isinstance(kind, type):
        name = next((j for p, j in SCALARS.items() if issubclass(kind, p)), None)
    return {"type": name} if name else {}


def of_value(value: Any) -> Schema:
    """What the type of a default value suggests, with that default; for code without annotations."""
    if value is None:
        return {"default": None}
    if isinstance(value, (list, tuple)):
        return {"type": "array", "default": plain(value)}
    return {"type": SCALARS.get(type(value), "object"), "default": plain(value)}


def either(options: Iterable[Schema]) -> Schema:
    """One schema for any of several: enums and plain types are merged, the rest stays apart under `anyOf`."""
    found = list(options)
    if not all(found):
        return {}
    enums = [value for option in found for value in option.get("enum", ())]
    if enums:  # a choice or any string means the choice: the framework turns the string into it
        found = [o for o in found if o != {"type": "string"}]
        null = {"type": "null"} in found
        found = [o for o in found if "enum" not in o and o != {"type": "null"}]
        found.insert(0, {"enum": [*dict.fromkeys(enums), *([None] if null else [])]})
    listed = [o["type"] if isinstance(o["type"], list) else [o["type"]] for o in found if set(o) == {"type"}]
    named = list(dict.fromkeys(name for names in listed for name in names))
    rest = [o for o in found if set(o) != {"type"}]
    merged = [{"type": named[0] if len(named) == 1 else named}] if named else []
    joined = [*merged, *(o for i, o in enumerate(rest) if o not in rest[:i])]
    return joined[0] if len(joined) == 1 else {"anyOf": joined}


def of_call(call: Any, leave_out: Sequence[str] = ()) -> Schema:
    """A closed object: the keyword parameters of a function or class."""
    parameters = inspect.signature(call).parameters.values()
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [p for p in parameters if p.kind not in fixed and p.name not in leave_out]
    properties: Schema = {}
    for p in named:
        told = {} if p.annotation is inspect.Parameter.empty or isinstance(p.annotation, str) else of_type(p.annotation)
        properties[p.name] = {**({} if p.default is inspect.Parameter.empty else of_value(p.default)), **told}
    return closed(properties, required=[p.name for p in named if p.default is inspect.Parameter.empty])


def closed(properties: Schema, required: Sequence[str] = ()) -> Schema:
    """An object with these keys and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        **({"required": sorted(required)} if required else {}),
        "properties": dict(sorted(properties.items())),
    }


def plain(value: Any) -> Any:
    """A value as JSON has it; enum members by their value, anything else JSON lacks as its text."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)


def contract(framework: str, title: str, packages: Iterable[str], root: Schema) -> Schema:
    """The whole file: a schema with a header that names the versions it was read from."""
    versions = {name: importlib.metadata.version(name).split("+")[0] for name in (framework, *packages)}
    header = {"framework": framework, "version": versions[framework], "packages": dict(sorted(versions.items()))}
    return {"$schema": DRAFT, "title": f"{title} {versions[framework]}", "x-mfc": header, **root}


def write(document: Any, out: typing.TextIO) -> None:
    """The one form of a contract file, so that a difference in the file is a difference in the framework."""
    json.dump(document, out, indent=1, ensure_ascii=False)
    out.write("\n")


def quiet_stdout() -> typing.TextIO:
    """The real standard output, after everything else that prints has been sent to standard error."""
    real, sys.stdout = sys.stdout, sys.stderr
    return real


def _is_a_class_beside_plain_types(annotation: Any, union: Sequence[Any]) -> bool:
    """A union such as `str | GenerationConfig`: the class is for callers in Python, a file holds the plain type."""
    return not of_type(annotation) and any(of_type(other) not in ({}, {"type": "null"}) for other in union)
