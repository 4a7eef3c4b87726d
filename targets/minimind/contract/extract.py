# /// script
# requires-python = ">=3.10"
# ///
"""Writes the contracts of minimind's trainers: `python extract.py CHECKOUT VERSION COMMIT DATE OUT`.

Each trainer/train_*.py that a plan can start becomes OUT/minimind-<script>-<VERSION>.json: a closed mapping of its
flags, read from its add_argument calls without running anything. `type=bool` takes any text for true, so only the word
True is let through.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))  # mfc is not installed where this runs

from targets.contract import json_types

SCRIPTS = {
    "3": (
        *("train_pretrain", "train_full_sft", "train_lora", "train_dpo", "train_grpo", "train_ppo"),
        "train_distillation",
    ),
    "2": ("train_pretrain", "train_full_sft", "train_lora", "train_dpo"),  # its train_distillation stops at softmax
}
TYPES = {"int": "integer", "float": "number", "str": "string"}


def flags(source: str) -> dict[str, json_types.Schema]:
    """Flag -> what it takes, of every add_argument call in a script."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return dict(_flag(call) for call in calls if getattr(call.func, "attr", "") == "add_argument")


def _flag(call: ast.Call) -> tuple[str, json_types.Schema]:
    (name,) = [word.value for word in call.args if isinstance(word, ast.Constant)]
    said = {word.arg: word.value for word in call.keywords}
    schema: json_types.Schema = {}
    if "action" in said:
        schema = {"type": "boolean"}
    elif (kind := getattr(said.get("type"), "id", "str")) == "bool":
        schema = {"const": "True"}
    else:
        schema = {"type": TYPES[kind]}
    if isinstance(said.get("default"), ast.Constant | ast.UnaryOp):
        schema["default"] = ast.literal_eval(said["default"])
    if "choices" in said:
        schema = {**schema, "enum": ast.literal_eval(said["choices"])}
    return str(name).lstrip("-"), schema


def contract(source: str, script: str, version: str, commit: str, date: str) -> dict[str, Any]:
    """The contract of one script."""
    header = {"framework": "minimind", "source": f"github.com/jingyaogong/minimind, commit {commit}, {date}"}
    return {
        "$schema": json_types.DRAFT,
        "title": f"{script}.py of minimind {version}, {date}",
        "x-mfc": {**header, "read": "text"},
        **json_types.closed(flags(source)),
    }


def main(checkout: str, version: str, commit: str, date: str, out: str) -> None:
    """Write the contracts of all scripts of a version that a plan can start."""
    for script in SCRIPTS[version]:
        text = (Path(checkout) / "trainer" / f"{script}.py").read_text(encoding="utf-8")
        with (Path(out) / f"minimind-{script}-{version}.json").open("w", encoding="utf-8") as opened:
            json_types.write(contract(text, script, version, commit, date), opened)


if __name__ == "__main__":
    main(*sys.argv[1:])
