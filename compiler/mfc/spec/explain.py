"""What pydantic found wrong, in the language's own words and at its place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from mfc.spec.marks import Mistake, nearest, show
from mfc.spec.models import Section, Spec
from mfc.spec.short import ELSEWHERE, NAMES
from mfc.spec.yaml12 import Node

# Sections that may be written in a short form, and what they may be.
_SECTIONS = {
    "model": "a hub id or path, or a mapping",
    "hardware": "a count and a GPU such as 4x RTX 4090, or a mapping",
    "hardware.gpu": "the name of a GPU, or a mapping",
    "hardware.interconnect": "a link such as nvlink, or a mapping",
    "data": "the path of a file, or a mapping",
    "strategy.offload": "none, auto, or a mapping such as {optimizer: cpu}",
    "run.launcher": "the name of an engine, or a mapping",
    "targets": "a list of names, or a mapping of names to settings",
}


def problems(error: ValidationError, root: Node) -> list[Mistake]:
    """Everything that is wrong, in the order of the file; what is missing comes last."""
    found = error.errors(include_url=False)
    missing = [item for item in found if item["type"] == "missing"]
    unknown = [_problem(item, root) for item in found if item["type"] != "missing"]
    unknown.sort(key=lambda problem: (str(problem.mark.source.label), problem.mark.line, problem.mark.column))
    # A key that was misspelt is not missing as well.
    meant = {problem.near for problem in unknown}
    return unknown + [_problem(item, root) for item in missing if str(item["loc"][-1]) not in meant] or unknown


def dotted(path: Sequence[int | str]) -> str:
    """A path as users write it: train.lora.rank, data.train[0].path."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _problem(item: Any, root: Node) -> Mistake:
    kind, path, context = item["type"], list(item["loc"]), item.get("ctx", {})
    at = [part for part in context.get("at", "").split(".") if part] if kind == "mfc" else []
    node = find(root, [*path, *at])
    field, value = dotted(path), item["input"]
    if kind == "mfc":
        parent = dotted(path) + ": " if path else ""
        return Mistake(node.key or node.mark, parent + context["text"])
    if kind == "extra_forbidden":
        return _unknown(path, node)
    if kind == "missing":
        return Mistake(node.place, f"{field} is missing", _SECTIONS.get(field, ""))
    if kind in ("literal_error", "int_parsing_size"):  # pydantic compares no number beyond 64 bits with the choices
        allowed = _choices(path)
        near = nearest(value, allowed) if isinstance(value, str) else ""
        return Mistake(node.place, f"{field} {_not(value)}", ", ".join(allowed), near)
    wanted: str = context.get("allowed") or _SECTIONS.get(field, "a list" if kind == "tuple_type" else "a mapping")
    if value is None:
        return Mistake(node.place, f"{field} has no value", wanted)
    near = nearest(value, context.get("words", ())) if isinstance(value, str) else ""
    return Mistake(node.place, f"{field} must be {wanted}, not {show(value)}", near=near)


def _not(value: object) -> str:
    return "has no value" if value is None else f"cannot be {show(value)}"


def find(root: Node, path: Sequence[int | str]) -> Node:
    """The node at the path, or the nearest one above it."""
    node = root
    for part in path:
        if isinstance(node.value, dict) and part in node.value:
            node = node.value[str(part)]
        elif isinstance(node.value, list) and str(part) in map(str, range(len(node.value))):
            node = node.value[int(part)]
        else:
            break
    return node


def _unknown(path: Sequence[int | str], node: Node) -> Mistake:
    key, parent = str(path[-1]), path[:-1]
    section = _section(parent)
    fields = sorted(section.model_fields) if section else []
    near = ELSEWHERE.get(key) or nearest(key, [*fields, *NAMES.get(section.__name__ if section else "", ())])
    if not near:  # a field of another section, perhaps
        near = next((name for name in all_fields(Spec) if name.rpartition(".")[2] == key), "")
    where = f" in {dotted(parent)}" if parent else ""
    return Mistake(node.key or node.mark, f"unknown key {show(key)}{where}", ", ".join(fields), near)


def _section(path: Sequence[int | str]) -> type[Section] | None:
    """The model that describes the mapping at a path."""
    section: type[Section] = Spec
    for part in path:
        if part in section.model_fields:
            inner = _model_in(section.model_fields[str(part)].annotation)
            if inner is None:
                return None
            section = inner
    return section


def _model_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def _choices(path: Sequence[int | str]) -> list[str]:
    section = _section(path[:-1])
    annotation = section.model_fields[str(path[-1])].annotation if section else None
    return [str(choice) for choice in get_args(annotation)]


def all_fields(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Every field of the language by its dotted name, sections included."""
    for name, field in section.model_fields.items():
        yield prefix + name
        if (inner := _model_in(field.annotation)) and inner is not section:
            yield from all_fields(inner, f"{prefix}{name}.")
