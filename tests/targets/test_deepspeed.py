"""DeepSpeed's launcher with a script; and its JSON, in the outputs of whichever target it is part of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from mfc import api
from mfc.emit.compiled import Compiled
from mfc.target import get

from tests.targets.cases import GOOD, compiled, over_base, read
from tests.targets.launching import TOLD, launch


def made(folder: Path, count: int = 2, nodes: int = 1) -> Compiled:
    hardware = {"gpu": "RTX 4090", "count": count, "nodes": nodes, "interconnect": {"inter": "100Gbps"}}
    spec = over_base("deepspeed", {"model": "Qwen/Qwen2.5-0.5B-Instruct", "hardware": hardware})
    (folder / "run.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    (one,) = api.compile(folder / "run.yaml", ["deepspeed"])
    return one


def started(one: Compiled, folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return launch(one, folder / "out", "launch.sh", *args, tools={"torchrun": TOLD}, **env)


def test_it_starts_the_given_script(tmp_path: Path) -> None:
    one = made(tmp_path)
    assert started(one, tmp_path).returncode == 2
    done = started(one, tmp_path, "train.py", "--name", "a b")
    assert done.stdout.splitlines()[1:6] == ["--standalone", "--nproc_per_node=2", "train.py", "--name", "a b"]


def test_it_starts_its_share_of_several_nodes(tmp_path: Path) -> None:
    done = started(made(tmp_path, nodes=2), tmp_path, "train.py", NODE_RANK="1", MASTER_ADDR="host0")
    assert done.returncode == 0, done.stderr
    assert {"--nnodes=2", "--node_rank=1", "--master_addr=host0"} <= set(done.stdout.splitlines())


@pytest.mark.parametrize(("target", "name"), GOOD)
def test_the_json_holds_the_batch(target: str, name: str, folder: Path) -> None:
    one = compiled(target, name, folder)
    if "ds_config.json" in one.files:
        config, strategy = read("ds_config.json", one.files["ds_config.json"]), one.plan.strategy
        assert config["train_micro_batch_size_per_gpu"] == strategy.micro_batch
        assert config["gradient_accumulation_steps"] == strategy.gradient_accumulation
        # The Trainer and the engine count the GPUs of one sequence as so many; XTuner's files leave the number out.
        rows = one.plan.values["batch_size"] * strategy.sequence_parallel
        assert config.get("train_batch_size", rows) == rows


def test_every_key_carries_a_field() -> None:
    assert all(key.fields for key in get("deepspeed").KEYS)
