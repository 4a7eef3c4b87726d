"""What lint tells of a file, and that what it writes fits: `tests/cases/lint.yaml`.

file      text of a config
hardware  what the user adds
code      exit code
findings  id: line, 0 for the file as a whole
silent    ids that are not told
text      text in what is printed
fixed     whether --fix makes it fit
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest
from mfc import imports, lint
from mfc.cli import main
from mfc.lint import edit, show

from tests.tables import table

CASES = table(Path(__file__).parent.parent / "cases" / "lint.yaml")


def run(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    return int(stop.value.code or 0)


def laid(name: str, folder: Path) -> tuple[dict[str, Any], Path]:
    (folder / "train.yaml").write_text(CASES[name]["file"], encoding="utf-8")
    return CASES[name], folder / "train.yaml"


@pytest.mark.parametrize("name", CASES)
def test_what_is_told(name: str, tmp_path: Path) -> None:
    case, path = laid(name, tmp_path)
    one = lint.lint(str(path), None, case.get("hardware"))
    told = {found.id: found.line for found in one.findings}
    assert one.exit_code == case["code"], show.text(one)
    assert case.get("findings", {}).items() <= told.items()
    assert not told.keys() & set(case.get("silent", ()))
    assert case.get("text", "") in show.text(one)
    assert show.document(one)["exit_code"] == case["code"]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.get("fixed")])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_is_fixed_fits_and_the_rest_is_byte_identical(name: str, newline: str, tmp_path: Path) -> None:
    case, path = laid(name, tmp_path)
    path.write_bytes(path.read_bytes().replace(b"\n", newline.encode()))
    before = path.read_bytes().decode().splitlines(keepends=True)
    keys = lint.lint(str(path), None, case["hardware"]).mends[0].keys
    assert run("lint", path, "--hardware", case["hardware"], "--fix") == 0
    after = path.read_bytes().decode().splitlines(keepends=True)
    for line in difflib.ndiff(before, after):
        assert line[0] in " ?" or any(f"{key}:" in line for key in keys), line
    again = imports.read(str(path), None, case["hardware"])
    assert again.plan is not None
    assert again.plan.fits
    assert run("lint", path, "--hardware", case["hardware"], "--fix") == 0
    assert path.read_bytes().decode().splitlines(keepends=True) == after


def test_sarif_has_what_code_hosts_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, path = laid("a-key-it-does-not-know", tmp_path)
    (tmp_path / "no.yaml").write_text("a: b\n", encoding="utf-8")
    assert run("lint", path, tmp_path / "no.yaml", "--hardware", "RTX 3090", "--format", "sarif") == 2
    log = json.loads(capsys.readouterr().out)
    assert log["version"] == "2.1.0"
    (one,) = log["runs"]
    rules = [rule["id"] for rule in one["tool"]["driver"]["rules"]]
    assert one["tool"]["driver"]["name"] == "mfc"
    assert len(rules) == len(set(rules))
    for result in one["results"]:
        assert result["ruleId"] in rules
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        (place,) = result["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"]
        assert place["physicalLocation"].get("region", {"startLine": 1})["startLine"] >= 1
    assert {"unknown-key", "unreadable"} <= {result["ruleId"] for result in one["results"]}


EDITS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "set": ("a: 1  # one\nb: 2\n", {"a": 3}, "a: 3  # one\nb: 2\n"),
    "added": ("a: 1\n# end\nc: 2\n", {"b": "x"}, "a: 1\nb: x\n# end\nc: 2\n"),
    "added at an open end": ("a: 1", {"b": 2}, "a: 1\nb: 2"),
    "taken out": ("a: 1\nb: 2 # two\nc: 3\n", {"b": edit.GONE}, "a: 1\nc: 3\n"),
    "json": ('{"a": 1, "c": {"b": 2}}', {"a": True, "c.b": "x"}, '{"a": true, "c": {"b": "x"}}'),
    "a list of several lines": ("a:\n  - 1\n  - 2\n", {"a": 3}, None),
    "no yaml": ("a: [", {"a": 3}, None),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_config_is_edited(name: str) -> None:
    text, edits, wanted = EDITS[name]
    assert edit.config(text, edits, ["a", "b", "c", "c.b"]) == wanted


def test_a_script_is_edited() -> None:
    text = "# --len 1\nswift sft \\\n  --len 8 \\\n  --lr=1e-4 --on true\n"
    edits = {"len": 4, "on": edit.GONE, "new": "a b"}
    assert edit.script(text, edits) == "# --len 1\nswift sft \\\n  --new 'a b' --len 4 \\\n  --lr=1e-4 \n"
