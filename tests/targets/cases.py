"""The cases of every target: where they lie, what the words of a case mean, and what it compiles to.

A target's cases are `files.yaml` and `rules.yaml` in tests/cases/targets/<name>; those of a target that another package
registers lie in the folder `cases` beside its module. The suite finds targets through the registry and names none:
`pytest tests -k <name>` runs all of it over one of them.

`files.yaml` holds `base`, a spec that every case lays its own over, and `cases` by name. In a case

    spec      lies over the base; null takes away what the base says
    config    is the model's config.json, which lies beside the spec
    expect    file: {key: value}; a dotted key goes into mappings
    absent    file: [key]
    lines     file: [whole line]
    with      file: [text], and `without`
    files     names every file
    plan      field: value, as the plan has it
    because   field: text that the reason for it holds; the plan fits, whatever compiling says
    warned    the id of a rule that warns
    refused   text, or a list of texts, in the refusal; `error` names its class

A Python file is read as literals: a variable stands for its value, a call is a mapping with its name as `type`, other
code is text.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from mfc import api
from mfc.emit.compiled import Compiled
from mfc.target import File, get, names

from tests import tables

FOLDER = Path(__file__).parent.parent / "cases" / "targets"
MISSING = object()


def table(target: str, file: str) -> Any:
    """One file of a target's cases."""
    ours = FOLDER / target
    folder = ours if ours.is_dir() else get(target).folder / "cases"
    return tables.table(folder / file)


@cache
def _files(target: str) -> Mapping[str, Any]:
    made: Mapping[str, Any] = table(target, "files.yaml")
    return made


def case(target: str, name: str) -> Mapping[str, Any]:
    made: Mapping[str, Any] = _files(target)["cases"][name]
    return made


def good(target: str) -> list[str]:
    """The names of the cases of a target that compile."""
    return [name for name, one in _files(target)["cases"].items() if "refused" not in one]


ALL = [(target, name) for target in names() for name in _files(target)["cases"]]
GOOD = [(target, name) for target in names() for name in good(target)]


def over_base(target: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec laid over a target's base."""
    return laid(_files(target)["base"], spec)


def data_called(target: str, word: str) -> dict[str, Any]:
    """Data in a file of this name, of the form that a target's base reads where it reads no messages."""
    said = _files(target)["base"]["data"].get("train")
    one = said[0] if isinstance(said, list) else {}
    suffix = Path(one.get("path", "train.jsonl")).suffix
    return {"train": [{"path": f"{word}{suffix}", "format": one.get("format", "messages")}]}


def laid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(base)
    for key, value in over.items():
        below = made.pop(key, None)
        if isinstance(value, Mapping):
            made[key] = laid(below if isinstance(below, Mapping) else {}, value)
        elif value is not None:
            made[key] = value
    return made


def written(target: str, name: str, folder: Path) -> Path:
    """The spec of a case as a file of its own."""
    one, home = case(target, name), folder / target / name
    home.mkdir(parents=True, exist_ok=True)
    if "config" in one:
        (home / "config.json").write_text(json.dumps(one["config"]), encoding="utf-8")
    (home / "run.yaml").write_text(yaml.safe_dump(over_base(target, one.get("spec", {}))), encoding="utf-8")
    return home / "run.yaml"


@cache
def compiled(target: str, name: str, folder: Path) -> Compiled:
    (one,) = api.compile(written(target, name, folder), [target])
    return one


def started(made: Compiled) -> str:
    """The script that starts what was compiled, where it was written."""
    script = next(word for word in reversed(made.launch.split()) if word.endswith(".sh") or "." in word)
    return str(made.out / Path(script).name)


@cache
def lowered(target: str, name: str, folder: Path) -> tuple[File, ...]:
    """The files of a case as data, without the user's own keys."""
    one = compiled(target, name, folder)
    return api.lower(api.load(one.spec), one.plan, one.out).files


def read(file: str, text: str) -> Any:
    """What a YAML, JSON or Python file says, as data."""
    match Path(file).suffix:
        case ".yaml":
            return tables.parsed(text)
        case ".json":
            return json.loads(text)
        case ".py":
            return _variables(ast.parse(text))
    raise AssertionError(f"no reader for {file}")


def at(data: Any, key: str) -> Any:
    """What stands at a dotted key, or MISSING."""
    for part in key.split("."):
        if not isinstance(data, Mapping) or part not in data:
            return MISSING
        data = data[part]
    return data


def _variables(tree: ast.Module) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = _value(node.value, found)
    return found


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords):
            values = {keyword.arg: _value(keyword.value, known) for keyword in keywords}
            return values if name == "dict" else {"type": name, **values}
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, known) for item in items]
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
