# /// script
# requires-python = ">=3.11"
# dependencies = ["peft", "torch", "transformers"]
# ///
"""Prints the contract of the demo's YAML: `python extract.py CHECKOUT COMMIT FOLDER DATE`.

The script's own dataclasses are read as text from a commit of the checkout, for importing them needs all that training
needs. What they hold is taken from the installed packages: the arguments of transformers' Seq2SeqTrainingArguments and
GenerationConfig, and of PEFT's LoraConfig. Each is called with the keys of its level, so each level is closed; what
GenerationConfig does not know it keeps in silence, so it is closed too.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))  # mfc is not installed where this runs

from targets.contract import json_types

PACKAGES = ("peft", "transformers")
PLAIN = {"int": "integer", "bool": "boolean", "str": "string"}


def source(checkout: str, commit: str, folder: str) -> ast.Module:
    """The script of one commit."""
    shown = ["git", "-C", checkout, "show", f"{commit}:{folder}/finetune.py"]
    return ast.parse(subprocess.run(shown, capture_output=True, text=True, check=True).stdout)


def written(tree: ast.Module, name: str) -> tuple[json_types.Schema, list[str]]:
    """Annotated fields of one of the script's dataclasses, and those without a default."""
    (node,) = (one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == name)
    found, needed = {}, []
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            found[line.target.id] = plain(line.annotation)
            if isinstance(line.value, ast.Constant):
                found[line.target.id]["default"] = line.value.value
            if line.value is None:
                needed.append(line.target.id)
    return found, needed


def plain(node: ast.expr) -> json_types.Schema:
    """What a plain annotation allows; `{}` for a class."""
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Optional":
        inner = plain(node.slice)
        return {"type": [inner["type"], "null"]} if inner else {}
    return {"type": PLAIN[node.id]} if isinstance(node, ast.Name) and node.id in PLAIN else {}


def arguments(kind: Any) -> json_types.Schema:
    """A closed schema of the arguments of an installed dataclass."""
    hints = typing.get_type_hints(kind)
    properties = {}
    for field in dataclasses.fields(kind):
        if field.init:
            properties[field.name] = {**json_types.of_type(hints[field.name]), **default(field)}
    return json_types.closed(properties)


def default(field: dataclasses.Field[Any]) -> json_types.Schema:
    """The default of a field, where it has one that is a value."""
    return {} if field.default is dataclasses.MISSING else {"default": json_types.plain(field.default)}


def generation() -> json_types.Schema:
    """A closed schema of what GenerationConfig knows, by its defaults."""
    from transformers import GenerationConfig

    known = GenerationConfig().to_dict()
    typed = {name: {"type": json_types.SCALARS[type(value)]} for name, value in known.items() if is_plain(value)}
    return json_types.closed({name: typed.get(name, {}) for name in known if name != "transformers_version"})


def is_plain(value: Any) -> bool:
    """A default that tells its type."""
    return isinstance(value, (bool, str, int)) and not isinstance(value, float)


def root(checkout: str, commit: str, folder: str) -> json_types.Schema:
    """The schema of a whole file."""
    from peft import LoraConfig
    from transformers import Seq2SeqTrainingArguments

    tree = source(checkout, commit, folder)
    data, _ = written(tree, "DataConfig")
    fields, needed = written(tree, "FinetuningConfig")
    training = arguments(Seq2SeqTrainingArguments)
    training["properties"]["generation_config"] = generation()
    training["required"] = ["generation_config"]  # from_dict unpacks it without a look
    adapter = arguments(LoraConfig)
    adapter["properties"]["peft_type"] = {"const": "LORA"}
    adapter["required"] = ["peft_type"]
    parts = {"data_config": json_types.closed(data), "training_args": training, "peft_config": adapter}
    return json_types.closed({**fields, **parts}, [*needed, "training_args"])


if __name__ == "__main__":
    out = json_types.quiet_stdout()
    checkout, commit, folder, date = sys.argv[1:]
    versions = {name: importlib.metadata.version(name).split("+")[0] for name in PACKAGES}
    header = {
        "framework": "glm4",
        "source": f"github.com/THUDM/GLM-4, commit {commit}, {folder}/finetune.py",
        "packages": versions,
    }
    document = {
        "$schema": json_types.DRAFT,
        "title": f"The YAML of GLM-4's fine-tuning demo, {date}",
        "x-mfc": header,
        **root(checkout, commit, folder),
    }
    json_types.write(document, out)
