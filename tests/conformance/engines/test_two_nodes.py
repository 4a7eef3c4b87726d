"""Two nodes of one machine: what is written for an engine starts real torchrun on each, and a tiny model trains."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mfc
import pytest

from tests.conformance.environments import environment
from tests.conformance.starts import rows
from tests.conformance.starts.runs import CASES, DRIVERS, Machine, _free_port, losses, matrix, warmed
from tests.launchers.test_slurm import SCONTROL, SRUN

MATRIX = matrix("deepspeed")
SCRIPT = [str(DRIVERS / "own_script.py"), "--model", "../text", "--method", "full", "--deepspeed", "ds_config.json"]
SPEC: dict[str, Any] = {
    "model": {"id": "./text", "config": "text/config.json"},
    "hardware": {"gpu": "A100 SXM 80GB", "nodes": 2, "interconnect": {"inter": "100Gbps"}, "host_memory": "256GiB"},
    "data": {"max_length": 64, "train": "rows/text/messages.jsonl"},
    "train": {"max_steps": 2, "method": "full", "batch_size": 4},
    "strategy": {"loss": "plain", "attention": "sdpa", "micro_batch": 1, "sharding": "zero2"},
    "run": {"log_every": 1, "launcher": "slurm"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture(scope="module")
def machine(folder: Path) -> Iterator[Machine]:
    rows.make(folder / "rows")
    with warmed(MATRIX, folder / "programs") as made:
        done = made.start(["python", str(DRIVERS / "make_models.py"), ".", str(CASES / "models.json"), "text"], folder)
        assert done.code == 0, done.said[-4000:]
        yield made


@pytest.mark.framework
def test_slurm(folder: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (made,) = mfc.compile(SPEC, ["deepspeed"], out=folder / "out")
    (folder / "out").mkdir()
    for name, text in made.files.items():
        (folder / "out" / name).write_text(text, encoding="utf-8")
    stubs = folder / "stubs"
    stubs.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (stubs / name).write_text(text, encoding="utf-8")
        (stubs / name).chmod(0o755)
    variables = {
        **machine.variables,
        "PATH": f"{stubs}{os.pathsep}{machine.variables['PATH']}",
        "STUB_HOST": "127.0.0.1",
        "SLURM_SUBMIT_DIR": str(folder / "out"),
        "SLURM_JOB_ID": str(int(_free_port()) % 20000),
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[0-1]",
    }
    job = ["bash", str(folder / "out" / "job.sbatch"), *SCRIPT]
    done = Machine(machine.warm, variables).start(job, folder)
    assert done.code == 0, done.said[-6000:]
    assert len(losses(done.said)) >= 2, done.said[-6000:]
    state = json.loads(next((folder / "out").rglob("trainer_state.json")).read_text("utf-8"))
    assert state["global_step"] == 2


RAY = """
import runpy
import sys

from ray.cluster_utils import Cluster
import ray

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1, "memory": 2**34})
cluster.add_node(num_cpus=2, num_gpus=1, memory=2**34)
ray.init(address=cluster.address, include_dashboard=False)
runpy.run_path(sys.argv[1], run_name="__main__")
print("it has ended well", flush=True)
ray.shutdown()
cluster.shutdown()
"""
TOLD = """echo "$NODE_RANK $MASTER_ADDR $MASTER_PORT $WORD" > "told-$NODE_RANK"
if [ ! -e tried ] && [ "$NODE_RANK" = 1 ]; then touch tried; exit 3; fi
"""


@pytest.mark.framework
def test_ray(tmp_path: Path) -> None:
    """Each node runs the start script once, with one address and port; a run that resumes is started again."""
    hardware = {**SPEC["hardware"], "cpu_cores": 2, "host_memory": "16GiB"}
    run = {"existing": "resume", "launcher": {"engine": "ray", "setup": ["export WORD=set"]}}
    spec = {**SPEC, "model": "Qwen/Qwen2.5-0.5B-Instruct", "hardware": hardware, "run": run}
    (made,) = mfc.compile(spec, ["llamafactory"], out=tmp_path)
    for name, text in made.files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "launch.sh").write_text(TOLD, encoding="utf-8")
    (tmp_path / "cluster.py").write_text(RAY, encoding="utf-8")
    # The machine is busy, and has no GPU but the one that the cluster says it has.
    variables = {"RAY_memory_usage_threshold": "1.0", "RAY_worker_niceness": "0", "CUDA_VISIBLE_DEVICES": "0"}
    done = subprocess.run(
        [environment("ray-2.60.0").python, "cluster.py", "job.py"],
        cwd=tmp_path,
        env=environment("ray-2.60.0").variables(variables),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert "it has ended well" in done.stdout, (done.stdout + done.stderr)[-6000:]
    told = [(tmp_path / f"told-{rank}").read_text("utf-8") for rank in range(2)]
    assert [re.fullmatch(r"(\d) (\S+) (\d+) set\n", one) is not None for one in told] == [True, True]
    assert told[0][1:] == told[1][1:]
    assert (tmp_path / "tried").exists()
