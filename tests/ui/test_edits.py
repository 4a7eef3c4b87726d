"""Specs changed in their text: what was asked is what is loaded then, and no other line moves."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from mfc import api
from mfc.errors import SpecError
from mfc.ui.state import Asked, Desk

SPECS = {
    "short forms": """\
# the first run
model: Qwen/Qwen2.5-7B-Instruct  # a chat model
hardware: 4x RTX 4090
data: train.jsonl
""",
    "flow": """\
model: {id: Qwen/Qwen2.5-7B-Instruct}
hardware: {gpu: RTX 4090, count: 4}  # ours
data: {path: train.jsonl, max_length: 4096}
train: {method: lora, batch_size: 64}
targets: [llamafactory]
""",
    "blocks": """\
model:
  id: Qwen/Qwen2.5-7B-Instruct
hardware:
  gpu: RTX 4090
  count: 4   # all of them
  # host_memory: 256GiB

train:
  method: lora
  lora:
    rank: 16

# what to train on
data:
  train:
    - path: train.jsonl
targets:
  llamafactory:
    version: 0.9.4
""",
    "json": """\
{
  "model": "Qwen/Qwen2.5-7B-Instruct",
  "hardware": {"gpu": "RTX 4090", "count": 4},
  "data": "train.jsonl"
}
""",
    "no end of line": "model: Qwen/Qwen2.5-7B-Instruct\nhardware: 4x RTX 4090\ndata:\n  path: train.jsonl",
    "windows": """\
model: Qwen/Qwen2.5-7B-Instruct
hardware: RTX 4090 # one
data:
  path: train.jsonl
train:
  method: lora
""".replace("\n", "\r\n"),
    "facts of a card": """\
model: Qwen/Qwen2.5-7B
hardware:
  gpu:
    name: RTX 4090
    memory: 48GiB
  count: 2
data: a.jsonl
""",
}
VALUES = {
    "hardware.gpu": ["RTX 3090", "A100 SXM 80GB", "4090"],
    "hardware.count": ["1", "2", "8"],
    "hardware.host_memory": ["256GiB"],
    "model": ["Qwen/Qwen2.5-0.5B", "meta-llama/Llama-3.1-8B-Instruct"],
    "train.task": ["sft", "pretrain"],
    "train.method": ["auto", "full", "qlora"],
    "train.lora.rank": ["8"],
    "train.batch_size": ["16"],
    "data.max_length": ["auto", "8192", "{min: 1024, max: 8192}"],
    "strategy.sharding": ["zero3"],
    "strategy.offload.optimizer": ["none"],
}


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


@pytest.mark.parametrize("seed", range(60))
def test_what_is_saved_says_what_was_asked(seed: int, tmp_path: Path) -> None:
    drawn = random.Random(seed)
    name = drawn.choice(list(SPECS))
    path = tmp_path / "spec.yaml"
    path.write_bytes(SPECS[name].encode())
    fields = drawn.sample(list(VALUES), drawn.randint(1, 4))
    targets = drawn.choice([(), ("llamafactory", "trl"), ("llamafactory",)])
    wish = Asked(tuple(sorted((field, drawn.choice(VALUES[field])) for field in fields)), targets)
    desk = Desk(path)
    wanted = desk.loaded(wish).raw
    digest = desk.save(wish, desk.digest())
    assert digest == desk.digest()
    text = path.read_bytes().decode()
    saved = api.load(path)
    assert {key: one for key, one in saved.raw.items() if key != "targets"} == {
        key: one for key, one in wanted.items() if key != "targets"
    }
    assert list(saved.spec.targets) == list(targets or api.load(path).spec.targets)
    kept = [one for one in comments(SPECS[name]) if one != " a chat model" or "model" not in fields]
    assert [one for one in comments(text) if one in kept] == kept
    assert ("\r\n" in text) == (name == "windows")
    if name == "blocks":
        assert "version: 0.9.4" in text
    touched = {field.partition(".")[0] for field in fields} | {"targets"}
    for line in SPECS[name].splitlines():
        if not line.startswith(" ") and line.partition(":")[0].strip() not in touched:
            assert line in text.splitlines()
    assert [file.name for file in tmp_path.iterdir()] == ["spec.yaml"]


ZERO = "model: Qwen/Qwen2.5-7B\nhardware: 4x RTX 4090\ndata: a.jsonl\nstrategy: {zero: 2}\n"


def test_what_cannot_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(ZERO, encoding="utf-8")
    desk = Desk(path)
    with pytest.raises(SpecError, match=r"sharding"):
        desk.save(Asked((("strategy.sharding", "zero3"),)), desk.digest())
    assert path.read_text(encoding="utf-8") == ZERO
    assert [file.name for file in tmp_path.iterdir()] == ["spec.yaml"]


def test_what_was_changed_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SPECS["flow"], encoding="utf-8")
    desk = Desk(path)
    digest = desk.digest()
    path.write_text(SPECS["blocks"], encoding="utf-8")
    with pytest.raises(SpecError, match="was changed on disk since this page read it"):
        desk.save(Asked((("hardware.count", "8"),)), digest)
    assert path.read_text(encoding="utf-8") == SPECS["blocks"]


def test_settings_of_a_target_are_not_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SPECS["blocks"], encoding="utf-8")
    desk = Desk(path)
    with pytest.raises(SpecError, match="take one out by hand"):
        desk.save(Asked((), ("trl",)), desk.digest())


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text(SPECS["flow"], encoding="utf-8")
    (tmp_path / "spec.yaml").symlink_to("real.yaml")
    desk = Desk(tmp_path / "spec.yaml")
    desk.save(Asked((("hardware.count", "8"),)), desk.digest())
    assert (tmp_path / "spec.yaml").is_symlink()
    assert "count: 8" in (tmp_path / "real.yaml").read_text(encoding="utf-8")
