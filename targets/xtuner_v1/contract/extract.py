# /// script
# requires-python = ">=3.10"
# ///
"""Prints the contract of XTuner V1's config, read from a checkout: `python extract.py CHECKOUT COMMIT DATE`.

XTuner V1 is not on PyPI and its config classes cannot be imported without torch, transformers and Ray, so they are read
as text. They are pydantic models with `extra="forbid"`: each class becomes a closed mapping of its annotated fields and
those of its parents. Types are read where they are plain; others stay open. As data, an object is a mapping whose
`type` is "module:name".
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))  # mfc is not installed where this runs

from targets.contract import json_types

# Classes that a plan can use, by the module that users import them from, and the file that holds each.
CLASSES = {
    "xtuner.v1.train:TrainerConfig": "train/trainer.py",
    "xtuner.v1.config:FSDPConfig": "config/fsdp.py",
    "xtuner.v1.config:AdamWConfig": "config/optim.py",
    "xtuner.v1.config:LRConfig": "config",
    "xtuner.v1.loss:CELossConfig": "loss",
    "xtuner.v1.datasets.config:DatasetConfig": "datasets/config.py",
    "xtuner.v1.datasets.config:DataloaderConfig": "datasets/config.py",
    "xtuner.v1.datasets:OpenaiTokenizeFunctionConfig": "datasets/sft_tokenize_fn/openai.py",
    "xtuner.v1.datasets.pt_tokenize_fn:PretrainTokenizeFunctionConfig": "datasets/pt_tokenize_fn/text.py",
}
FUNCTIONS = {"xtuner.v1.model:get_model_config_from_hf": ("model_path",)}
PLAIN = {"int": "integer", "float": "number", "bool": "boolean", "str": "string", "None": "null", "Path": "string"}


def classes(folder: Path) -> dict[str, ast.ClassDef]:
    """Every class below a folder, by name."""
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]
    return {node.name: node for file in files for node in ast.walk(_parse(file)) if isinstance(node, ast.ClassDef)}


def fields(name: str, known: dict[str, ast.ClassDef]) -> Iterator[tuple[str, json_types.Schema, bool]]:
    """(name, schema, required) of a model's fields, its parents' first."""
    node = known[name]
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in known:
            yield from fields(base.id, known)
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id != "model_config":
            said = dict(of_type(line.annotation))
            if isinstance(line.value, ast.Constant):
                said["default"] = line.value.value
            yield line.target.id, said, line.value is None


def of_type(node: ast.expr) -> json_types.Schema:
    """What a plain annotation allows; `{}` for anything else. A number may be whole where a fraction is asked for."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if node.value.id == "Annotated":
            return of_type(inner[0])
        if node.value.id == "Literal":
            return {"enum": [item.value for item in inner if isinstance(item, ast.Constant)]}
        if node.value.id in ("Optional", "Union"):
            null = [{"type": "null"}] if node.value.id == "Optional" else []
            return json_types.either([*(of_type(item) for item in inner), *null])
        return {}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return json_types.either([of_type(node.left), of_type(node.right)])
    name = "None" if isinstance(node, ast.Constant) and node.value is None else getattr(node, "id", "")
    return {"type": PLAIN[name]} if name in PLAIN else {}


def root(source: Path) -> json_types.Schema:
    """The schema of the file's one object, the trainer, and what XTuner V1 knows by name."""
    defs: dict[str, Any] = {}
    for reference, where in CLASSES.items():
        known = classes(source / where)
        found = list(fields(reference.partition(":")[2], known))
        properties = {name: said or {"$ref": "#/$defs/value"} for name, said, _ in found}
        required = ["type", *(name for name, _, needed in found if needed)]
        defs[_key(reference)] = json_types.closed({"type": {"const": reference}, **properties}, required)
    for reference, arguments in FUNCTIONS.items():
        closed = {key: {"$ref": "#/$defs/value"} for key in arguments}
        defs[_key(reference)] = json_types.closed({"type": {"const": reference}, **closed}, ["type", *arguments])
    names = [*CLASSES, *FUNCTIONS]
    defs["value"] = {
        "allOf": [
            {"if": {"type": "object", "required": ["type"]}, "then": {"$ref": "#/$defs/call"}},
            {"if": {"type": "array"}, "then": {"items": {"$ref": "#/$defs/value"}}},
        ]
    }
    defs["call"] = {
        "properties": {"type": {"enum": names}},
        "allOf": [
            {"if": {"properties": {"type": {"const": name}}}, "then": {"$ref": f"#/$defs/{_key(name)}"}}
            for name in names
        ],
    }
    trainer = {"properties": {"type": {"const": "xtuner.v1.train:TrainerConfig"}}, "$ref": "#/$defs/value"}
    knows = {"families": families(source), "templates": templates(source)}
    return {**json_types.closed({"trainer": trainer}, ["trainer"]), "$defs": defs, "x-knows": knows}


def families(source: Path) -> list[str]:
    """The model types that get_model_config_from_hf tells apart."""
    tree = _parse(source / "model" / "__init__.py")
    [function] = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "get_model_config_from_hf"]
    compared = [node.comparators[0] for node in ast.walk(function) if isinstance(node, ast.Compare)]
    return sorted(str(item.value) for item in compared if isinstance(item, ast.Constant))


def templates(source: Path) -> list[str]:
    """The keys of CHAT_TEMPLATE_MAP."""
    for node in ast.walk(_parse(source / "data_proto" / "templates" / "__init__.py")):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if getattr(target, "id", "") == "CHAT_TEMPLATE_MAP" and isinstance(value, ast.Dict):
            return sorted(str(key.value) for key in value.keys if isinstance(key, ast.Constant))
    raise SystemExit("no CHAT_TEMPLATE_MAP")


def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _key(reference: str) -> str:
    return reference.replace(":", ".")


if __name__ == "__main__":
    checkout, commit, date = sys.argv[1:]
    header = {
        "framework": "xtuner-v1",
        "source": f"github.com/InternLM/xtuner, commit {commit}, {date}",
        "read": "text",
    }
    document = {
        "$schema": json_types.DRAFT,
        "title": f"A TrainerConfig of XTuner V1, {date}",
        "x-mfc": header,
        **root(Path(checkout) / "xtuner" / "v1"),
    }
    json_types.write(document, sys.stdout)
