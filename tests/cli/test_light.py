"""What a command loads: only what it uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SPEC = "model: Qwen/Qwen2.5-7B-Instruct\nhardware: 2x RTX 4090\ndata: train.jsonl\ntargets: [deepspeed]\n"
NATIVE = """\
model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct
stage: sft
finetuning_type: lora
dataset: rows
template: qwen
bf16: true
cutoff_len: 512
"""
# Beside the libraries: what searches all installed packages, and modules that only errors and other commands need.
SEARCHES = {"importlib.metadata", "pydantic.plugin._loader"}
RARE = {"difflib", "unicodedata", "rich", "subprocess"}

LOADS_NOT = {
    "--help": {"click", "yaml", "pydantic", "jinja2", "jsonschema", "dataclasses"},
    "rules": {"pydantic", "jinja2", "jsonschema"},
    "plan": {"jinja2", "jsonschema", "mfc.emit.render", "mfc.emit.writing", "mfc.emit.manifest"} | SEARCHES | RARE,
    "compile": SEARCHES | {"rich"},
    "report": {"rich", "mfc.emit.writing", "mfc.imports", "mfc.lint"},
    "import": {"jinja2", "jsonschema", "mfc.lint", "mfc.diff", "mfc.imports.convert", "mfc.imports.lines"} | RARE,
    "convert": {"rich", "mfc.lint", "mfc.diff", "mfc.imports.lines", "mfc.emit.writing"},
    "lint": {"jinja2", "jsonschema", "mfc.diff", "mfc.emit.writing"} | (RARE - {"difflib"}),  # its patch is one
    "diff": {"jinja2", "jsonschema", "mfc.lint", "mfc.emit.writing", "mfc.imports.convert"} | RARE,
    "init": {"jinja2", "jsonschema", "mfc.imports", "mfc.lint", "mfc.emit.writing", "rich"},
    "doctor": {"jinja2", "jsonschema", "mfc.imports", "mfc.lint", "mfc.emit.writing", "rich"},
}
ARGUMENTS = {
    "plan": ["spec.yaml"],
    "compile": ["spec.yaml"],
    "report": ["spec.yaml"],
    "import": ["train.yaml", "--hardware", "RTX 4090"],
    "convert": ["train.yaml", "--hardware", "RTX 4090", "--to", "ms-swift"],
    "lint": ["train.yaml", "--hardware", "RTX 4090"],
    "diff": ["train.yaml", "train.yaml", "--hardware", "RTX 4090"],
    "init": ["--gpu", "RTX 4090", "--model", "Qwen/Qwen2.5-7B-Instruct", "-o", "new.yaml"],
}
ENDS = {"doctor": {"0", "2", "3"}}  # what is wrong with the machine that runs the tests


@pytest.mark.parametrize("command", LOADS_NOT)
def test_a_command_loads_only_what_it_uses(command: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    (tmp_path / "train.yaml").write_text(NATIVE, encoding="utf-8")
    arguments = [command, *ARGUMENTS.get(command, ())]
    code = (
        "import sys\n"
        "from mfc.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit as end:\n    print(end.code, *sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    exit_code, *modules = done.stderr.splitlines()[-1].split()
    assert exit_code in ENDS.get(command, {"0"}), done.stderr
    assert not LOADS_NOT[command] & set(modules)
