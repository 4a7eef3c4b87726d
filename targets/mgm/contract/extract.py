# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "transformers==4.36.2"]
# ///
"""Prints the contract of MGM's training script: `python extract.py CHECKOUT DATE`, with a checkout's .git, bare or not.

The script's three dataclasses are compiled from their own text, for importing it needs all that training needs, and
given to transformers' HfArgumentParser as the script does. Each of its flags is taken with its type and its choices.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib.metadata
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))  # mfc is not installed where this runs

from targets.contract import json_types

COMMIT = "769820cb71afc7c2b9a2166ca3ce92db1636215c"
FILE = "mgm/train/train.py"
CLASSES = ("ModelArguments", "DataArguments", "TrainingArguments")
NEEDED = ("data_path", "output_dir")  # the first has a default of None, which json.load cannot open


def classes(checkout: str) -> list[type]:
    """The three dataclasses, compiled from the text of the script."""
    import transformers

    shown = ["git", "-C", checkout, "show", f"{COMMIT}:{FILE}"]
    tree = ast.parse(subprocess.run(shown, capture_output=True, text=True, check=True).stdout)
    kept: list[ast.stmt] = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name in CLASSES]
    module = types.ModuleType("mgm_arguments")
    sys.modules[module.__name__] = module
    names = {name: getattr(typing, name) for name in ("Dict", "List", "Optional", "Sequence")}
    given = {"dataclass": dataclasses.dataclass, "field": dataclasses.field, "transformers": transformers}
    module.__dict__.update({**names, **given})
    exec(compile(ast.Module(body=kept, type_ignores=[]), FILE, "exec"), module.__dict__)
    return [module.__dict__[name] for name in CLASSES]


def parser(checkout: str) -> argparse.ArgumentParser:
    """The parser that the script makes."""
    import transformers

    made: argparse.ArgumentParser = transformers.HfArgumentParser(classes(checkout))
    return made


def flags(checkout: str) -> json_types.Schema:
    """Every flag that the parser takes."""
    hints = {name: hint for one in classes(checkout) for name, hint in typing.get_type_hints(one).items()}
    properties: json_types.Schema = {}
    for action in parser(checkout)._actions:
        name = action.option_strings[-1].lstrip("-")
        if name == "help" or name not in hints:  # --no_X, which says of a flag X that it is false
            continue
        schema = json_types.of_type(hints[name])
        if action.choices:
            schema = {"enum": list(action.choices)}
        if action.default is not argparse.SUPPRESS and action.default is not None:
            schema = {**schema, "default": json_types.plain(action.default)}
        properties[name] = schema
    return json_types.closed(properties, NEEDED)


if __name__ == "__main__":
    out = json_types.quiet_stdout()
    checkout, date = sys.argv[1:]
    version = importlib.metadata.version("transformers").split("+")[0]
    header: dict[str, Any] = {
        "framework": "mgm",
        "source": f"github.com/dvlab-research/MGM, commit {COMMIT}, {FILE}",
        "packages": {"transformers": version},
    }
    document = {
        "$schema": json_types.DRAFT,
        "title": f"The flags of MGM's training script, {date}",
        "x-mfc": header,
        **flags(checkout),
    }
    json_types.write(document, out)
