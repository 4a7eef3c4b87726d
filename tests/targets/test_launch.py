"""The launchers really run, with stand-ins for the frameworks' commands; and no string of a spec escapes its place."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api, emit

STAND_IN = '#!/usr/bin/env bash\npwd; printf "%s\\n" "$@"; env | sort\n'
SPEC: dict[str, Any] = {
    "model": "Qwen/Qwen2.5-0.5B-Instruct",
    "hardware": {"gpu": "RTX 4090", "count": 2},
    "data": {"path": "data/train.jsonl", "format": "messages"},
    "train": {"batch_size": 16},
}
NASTY = [
    "a b",
    "it's",
    '"; touch pwned; "',
    "$(touch pwned)",
    "`touch pwned`",
    "a\\b",
    "a*[b]?",
    "é漢字",
    "#x: y",
    "- x",
    "&a *b",
    "%x",
]


def written(folder: Path, target: str, **sections: Any) -> Path:
    (folder / "run.yaml").write_text(yaml.safe_dump({**SPEC, **sections}), encoding="utf-8")
    (one,) = api.compile(folder / "run.yaml", [target])
    emit.write(one)
    return one.out


def launch(out: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    tools = out.parent / "bin"
    tools.mkdir(exist_ok=True)
    for name in ("llamafactory-cli", "torchrun"):
        (tools / name).write_text(STAND_IN, encoding="utf-8")
        (tools / name).chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CUDA", "NODE", "MASTER", "NPROC"))}
    kept["PATH"] = f"{tools}{os.pathsep}{kept['PATH']}"
    command = [str(out / "launch.sh"), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env={**kept, **env})


def test_llamafactory_starts_in_its_folder(tmp_path: Path) -> None:
    out = written(tmp_path, "llamafactory", strategy={"sharding": "zero2"})
    done = launch(out, "max_steps=2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == [str(out.resolve()), "train", "train.yaml", "max_steps=2"]
    assert {"FORCE_TORCHRUN=1", "NPROC_PER_NODE=2"} <= set(lines)
    info = json.loads((out / "dataset_info.json").read_text(encoding="utf-8"))
    assert (out / info["train"]["file_name"]).resolve() == (tmp_path / "data" / "train.jsonl").resolve()


def test_llamafactory_keeps_older_checkpoints(tmp_path: Path) -> None:
    out = written(tmp_path, "llamafactory", run={"output_dir": "runs/a b"})
    (out / "runs" / "a b" / "checkpoint-10").mkdir(parents=True)
    done = launch(out)
    assert done.returncode == 1
    assert "runs/a b holds checkpoints already" in done.stderr


def test_one_gpu_stays_one(tmp_path: Path) -> None:
    out = written(tmp_path, "llamafactory", hardware="RTX 4090")
    assert {"CUDA_VISIBLE_DEVICES=0", "NPROC_PER_NODE=1"} <= set(launch(out).stdout.splitlines())
    assert "CUDA_VISIBLE_DEVICES=3" in launch(out, CUDA_VISIBLE_DEVICES="3").stdout.splitlines()


@pytest.mark.parametrize("target", ["llamafactory", "deepspeed"])
def test_several_nodes_ask_who_they_are(tmp_path: Path, target: str) -> None:
    hardware = {"gpu": "RTX 4090", "count": 2, "nodes": 2, "interconnect": {"inter": "100Gbps"}}
    out = written(tmp_path, target, hardware=hardware)
    done = launch(out, "train.py")
    assert done.returncode != 0
    assert "set NODE_RANK" in done.stderr
    done = launch(out, "train.py", NODE_RANK="1", MASTER_ADDR="host0")
    assert done.returncode == 0, done.stderr
    if target == "llamafactory":
        assert {"NNODES=2", "NODE_RANK=1", "MASTER_ADDR=host0", "MASTER_PORT=29500"} <= set(done.stdout.splitlines())
    else:
        assert {"--nnodes=2", "--node_rank=1", "--master_addr=host0"} <= set(done.stdout.splitlines())


def test_deepspeed_starts_the_given_script(tmp_path: Path) -> None:
    out = written(tmp_path, "deepspeed")
    assert launch(out).returncode == 2
    done = launch(out, "train.py", "--name", "a b")
    assert done.stdout.splitlines()[1:6] == ["--standalone", "--nproc_per_node=2", "train.py", "--name", "a b"]


@pytest.mark.parametrize("text", NASTY)
def test_strings_stay_in_their_place(tmp_path: Path, text: str) -> None:
    out = written(tmp_path, "llamafactory", run={"output_dir": text}, data={"path": f"{text}.jsonl"})
    run = yaml.safe_load((out / "train.yaml").read_text(encoding="utf-8"))
    assert run["output_dir"] == text
    info = json.loads((out / "dataset_info.json").read_text(encoding="utf-8"))
    assert info["train"]["file_name"] == f"../../{text}.jsonl"
    (out / text / "checkpoint-1").mkdir(parents=True)
    done = launch(out)
    assert done.returncode == 1
    assert f"{text} holds checkpoints already" in done.stderr
    assert not list(tmp_path.rglob("pwned"))
