"""Prints what one release of Liger patches, as JSON: `python liger.py [SOURCE]`.

SOURCE is liger_kernel/transformers/monkey_patch.py of that release; without one, that of the installed package is read.
Nothing is imported, so neither torch nor Triton is needed. Of each function `apply_liger_kernel_to_<name>` it tells the
model types that lead to it, and whether by default it puts a head in that makes the loss without whole logits.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

PREFIX = "apply_liger_kernel_to_"
Table = dict[str, dict[str, list[str]]]


def table(source: str) -> Table:
    """`fuses` and `plain`: function -> model types."""
    found: Table = {"fuses": {}, "plain": {}}
    functions, leads = {}, {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith(PREFIX):
            functions[node.name] = _fuses(node)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODEL_TYPE_TO_APPLY_LIGER_FN":
            assert isinstance(node.value, ast.Dict)
            pairs = zip(node.value.keys, node.value.values, strict=True)
            leads = {ast.literal_eval(key): ast.unparse(value) for key, value in pairs if key}
    for kind, function in sorted(leads.items()):
        side = found["fuses" if functions[function] else "plain"]
        side.setdefault(function.removeprefix(PREFIX), []).append(kind)
    return found


def _fuses(function: ast.FunctionDef) -> bool:
    """Whether `fused_linear_cross_entropy` is a parameter whose default is true."""
    named = function.args.args
    given = zip(named[len(named) - len(function.args.defaults) :], function.args.defaults, strict=True)
    return any(one.arg == "fused_linear_cross_entropy" and ast.literal_eval(default) for one, default in given)


def installed() -> str:
    """The source of the installed package, found without importing it."""
    for folder in map(Path, sys.path):
        if (path := folder / "liger_kernel" / "transformers" / "monkey_patch.py").is_file():
            return path.read_text(encoding="utf-8")
    raise SystemExit("liger-kernel is not installed")


if __name__ == "__main__":
    print(json.dumps(table(Path(sys.argv[1]).read_text(encoding="utf-8") if len(sys.argv) > 1 else installed())))
