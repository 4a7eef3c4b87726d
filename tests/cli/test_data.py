"""`mfc data` as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mfc.cli import main

from tests.data import optional

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


def planned(done: Done) -> Any:
    (plan,) = json.loads(done.stdout)["plans"]
    return plan


def lay(folder: Path, rows: list[Any], spec: str = SPEC) -> None:
    (folder / "spec.yaml").write_text(spec, encoding="utf-8")
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def test_good_rows(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    lay(tmp_path, [chat("Why?", "Because. " * number) for number in range(1, 41)])
    done = mfc("data", "spec.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("spec.yaml: 40 rows in 1 file, all of them good\n")
    for words in ("estimated from characters", "longest", "cut at", "padding", "5 steps, 8 rows each", "of 40 rows"):
        assert words in done.stdout
    assert "\r" not in done.stderr
    made = json.loads(mfc("data", "spec.yaml", "--format", "json").stdout)
    assert (made["train"]["rows"], made["train"]["bad"], made["run"]["rows"]) == (40, 0, 40)


def test_bad_rows_are_named_by_line(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    lay(tmp_path, [chat("a", "b"), chat("a", ""), {"messages": 3}])
    done = mfc("data", "spec.yaml")
    assert done.returncode == 1
    assert "train.jsonl: line 2: empty answer" in done.stdout
    assert "train.jsonl: line 3: wrong type: messages is a number" in done.stdout
    lay(tmp_path, [{"messages": 3}])
    assert mfc("data", "spec.yaml").returncode == 1


def test_empty_files_are_no_data(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    lay(tmp_path, [])
    done = mfc("data", "spec.yaml")
    assert (done.returncode, done.stdout) == (1, "spec.yaml: 0 rows in 1 file, nothing to train on\n")


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


def test_another_format_is_recognised(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    lay(tmp_path, [{"instruction": "a", "input": "", "output": "b"}])
    done = mfc("data", "spec.yaml", "--write")
    assert done.returncode == 2
    assert "1 of 1 rows are bad" in done.stderr or "no row of the data can be counted" in done.stderr
    assert "they look like alpaca: say format: alpaca under data" in done.stderr
    assert mfc("data", "spec.yaml", "--set", "data.format=alpaca").returncode == 0
    found = {
        "sharegpt": {"conversations": []},
        "text": {"text": "a"},
        "preference": {"prompt": "a", "chosen": "b", "rejected": "c"},
        "prompt": {"prompt": "a"},
        "": {"a": 1},
    }
    for form, row in found.items():
        lay(tmp_path, [row])
        told = mfc("data", "spec.yaml").stderr
        assert (f"they look like {form}:" in told) == bool(form), told


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big")


def test_images_are_looked_for_and_counted(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    spec = SPEC.replace("Qwen2.5-7B-Instruct", "Qwen2.5-VL-7B-Instruct")
    (tmp_path / "a.png").write_bytes(png(280, 280))
    asked = chat("<image>what?", "a cat")
    lay(tmp_path, [{**asked, "images": ["a.png"]}, {**asked, "images": ["b.png"]}, asked], spec)
    done = mfc("data", "spec.yaml", "--format", "json")
    made = json.loads(done.stdout)["train"]
    assert [one["text"] for one in made["first_bad"]] == ["there is no b.png"]
    assert made["images"] == {"1": 1}
    lengths = [one["tokens"] for one in made["quantiles"]]
    assert lengths[-1] - lengths[0] == 10 * 10  # a token for 28 x 28 pixels
    assert "images    in 1 rows, 1 at most, each of up to" in mfc("data", "spec.yaml").stdout


def test_prompts_are_held_to_their_own_limit(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    lay(tmp_path, [{"prompt": "Why? " * number} for number in range(1, 41)], SPEC.replace("messages", "prompt"))
    words = ("train.task=grpo", "train.rollout.rewards=[accuracy_reward]", "targets=[trl]")
    done = mfc("data", "spec.yaml", "--write", *(word for one in words for word in ("--set", one)))
    assert done.returncode == 0, done.stderr
    assert "prompts   mean" in done.stdout
    assert "this run's max_prompt_length" in done.stdout, done.stderr
    assert "padding" not in done.stdout
    text = (tmp_path / "spec.yaml").read_text()
    assert "lengths: {" in text
    assert "mean_length" not in text


def test_without_a_plan_lengths_are_told_all_the_same(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    lay(tmp_path, [chat("a", "b")], SPEC.replace("Qwen/Qwen2.5-7B-Instruct", "nobody/knows"))
    done = mfc("data", "spec.yaml")
    assert done.returncode == 0
    assert "note: without a plan neither steps nor hours are known" in done.stderr
    assert "cut at" in done.stdout


def test_write_and_check(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    """What is written plans faster and says what the limit does; check tells when the data is another."""
    lay(tmp_path, [chat("Why?", "Because. " * number) for number in range(1, 401)], f"# all\n{SPEC}")
    before = planned(mfc("plan", "spec.yaml", "--format", "json"))
    done = mfc("data", "spec.yaml", "--write")
    assert done.returncode == 0, done.stderr
    assert "wrote data.mean_length and data.lengths into spec.yaml" in done.stderr
    assert "# all" in (tmp_path / "spec.yaml").read_text()
    after = planned(mfc("plan", "spec.yaml", "--format", "json"))
    assert after["speed"]["seconds_per_step"] < before["speed"]["seconds_per_step"]
    assert any("max_length 4096 cuts nothing" in one["message"] for one in after["warnings"])
    assert mfc("compile", "spec.yaml").returncode == 0
    assert mfc("check", "spec.yaml").returncode == 0
    with (tmp_path / "train.jsonl").open("r+") as stream:
        stream.write('{"messagez')
    done = mfc("check", "spec.yaml")
    assert done.returncode == 1
    assert "spec.yaml: stale (the data has changed since data.lengths was measured)" in done.stdout
    assert "mfc data spec.yaml --write" in done.stderr
    (tmp_path / "train.jsonl").write_text("{}\n")
    assert "3 bytes of data" in mfc("check", "spec.yaml").stdout
    (tmp_path / "train.jsonl").unlink()
    assert mfc("check", "spec.yaml").returncode == 0


def test_a_tokenizer_that_is_named_counts(tmp_path: Path, mfc: Callable[..., Done]) -> None:
    optional("tokenizers")
    lay(tmp_path, [chat("Why?", "Because.")])
    assert mfc("data", "spec.yaml", "--tokenizer", "none").returncode == 2
    (tmp_path / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}})
    )
    done = mfc("data", "spec.yaml", "--tokenizer", ".", "--write")
    assert "counted by tokenizer.json with 5 tokens around each turn" in done.stdout, done.stderr
    made = planned(mfc("plan", "spec.yaml", "--set", "data.max_length=auto", "--format", "json"))
    assert made["strategy"]["max_length"] == 64
    made = planned(mfc("plan", "spec.yaml", "--set", "data.max_length={min: 32, max: 8192}", "--format", "json"))
    assert made["strategy"]["max_length"] == 64
