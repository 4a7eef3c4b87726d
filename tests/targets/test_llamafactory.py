"""What only LLaMA-Factory has: its launcher, two files that say the same, and what it holds in memory."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api
from mfc.emit.compiled import Compiled
from mfc.errors import MfcError
from mfc.target import get

from tests.targets.cases import compiled, good, over_base, read
from tests.targets.launching import NASTY, TOLD, launch

SPEC: dict[str, Any] = {
    "model": "Qwen/Qwen2.5-0.5B-Instruct",
    "hardware": {"gpu": "RTX 4090", "count": 2},
    "data": {"path": "data/train.jsonl", "format": "messages"},
    "train": {"batch_size": 16},
}
LOGITS = 2 * 4096 * 152064  # two sequences of 4096 tokens, Qwen2.5's vocabulary


def made(folder: Path, **sections: Any) -> Compiled:
    (folder / "run.yaml").write_text(yaml.safe_dump({**SPEC, **sections}), encoding="utf-8")
    (one,) = api.compile(folder / "run.yaml", ["llamafactory"])
    return one


def started(one: Compiled, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return launch(one, one.out, "launch.sh", *args, tools={"llamafactory-cli": TOLD}, **env)


@pytest.mark.parametrize("name", good("llamafactory"))
def test_the_json_says_what_the_yaml_says(name: str, folder: Path) -> None:
    one = compiled("llamafactory", name, folder)
    if "ds_config.json" in one.files:
        config, run = (read(file, one.files[file]) for file in ("ds_config.json", "train.yaml"))
        assert config["train_batch_size"] == one.plan.values["batch_size"]
        assert config["train_micro_batch_size_per_gpu"] == run["per_device_train_batch_size"]
        assert config["gradient_accumulation_steps"] == run["gradient_accumulation_steps"]
        assert config["gradient_clipping"] == run["max_grad_norm"]
        assert config.get("bf16", {"enabled": False})["enabled"] == run["bf16"]
        assert config.get("fp16", {"enabled": False})["enabled"] == run["fp16"]


def test_every_key_carries_a_field() -> None:
    assert all(key.fields for key in get("llamafactory").KEYS)


def test_it_starts_in_its_folder(tmp_path: Path) -> None:
    one = made(tmp_path, strategy={"sharding": "zero2"})
    done = started(one, "max_steps=2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == [str(one.out.resolve()), "train", "train.yaml", "max_steps=2"]
    assert {"FORCE_TORCHRUN=1", "NPROC_PER_NODE=2"} <= set(lines)
    info = json.loads(one.files["dataset_info.json"])
    assert (one.out / info["train"]["file_name"]).resolve() == (tmp_path / "data" / "train.jsonl").resolve()


def test_it_keeps_older_checkpoints(tmp_path: Path) -> None:
    one = made(tmp_path, run={"output_dir": "runs/a b"})
    (one.out / "runs" / "a b" / "checkpoint-10").mkdir(parents=True)
    done = started(one)
    assert done.returncode == 1
    assert "runs/a b holds checkpoints already" in done.stderr


def test_one_gpu_stays_one(tmp_path: Path) -> None:
    one = made(tmp_path, hardware="RTX 4090")
    assert {"CUDA_VISIBLE_DEVICES=0", "NPROC_PER_NODE=1"} <= set(started(one).stdout.splitlines())
    assert "CUDA_VISIBLE_DEVICES=3" in started(one, CUDA_VISIBLE_DEVICES="3").stdout.splitlines()


def test_it_starts_its_share_of_several_nodes(tmp_path: Path) -> None:
    one = made(tmp_path, hardware={**SPEC["hardware"], "nodes": 2, "interconnect": {"inter": "100Gbps"}})
    done = started(one, "train.py", NODE_RANK="1", MASTER_ADDR="host0")
    assert done.returncode == 0, done.stderr
    assert {"NNODES=2", "NODE_RANK=1", "MASTER_ADDR=host0", "MASTER_PORT=29500"} <= set(done.stdout.splitlines())


@pytest.mark.parametrize("text", NASTY)
def test_strings_arrive_as_they_are(tmp_path: Path, text: str) -> None:
    one = made(tmp_path, run={"output_dir": text}, data={"path": f"{text}.jsonl"})
    assert yaml.safe_load(one.files["train.yaml"])["output_dir"] == text
    assert json.loads(one.files["dataset_info.json"])["train"]["file_name"] == f"../../{text}.jsonl"
    (one.out / text / "checkpoint-1").mkdir(parents=True)
    done = started(one)
    assert done.returncode == 1
    assert f"{text} holds checkpoints already" in done.stderr
    assert not list(tmp_path.rglob("pwned"))


def test_unmodelled_keys_do_not_verify(tmp_path: Path) -> None:
    """A key that memory does not count is passed, and the plan says that its bound no longer holds."""
    extra = {"targets": {"llamafactory": {"extra": {"upcast_layernorm": True}}}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(over_base("llamafactory", extra)), encoding="utf-8")
    (one,) = api.compile(tmp_path / "run.yaml")
    assert read("train.yaml", one.files["train.yaml"])["upcast_layernorm"] is True
    assert not one.plan.verified


def test_an_error_about_its_reader_points_at_the_value(tmp_path: Path) -> None:
    text = "model: Qwen/Qwen3-8B\nhardware: RTX 4090\nrun:\n  output_dir: ${HOME}/out\ndata: a.jsonl\n"
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(MfcError) as refused:
        api.compile(tmp_path / "run.yaml", ["llamafactory"])
    assert str(refused.value).startswith(f"{tmp_path}/run.yaml:4:15: error: ")


def logits_bytes(task: str, target: str) -> int:
    spec = {
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "hardware": "A100 SXM 80GB",
        "data": {"path": "a.jsonl", "format": "preference", "max_length": 4096},
        "train": {"task": task, "batch_size": 8},
        "strategy": {"micro_batch": 1, "attention": "sdpa", "gradient_checkpointing": True, "loss": "plain"},
    }
    return api.plan(spec, target).memory.components.get("logits", 0)


def test_a_reward_model_with_a_value_head_makes_whole_logits() -> None:
    """bf16 logits, their fp32 copy and an unused loss at the end of the forward pass, and nothing behind them."""
    assert logits_bytes("reward", "ms-swift") == 0
    assert logits_bytes("reward", "llamafactory") == 10 * LOGITS
    assert logits_bytes("dpo", "llamafactory") >= 10 * LOGITS
