"""Fields of a spec changed in its text; its comments, its order and every other line stay as they are.

What is made here is loaded and compared with what was asked before it is written, so a text that this module does not
understand is refused, never spoilt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mfc.emit import quote
from mfc.spec import quantities

_PLAIN = re.compile(r"[\w .-]*\w")  # needs no quotes where the short form had none
BY_HAND = "its text leaves no place for it"


class Elsewhere(Exception):
    """A field cannot go where it belongs; the text says why."""


def edited(text: str, edits: Mapping[str, Any]) -> str:
    """A spec's text with these dotted fields set. Raises Elsewhere."""
    for path, value in edits.items():
        text = _with(text, path.split("."), value)
    return text


def retargeted(text: str, names: list[str], known: list[str]) -> str:
    """A spec's text with these targets in place of `known`; settings of those that stay are kept. Raises Elsewhere."""
    node = _find(_root(text), ["targets"])[1]
    if getattr(node, "id", "") == "mapping":
        if set(known) - set(names):
            raise Elsewhere("it has settings for its targets: take one out by hand")
        for name in names:
            if name not in known:
                text = _with(text, ["targets", name], {})
        return text
    return _with(text, ["targets"], names)


def _with(text: str, path: list[str], value: Any) -> str:
    root = _root(text)
    as_json = bool(root.flow_style)
    depth, node = _find(root, path)
    if depth == len(path):
        return _replaced(text, node, _said(value, as_json))
    rest = path[depth:]
    if node.id == "scalar" and depth:
        return _replaced(text, node, _long_form(path[:depth], node, rest, value, as_json))
    if node.id != "mapping":
        raise Elsewhere(BY_HAND)
    for name in reversed(rest[1:]):
        value = {name: value}
    return _added(text, node, rest[0], value, as_json, top=not depth)


def _root(text: str) -> Any:
    import yaml

    if text.startswith("\ufeff"):
        raise Elsewhere("it begins with a byte order mark")
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None or root.id != "mapping":
        raise Elsewhere("it is no mapping")
    return root


def _find(root: Any, path: list[str]) -> tuple[int, Any]:
    """The deepest node on the way to a field, and how many names lead to it. Anchors are no place to write."""
    node = root
    for depth, name in enumerate(path):
        found = next((pair for pair in node.value if pair[0].value == name), None) if node.id == "mapping" else None
        if found is None:
            return depth, node
        if found[1].start_mark.index < found[0].end_mark.index:
            raise Elsewhere(f"{name} is an alias there")
        node = found[1]
    return len(path), node


def _said(value: Any, as_json: bool) -> str:
    """A value in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(name, as_json)}: {_said(one, as_json)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_said(one, as_json) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False) if as_json else quote.yaml(value)


def _key(name: str, as_json: bool) -> str:
    return json.dumps(name) if as_json else name


def _replaced(text: str, node: Any, said: str) -> str:
    """A text with another value in the place of one; a value in lines of its own moves behind its key."""
    start, end = node.start_mark.index, _end(node)
    if node.id != "scalar" and not node.flow_style:
        line = text.rfind("\n", 0, start) + 1
        start = len(text[:line].rstrip(" \r\n")) if not text[line:start].strip(" ") else start
        if text[start - 1] != ":":
            raise Elsewhere(BY_HAND)
        said = f" {said}"
    elif start == end:  # a key with nothing behind it
        said = f" {said}"
    return text[:start] + said + text[end:]


def _long_form(above: list[str], node: Any, rest: list[str], value: Any, as_json: bool) -> str:
    """What stands for a short form once one of its parts is said otherwise."""
    if above == ["hardware"] and rest in (["gpu"], ["count"]):
        try:
            gpus = quantities.gpus(node.value)
        except ValueError as error:
            raise Elsewhere(f"hardware is not {error}") from None
        count, name = (value, gpus.name) if rest == ["count"] else (gpus.count, value)
        short = f"{count}x {name}"
        return short if node.style is None and _PLAIN.fullmatch(short) else _said(short, as_json)
    if above == ["hardware"]:
        gpus = quantities.gpus(node.value)
        held: dict[str, Any] = {"gpu": gpus.name, "count": gpus.count}
    elif above == ["data"]:
        held = {"path": node.value}
    elif above == ["model"]:
        held = {"id": node.value}
    else:
        raise Elsewhere(f"{'.'.join(above)} is a short form there")
    for name in reversed(rest[1:]):
        value = {name: value}
    return _said({**held, rest[0]: value}, as_json)


def _added(text: str, node: Any, name: str, value: Any, as_json: bool, *, top: bool) -> str:
    """A text with one more key in a mapping."""
    said = f"{_key(name, as_json)}: {_said(value, as_json)}"
    if node.flow_style:
        if not node.value:
            return text[: node.start_mark.index + 1] + said + text[node.start_mark.index + 1 :]
        end = _end(node.value[-1][1])
        return f"{text[:end]}, {said}{text[end:]}"
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = "" if top else " " * node.start_mark.column
    end = text.find("\n", _end(node))
    if top:
        return f"{text}{'' if text.endswith(chr(10)) else newline}{said}{newline}"
    if end < 0:
        return f"{text}{newline}{indent}{said}{newline}"
    return f"{text[: end + 1]}{indent}{said}{newline}{text[end + 1 :]}"


def _end(node: Any) -> int:
    """Where the text of a value ends, without the comments and empty lines that a block drags along."""
    if node.id == "scalar" or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)
