"""The reference of the spec language, from its pydantic models."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from mfc.spec.inputs import Section
from mfc.spec.models import Spec
from mfc.spec.short import NAMES
from mfc.spec.values import Kind
from pydantic.fields import FieldInfo

from publish.markdown import table

TITLES = {"en": ("field", "what it may be", "default", "meaning"), "zh": ("字段", "取值", "默认值", "含义（英文）")}
TOP = {"en": "The file", "zh": "文件顶层"}
OTHER = {"en": "also written", "zh": "也可写作"}


def built(language: str) -> str:
    """A table of the fields of each section."""
    parts = [f"## {TOP[language]}\n", _fields(Spec, language)]
    for path, model in sections(Spec):
        parts += [f"\n## `{path}`\n", f"{(model.__doc__ or '').strip()}\n", _fields(model, language)]
    return "\n".join(parts)


def sections(model: type[Section], above: str = "") -> Iterator[tuple[str, type[Section]]]:
    """Path and model of every section below one; `[]` marks a list, `NAME` a mapping by name."""
    for name, field in model.model_fields.items():
        for found, mark in _models(field.annotation):
            path = f"{above}{name}{mark}"
            yield path, found
            yield from sections(found, f"{path}.")


def _models(kind: Any) -> Iterator[tuple[type[Section], str]]:
    marks = {tuple: "[]", dict: ".NAME"}
    if isinstance(kind, type) and issubclass(kind, Section):
        yield kind, ""
    elif get_origin(kind) is not Literal:
        for part in get_args(kind):
            yield from ((found, marks.get(get_origin(kind), "") + rest) for found, rest in _models(part))


def _fields(model: type[Section], language: str) -> str:
    rows = []
    for name, field in model.model_fields.items():
        others = [f"`{other}`" for other, of in NAMES.get(model.__name__, {}).items() if of == name]
        names = f"`{name}`" + (f" ({OTHER[language]} {', '.join(others)})" if others else "")
        rows.append((names, allowed(field), default(field), field.description or ""))
    return table(TITLES[language], rows)


def allowed(field: FieldInfo) -> str:
    """What a field may be, in the words of its errors."""
    words = [one.allowed for one in field.metadata if isinstance(one, Kind)]
    return words[0] if words else _said(field.annotation)


def _said(kind: Any) -> str:
    if kind is bool:
        return "true or false"
    if kind is type(None):
        return "null"
    if isinstance(kind, type) and issubclass(kind, Section):
        return "a mapping"
    if get_origin(kind) is Annotated:
        return next((one.allowed for one in get_args(kind) if isinstance(one, Kind)), _said(get_args(kind)[0]))
    if get_origin(kind) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_said(part) for part in get_args(kind)))
    if get_origin(kind) is tuple:
        return "a list of mappings" if list(_models(kind)) else f"a list: {_said(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return "names, each with a mapping" if list(_models(kind)) else "a mapping"
    return {str: "text", int: "a whole number", float: "a number"}.get(kind, str(kind))


def default(field: FieldInfo) -> str:
    """What a field is where the spec says nothing."""
    if field.is_required():
        return "**required**"
    value = field.default
    if value is None or value in ({}, ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
