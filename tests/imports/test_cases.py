"""What is read from files that people write: `imports.yaml` beside the other cases of a target.

files     name: text, or a mapping that becomes YAML or JSON by its name; the first is read unless `read` names one
hardware  what the user adds
spec      path: value, as the spec has it; null: it says nothing there
keys      key: what became of it; with text behind a colon, text that its reason holds
notes     texts that the notes hold
refused   text in the refusal
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import imports
from mfc.errors import SpecError
from mfc.imports import shell
from mfc.imports import table as report
from mfc.spec.load import load
from mfc.target import imports as imports_of
from mfc.target import names

from tests import tables
from tests.targets.cases import MISSING, at, table

IMPORTED = [name for name in names() if imports_of(name)]
ALL = [(target, name) for target in IMPORTED for name in table(target, "imports.yaml")]
SHELL = tables.table(Path(__file__).parent.parent / "cases" / "shell.yaml")


def laid_out(files: Mapping[str, Any], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content) if name.endswith(".json") else yaml.safe_dump(content)
        path.write_text(content if isinstance(content, str) else text, encoding="utf-8")


@pytest.mark.parametrize(("target", "name"), ALL)
def test_a_file_is_read(target: str, name: str, tmp_path: Path) -> None:
    case = table(target, "imports.yaml")[name]
    laid_out(case["files"], tmp_path)
    file = str(tmp_path / case.get("read", next(iter(case["files"]))))
    if "refused" in case:
        with pytest.raises(SpecError) as refused:
            imports.read(file, case.get("from"), case.get("hardware"), tmp_path)
        assert case["refused"] in str(refused.value)
        assert "\n" not in str(refused.value)
        return
    one = imports.read(file, case.get("from"), case.get("hardware"), tmp_path)
    assert one.target == target
    wrong = {path: at(one.spec, path) for path, value in case.get("spec", {}).items() if not _is(one.spec, path, value)}
    assert wrong == {}
    became = {row.key: f"{row.status}: {row.to} {row.why}" for row in one.rows}
    for key, said in case.get("keys", {}).items():
        status, _, text = said.partition(": ")
        assert became[key].startswith(f"{status}:"), f"{key} {became[key]}"
        assert text in became[key], f"{key} {became[key]}"
    for text in case.get("notes", ()):
        assert any(text in note for note in one.notes), one.notes
    if case.get("hardware"):
        assert one.refused == ""
    if "hardware" in one.spec and "gpu" in one.spec["hardware"]:
        (tmp_path / "spec.yaml").write_text(report.spec_text(one), encoding="utf-8")
        assert load(tmp_path / "spec.yaml").raw == load(one.spec).raw


def _is(spec: Mapping[str, Any], path: str, value: Any) -> bool:
    found = at(spec, path)
    return found is MISSING if value is None else bool(found == value)


@pytest.mark.parametrize("name", SHELL)
def test_a_script_starts_these_commands(name: str) -> None:
    case = SHELL[name]
    script = shell.read(case["script"])
    assert [list(command.words) for command in script.commands] == case["commands"]
    for path, text in case.get("files", {}).items():
        assert script.files[path] == text
    for command, said in zip(script.commands, case.get("environment", ()), strict=False):
        assert command.environment == said
