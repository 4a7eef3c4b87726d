"""What a command loads: only what it uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SPEC = "model: Qwen/Qwen2.5-7B-Instruct\nhardware: 2x RTX 4090\ndata: train.jsonl\ntargets: [deepspeed]\n"
# Beside the libraries: what searches all installed packages, and modules that only errors and other commands need.
SEARCHES = {"importlib.metadata", "pydantic.plugin._loader"}
RARE = {"difflib", "unicodedata", "rich", "subprocess"}

LOADS_NOT = {
    "--help": {"click", "yaml", "pydantic", "jinja2", "jsonschema", "dataclasses"},
    "rules": {"pydantic", "jinja2", "jsonschema"},
    "plan": {"jinja2", "jsonschema", "mfc.emit.render", "mfc.emit.writing", "mfc.emit.manifest"} | SEARCHES | RARE,
    "compile": SEARCHES | {"rich"},
}


@pytest.mark.parametrize("command", LOADS_NOT)
def test_a_command_loads_only_what_it_uses(command: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    arguments = [command, "spec.yaml"] if command in ("plan", "compile") else [command]
    code = (
        "import sys\n"
        "from mfc.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit as end:\n    print(end.code, *sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    exit_code, *modules = done.stderr.splitlines()[-1].split()
    assert exit_code == "0", done.stderr
    assert not LOADS_NOT[command] & set(modules)
