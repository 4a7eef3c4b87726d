"""What lint tells of a file, and that what it writes fits: `tests/cases/lint.yaml`.

file      text of a config
name      what it is called, train.yaml where nothing is said
beside    name: text, of files that it names
hardware  what the user adds
code      exit code
findings  id: line, 0 for the file as a whole
silent    ids that are not told
mended    id: {key: value} of the first edit that mends it, null for a key that is taken out
text      text in what is printed
fixed     whether --fix makes it fit
lines     the lines that --fix writes, in their order
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from mfc import imports, lint
from mfc.cli import main
from mfc.lint import edit, python, scripts, show

from tests.tables import table

CASES = table(Path(__file__).parent.parent / "cases" / "lint.yaml")


def run(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    return int(stop.value.code or 0)


def laid(name: str, folder: Path) -> tuple[dict[str, Any], Path]:
    path = folder / CASES[name].get("name", "train.yaml")
    path.write_text(CASES[name]["file"], encoding="utf-8")
    for file, text in CASES[name].get("beside", {}).items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
    return CASES[name], path


@pytest.mark.parametrize("name", CASES)
def test_what_is_told(name: str, tmp_path: Path) -> None:
    case, path = laid(name, tmp_path)
    one = lint.lint(str(path), None, case.get("hardware"))
    told = {found.id: found.line for found in one.findings}
    assert one.exit_code == case["code"], show.text(one)
    assert case.get("findings", {}).items() <= told.items()
    assert not told.keys() & set(case.get("silent", ()))
    for of, keys in case.get("mended", {}).items():
        made = next(way.keys for way in one.mends if way.of == of)
        plain = {key: None if value is edit.GONE else value for key, value in made.items()}
        assert keys.items() <= plain.items(), (of, plain)
    assert case.get("text", "") in show.text(one)
    assert show.document(one)["exit_code"] == case["code"]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.get("fixed")])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_is_fixed_fits_and_the_rest_is_byte_identical(
    name: str, newline: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case, path = laid(name, tmp_path)
    files = [path, *(tmp_path / file for file in case.get("beside", {}))]
    for file in files:
        file.write_bytes(file.read_bytes().replace(b"\n", newline.encode()))
    before = [file.read_bytes().decode() for file in files]
    assert run("lint", path, "--hardware", case["hardware"], "--fix") == 0
    written = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{path}: writes ")]
    keys = {key.rpartition(".")[2] for line in written for key in re.findall(r"([\w.]+): ", line)}
    for file, old in zip(files, before, strict=True):
        now, then = ([line.rstrip(",") for line in text.splitlines()] for text in (file.read_bytes().decode(), old))
        for line in difflib.ndiff(then, now):
            assert line[0] in " ?" or any(f"{key}:" in line.replace('"', "") for key in keys) or "}" in line, line
        assert file.read_bytes().count(b"\n") == file.read_bytes().count(newline.encode())
    again = imports.read(str(path), None, case["hardware"])
    assert again.plan is not None
    assert again.plan.fits
    after = [file.read_bytes() for file in files]
    assert run("lint", path, "--hardware", case["hardware"], "--fix") == 0
    assert [file.read_bytes() for file in files] == after


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "lines" in case])
def test_lines_that_are_fixed(name: str, tmp_path: Path) -> None:
    case, path = laid(name, tmp_path)
    before = case["file"].splitlines()
    assert run("lint", path, "--hardware", case["hardware"], "--fix") == 0
    after = path.read_text(encoding="utf-8").splitlines()
    assert [line[2:].strip() for line in difflib.ndiff(before, after) if line[0] == "+"] == case["lines"]


def test_strict_fixes_what_it_counts(tmp_path: Path) -> None:
    case, path = laid("a-trap-has-an-edit", tmp_path)
    hardware = ("--hardware", case["hardware"])
    assert run("lint", path, *hardware, "--fix") == 0
    assert path.read_text(encoding="utf-8") == case["file"]
    run("lint", path, *hardware, "--fix", "--strict")
    assert "freeze_trainable_layers" not in path.read_text(encoding="utf-8")
    assert "enable_liger_kernel: true\n" in path.read_text(encoding="utf-8")


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


GONE = edit.GONE
EDITS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "set": ("a: 1  # one\nb: 2\n", {"a": 3}, "a: 3  # one\nb: 2\n"),
    "added": ("a: 1\n# end\nc: 2\n", {"b": "x"}, "a: 1\nb: x\n# end\nc: 2\n"),
    "added at an open end": ("a: 1", {"b": 2}, "a: 1\nb: 2"),
    "added behind a list": ("a:\n- x\n- y\nd: 3\n", {"b": 5}, "a:\n- x\n- y\nb: 5\nd: 3\n"),
    "added in a section": ("c:\n  x: 1  # one\nd: 3\n", {"c.b": "q"}, "c:\n  x: 1  # one\n  b: q\nd: 3\n"),
    "a section added": ("b: 1\nd: 3\n", {"c.b": "q"}, "b: 1\nc: {b: q}\nd: 3\n"),
    "taken out": ("a: 1\nb: 2 # two\nc: 3\n", {"b": GONE}, "a: 1\nc: 3\n"),
    "a list taken out": ("a: 1\nb:\n- x\n- y\nc: 3\n", {"b": GONE}, "a: 1\nc: 3\n"),
    "not there to be taken out": ("a: 1\n", {"b": GONE}, "a: 1\n"),
    "a list in lines": (
        "a:  # names\n  - x  # one\n  - 'y'\n  # end\nc: 2\n",
        {"a": ["x", "z"]},
        "a:  # names\n  - x  # one\n  - z\n  # end\nc: 2\n",
    ),
    "a list at an open end": ("a:\n- x", {"a": ["x", "z"]}, "a:\n- x\n- z"),
    "a list in another order": ("a:\n- x\n- y\n", {"a": ["y", "x"]}, None),
    "a list becomes a word": ("a:\n  - 1\n  - 2\n", {"a": 3}, None),
    "json": ('{"a": 1, "c": {"b": 2}}', {"a": True, "c.b": "x"}, '{"a": true, "c": {"b": "x"}}'),
    "json added": ('{\n  "c": {\n    "x": 1\n  }\n}', {"c.b": 2}, '{\n  "c": {\n    "x": 1,\n    "b": 2\n  }\n}'),
    "json, a section added": ('{\n  "a": 1\n}', {"c.b": 2}, '{\n  "a": 1,\n  "c": {"b": 2}\n}'),
    "json taken out": ('{\n  "a": 1,\n  "b": 2\n}', {"a": GONE}, '{\n  "b": 2\n}'),
    "json, the last taken out": ('{\n  "a": 1,\n  "b": 2\n}', {"b": GONE}, '{\n  "a": 1\n}'),
    "no yaml": ("a: [", {"a": 3}, None),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_config_is_edited(name: str) -> None:
    text, edits, wanted = EDITS[name]
    assert edit.config(text, edits, ["a", "b", "c", "c.b"]) == wanted


def test_a_script_is_edited() -> None:
    text = "# --len 1\nswift sft \\\n  --len 8 \\\n  --lr=1e-4 --on true\n"
    edits = {"len": 4, "on": GONE, "new": "a b"}
    assert (
        scripts.flags(text, edits, ["lr", "len"]) == "# --len 1\nswift sft \\\n  --new 'a b' --len 4 \\\n  --lr=1e-4 \n"
    )
    assert scripts.flags(text, {"len": GONE}, ["lr"]) == "# --len 1\nswift sft \\\n  --lr=1e-4 --on true\n"
    assert scripts.flags("x --len 1 --len 2\n", {"len": 3}, []) is None


def test_a_variable_is_edited_where_it_gets_its_value() -> None:
    text = "export LEN=${LEN:-8} # LEN=1\nB='4'\nswift sft --len $LEN --batch \"${B}\" --rate $C\n"
    edits = {"len": 4, "batch": 2, "rate": 1}
    wanted = 'export LEN=${LEN:-4} # LEN=1\nB=2\nswift sft --len $LEN --batch "${B}" --rate 1\n'
    assert scripts.flags(text, edits, []) == wanted
    assert scripts.variables("A=1 x\n", {"A": 2, "B": 3, "c.d": 4}) == "A=2 x\n"
    assert scripts.variables("A=1; A=3\n", {"A": 2}) == "A=1; A=3\n"


def test_a_here_document_is_edited() -> None:
    text = 'cat <<EOF > a.json\n{"a": $X, "c": {"x": 1}}\nEOF\ncat > b.yaml <<- \'END\'\nb: 1\nEND\n'
    body = '{"a": 7, "c": {"x": 1}}'
    wanted = text.replace("1}}", "3}}").replace("$X", "true")
    assert scripts.document(text, body, {"c.x": 3, "a": True}, ["a", "c"]) == wanted
    assert scripts.document(text, "b: 1", {"b": 2}, ["b"]) == text.replace("b: 1", "b: 2")
    assert scripts.document(text, "d: 1", {"d": 2}, ["d"]) is None


CONFIG = """from torch import nn
import torch as t
size = 4  # rows
steps = 16
steps *= 2
ä = dict(
    rows=size,
    lr=2e-4 * 4,  # the paper's
)
model = dict(type=nn.Linear, ä=ä, steps=steps, kind={"a": 1, "b": [1, 2]}, last=t.float16)
"""
PYTHON: dict[str, tuple[dict[str, Any], tuple[tuple[str, str], ...] | None]] = {
    "a name": ({"size": 2}, (("size = 4", "size = 2"),)),
    "a name behind an item": ({"ä.rows": 2, "model.ä.rows": 1}, (("size = 4", "size = 1"),)),
    "arithmetic": ({"model.ä.lr": 1e-5}, (("2e-4 * 4", "1e-05"),)),
    "a name that is multiplied": ({"model.steps": 8}, (("steps = 16", "steps = 4"),)),
    "a name that cannot be so multiplied": ({"model.steps": 7}, None),
    "a mapping in braces": ({"model.kind.b": [3]}, (("[1, 2]", "[3]"),)),
    "an item added": ({"model.kind.c": "x"}, (("[1, 2]}", "[1, 2], 'c': 'x'}"),)),
    "an item added on its line": ({"ä.new": True}, (("lr=2e-4 * 4", "lr=2e-4 * 4,\n    new=True"),)),
    "code by its name": ({"model.last": "torch:bfloat16"}, (("t.float16", "t.bfloat16"),)),
    "code by what is imported": ({"model.type": "torch:nn"}, (("type=nn.Linear", "type=nn"),)),
    "code that is not imported": ({"model.type": "torch.optim:Adam"}, None),
    "an item taken out": ({"model.steps": GONE}, (("steps=steps, ", ""),)),
    "the last item taken out": ({"model.last": GONE}, ((", last=t.float16", ""),)),
    "a name that nothing has": ({"other": 3, "no.such": 1}, ()),
    "a section that is not there": ({"model.no.such": 1}, None),
}


@pytest.mark.parametrize("name", PYTHON)
def test_a_python_config_is_edited(name: str) -> None:
    edits, wanted = PYTHON[name]
    for newline in ("\n", "\r\n"):
        old = CONFIG.replace("\n", newline)
        new = old
        for before, after in wanted or ():
            assert before in new
            new = new.replace(before, after.replace("\n", newline))
        assert python.config(old, edits) == (None if wanted is None else new)
    assert python.config("a = (", {"a": 1}) is None


def test_a_key_gets_another_name() -> None:
    assert edit.renamed("a: 1\n'b-c': 2  # two\n", "b-c", "bc") == "a: 1\n'bc': 2  # two\n"
    assert edit.renamed("a: 1\nb: 2\n", "b", "a") is None
    assert scripts.renamed("x --a-b 1 --a_b 2\n", "a_b", "ab") is None
    assert scripts.renamed("x --a-b 1\n", "a_b", "ab") == "x --ab 1\n"
    assert python.renamed("a = dict(b=1, c=2)\n", "a.b", "d") == "a = dict(d=1, c=2)\n"
    assert python.renamed("a = dict(b=1, c=2)\n", "a.b", "c") is None
