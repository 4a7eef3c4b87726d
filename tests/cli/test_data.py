"""`mfc data` as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mfc.cli import main

SPEC = (
    "model: Qwen/Qwen2.5-7B-Instruct\nhardware: 4x RTX 4090\n"
    "data: {path: train.jsonl, format: messages, max_length: 4096}\n"
    "train: {method: lora, batch_size: 8}\ntargets: [llamafactory]\n"
)


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def mfc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs a command in this process, where nothing of a hub is cached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))

    def run(*words: str) -> Done:
        with pytest.raises(SystemExit) as end:
            main(list(words))
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return run


def chat(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def lay(folder: Path, rows: list[Any], spec: str = SPEC) -> None:
    (folder / "spec.yaml").write_text(spec, encoding="utf-8")
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def test_good_rows(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    lay(tmp_path, [chat("Why?", "Because. " * number) for number in range(1, 41)])
    done = mfc("data", "spec.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("spec.yaml: 40 rows in 1 file, all of them good\n")
    for words in ("estimated from characters", "longest", "cut at", "padding", "5 steps: 40 rows, 8 a step"):
        assert words in done.stdout
    assert "\r" not in done.stderr
    made = json.loads(mfc("data", "spec.yaml", "--format", "json").stdout)
    assert (made["train"]["rows"], made["train"]["bad"], made["epoch"]["steps"]) == (40, 0, 5)


def test_bad_rows_are_named_by_line(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    lay(tmp_path, [chat("a", "b"), chat("a", ""), {"messages": 3}])
    done = mfc("data", "spec.yaml")
    assert done.returncode == 1
    assert "train.jsonl: line 2: empty answer" in done.stdout
    assert "train.jsonl: line 3: wrong type: messages is a number" in done.stdout
    lay(tmp_path, [{"messages": 3}])
    assert mfc("data", "spec.yaml").returncode == 1


def test_what_is_not_there_is_one_error(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    lay(tmp_path, [chat("a", "b")], SPEC.replace("train.jsonl", "none.jsonl"))
    done = mfc("data", "spec.yaml")
    assert done.returncode == 2
    assert "spec.yaml:3:14: error: there is no none.jsonl" in done.stderr
    lay(tmp_path, [], SPEC.replace("path: train.jsonl", "hub: org/set"))
    done = mfc("data", "spec.yaml")
    assert done.returncode == 2
    assert "org/set on a hub" in done.stderr
    lay(tmp_path, [], "model: Qwen/Qwen2.5-7B-Instruct\nhardware: T4\n")
    assert mfc("data", "spec.yaml").returncode == 2


def test_images_are_looked_for(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    spec = SPEC.replace("Qwen2.5-7B-Instruct", "Qwen2.5-VL-7B-Instruct").replace("max_length", "image: {}, max_length")
    (tmp_path / "a.png").write_bytes(b"")
    rows = [
        {**chat("<image>what?", "a cat"), "images": ["a.png"]},
        {**chat("<image>what?", "a cat"), "images": ["b.png"]},
    ]
    lay(tmp_path, rows, spec)
    done = mfc("data", "spec.yaml")
    assert "line 2: missing image: there is no b.png" in done.stdout, done.stderr
    assert "images    in 1 rows, 1 at most" in done.stdout


def test_without_a_plan_lengths_are_told_all_the_same(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    lay(tmp_path, [chat("a", "b")], SPEC.replace("Qwen/Qwen2.5-7B-Instruct", "nobody/knows"))
    done = mfc("data", "spec.yaml")
    assert done.returncode == 0
    assert "note: without a plan neither steps nor hours are known" in done.stderr
    assert "cut at" in done.stdout
