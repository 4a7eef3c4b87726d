"""The benchmark of imports fetches by git what it names, and judges what came of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.score import imports as score


def _git(folder: Path, *words: str) -> str:
    named = ("-c", "user.name=x", "-c", "user.email=x@x")
    done = subprocess.run(["git", "-C", str(folder), *named, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder of bare repositories as a host of git has them: one, of two commits."""
    work, bare = tmp_path / "work", tmp_path / "host" / "some" / "one"
    for name in ("configs/deep/a.yaml", "data/info.json", "other/b.yaml"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("first\n", encoding="utf-8")
    _git(tmp_path, "init", "-q", str(work))
    for number in ("first", "second"):
        (work / "configs/deep/a.yaml").write_text(f"{number}\n", encoding="utf-8")
        _git(work, "add", "-A")
        _git(work, "commit", "-qm", number)
        _git(work, "tag", number)
    _git(tmp_path, "clone", "-q", "--bare", str(work), str(bare))
    for name in ("allowAnySHA1InWant", "allowFilter"):
        _git(bare, "config", f"uploadpack.{name}", "true")
    return tmp_path / "host"


@pytest.mark.parametrize("by_tag", [True, False])
def test_files_of_a_commit_are_fetched(host: Path, tmp_path: Path, by_tag: bool) -> None:
    commit = "first" if by_tag else _git(host / "some" / "one", "rev-parse", "first")
    source = score.Source("x", "some/one", commit, ["configs/**/*.yaml"], beside=["data/info.json"])
    fetched, cloned = tmp_path / "fetched", tmp_path / "cloned"
    score.fetch(source, None, fetched, f"file://{host}")
    score.fetch(source, host, cloned)
    for tree in (fetched, cloned):
        assert (tree / "configs/deep/a.yaml").read_text(encoding="utf-8") == "first\n"
        assert (tree / "data/info.json").exists()
        assert not (tree / "other").exists()


def test_commits_can_be_fetched() -> None:
    """A host of git gives tags and whole hashes, no short ones."""
    for source in score.sources():
        assert source.commit.startswith("v") or len(source.commit) == 40, source.repository


def test_what_another_framework_can_say_is_planned_there(tmp_path: Path) -> None:
    text = "base_model: Qwen/Qwen2.5-VL-7B-Instruct\nadapter: lora\nlora_target_linear: true\nsequence_len: 2048\n"
    file = tmp_path / "train.yaml"
    file.write_text(f"{text}datasets: [{{path: a.jsonl, type: chat_template}}]\nbf16: true\n", encoding="utf-8")
    assert score.outcome(file, tmp_path).kind == "elsewhere"
