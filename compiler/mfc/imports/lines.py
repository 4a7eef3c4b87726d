"""Where keys stand in a text: YAML and JSON by their nodes, scripts by their flags, Python by its assignments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_DEEPEST = 20  # levels of keys
_FLAG = re.compile(r"(?:(?<![\w-])--(?P<flag>[\w.-]+)|(?<![\w$-])(?P<variable>[A-Za-z_]\w*)=)")


class Span(NamedTuple):
    """Where a key stands in a text: the places of its name and of its value, and its line, from 1."""

    key: int
    start: int
    end: int
    line: int


def spans(text: str) -> dict[str, Span]:
    """The dotted keys of a YAML or JSON text; nothing for a text that is neither."""
    import yaml

    try:
        node = yaml.compose(text.removeprefix("\ufeff"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    found: dict[str, Span] = {}
    _collect(node, "", found, len(text) - len(text.removeprefix("\ufeff")))
    return found


def _collect(node: Any, prefix: str, found: dict[str, Span], shift: int, depth: int = 0) -> None:
    if getattr(node, "id", "") != "mapping" or depth > _DEEPEST:
        return
    for key, value in node.value:
        if key.id == "scalar":
            start, end = value.start_mark.index + shift, value.end_mark.index + shift
            found[f"{prefix}{key.value}"] = Span(key.start_mark.index + shift, start, end, key.start_mark.line + 1)
            _collect(value, f"{prefix}{key.value}.", found, shift, depth + 1)


def of_config(text: str) -> dict[str, int]:
    """The line of each dotted key of a YAML or JSON text, from 1."""
    return {key: span.line for key, span in spans(text).items()}


def of_script(text: str) -> dict[str, int]:
    """The line of each flag and variable of a shell script, the first that is no comment; `-` in flags is `_`."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("#"):
            for one in _FLAG.finditer(line):
                found.setdefault((one["flag"] or one["variable"]).replace("-", "_"), number)
    return found


def of_python(text: str) -> dict[str, int]:
    """The line of each name that a Python config assigns, and of each item below it that is written out."""
    import ast

    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.lineno
            found |= _items(node.value, f"{node.targets[0].id}.")
    return found


def _items(node: Any, prefix: str, depth: int = 0) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for name, value in _pairs(node):
        found[f"{prefix}{name}"] = value.lineno
        if depth < _DEEPEST:
            found |= _items(value, f"{prefix}{name}.", depth + 1)
    return found


def _pairs(node: Any) -> Iterator[tuple[str, Any]]:
    import ast

    if isinstance(node, ast.Call):
        yield from ((one.arg, one.value) for one in node.keywords if one.arg)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, value


def lines(name: str, text: str) -> dict[str, int]:
    """The line of each key of a file of this name; where that tells no kind, a text that is no mapping is a script."""
    if name.endswith(".py"):
        return of_python(text)
    if name.endswith((".sh", ".bash", ".slurm", ".sbatch")):
        return of_script(text)
    return of_config(text) or of_script(text)
