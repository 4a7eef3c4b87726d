"""The sbatch script: what it asks of Slurm, and that it starts the start script once a node, wherever it is copied."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mfc.emit.compiled import Compiled

from tests.emit.samples import HOSTILE
from tests.launchers.cases import NODES, compiled, on, write
from tests.launchers.sbatch import lint

# Of Slurm's commands what a job script meets: tasks run side by side, each with its number, and stdin closed.
SRUN = """#!/usr/bin/env bash
while [[ "$1" == --* ]]; do echo "srun $1"; shift; done
code=0
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do
  SLURM_NODEID=$node SLURM_PROCID=$node "$@" </dev/null & tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task" || code=$?; done
exit "$code"
"""
SCONTROL = """#!/usr/bin/env bash
[ "$1 $2" = "show hostnames" ] || exit 9
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do echo "${STUB_HOST:-node$node}"; done
"""
TOLD = """for word in "$@"; do printf 'word <%s>\\n' "$word"; done
echo "node ${NODE_RANK:-none} ${MASTER_ADDR:-none} $MASTER_PORT"
"""


def submitted(folder: Path, nodes: int, *words: str, job: int = 123456, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the folder's job script as Slurm does: a copy of it, elsewhere."""
    stubs = folder.parent / "stubs"
    stubs.mkdir(exist_ok=True)
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (stubs / name).write_text(text, encoding="utf-8")
        (stubs / name).chmod(0o755)
    copy = stubs / "slurm_script"
    copy.write_bytes((folder / "job.sbatch").read_bytes())
    given = {
        "PATH": f"{stubs}{os.pathsep}{env.pop('PATH', '/usr/bin:/bin')}",
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_JOB_ID": str(job),
        "SLURM_JOB_NUM_NODES": str(nodes),
        "SLURM_JOB_NODELIST": f"node[0-{nodes - 1}]",
        **env,
    }
    return subprocess.run(
        ["bash", copy, *words], cwd="/", env=given, capture_output=True, text=True, check=False, timeout=600
    )


def told(made: Compiled, folder: Path, nodes: int, *words: str, job: int = 123456) -> list[str]:
    """What a job's start script was told on each node."""
    write(made, folder)
    (folder / "launch.sh").write_text(TOLD, encoding="utf-8")
    done = submitted(folder, nodes, *words, job=job)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("nodes", NODES)
def test_it_asks_for_what_the_plan_takes(nodes: int) -> None:
    made = on("slurm", nodes)
    asked = lint(made.files["job.sbatch"])
    assert (asked["nodes"], asked["gpus-per-node"], asked["cpus-per-task"]) == (str(nodes), "8", "96")
    assert made.launch == "sbatch job.sbatch"
    assert "job.sbatch" in made.executable
    subprocess.run(["bash", "-n"], input=made.files["job.sbatch"], text=True, check=True)


@pytest.mark.parametrize("nodes", [1, 3])
def test_each_node_knows_itself(nodes: int, tmp_path: Path) -> None:
    lines = told(on("slurm", nodes), tmp_path / "out", nodes, job=30001)
    known = {f"node {node} node0 20001" for node in range(nodes)} if nodes > 1 else {"node none node0 20001"}
    assert {line for line in lines if line.startswith("node")} == known
    assert {line for line in lines if line.startswith("srun")} == {
        "srun --cpus-per-task=96",
        "srun --kill-on-bad-exit=1",
    }


def test_it_starts_nothing_in_another_folder(tmp_path: Path) -> None:
    folder = write(on("slurm", 1), tmp_path / "out")
    (folder / "launch.sh").unlink()
    done = submitted(folder, 1)
    assert done.returncode == 2
    assert "submit it from its own folder" in done.stderr


def test_a_node_that_fails_fails_the_job(tmp_path: Path) -> None:
    folder = write(on("slurm", 3), tmp_path / "out")
    (folder / "launch.sh").write_text('[ "$NODE_RANK" != 2 ] || exit 7\n', encoding="utf-8")
    assert submitted(folder, 3).returncode == 7


def test_only_a_run_that_resumes_starts_again() -> None:
    for existing in ("fail", "overwrite", "resume"):
        found = lint(compiled("slurm", {"run": {"existing": existing}}).files["job.sbatch"])
        assert ("requeue" in found) == (existing == "resume")


def test_setup_runs_before_the_start(tmp_path: Path) -> None:
    setup = ["export WORD='two words' # it's", 'echo "setup on $SLURM_NODEID"', "cd ."]
    made = compiled({"engine": "slurm", "setup": setup})
    lines = told(made, tmp_path / "out", 1)
    assert lines.index("setup on 0") < lines.index("node none node0 13456")
    failing = compiled({"engine": "slurm", "setup": ["false"]})
    write(failing, tmp_path / "failing")
    assert submitted(tmp_path / "failing", 1).returncode != 0


@pytest.mark.parametrize("seed", range(4))
def test_no_word_leaves_its_place(seed: int, tmp_path: Path) -> None:
    """Arguments reach the script as they are; options are what Slurm reads; nothing of them is run."""
    drawn = random.Random(seed)
    fit = [word for word in HOSTILE if word.isprintable()]
    words = [*drawn.sample(fit, 8), "$(touch pwned)", "`touch pwned`", "'; touch pwned; '"]
    texts = [word for word in drawn.sample(fit, 3) if word] + ['a "b" \\c\\ #d', "x\\"]
    options: dict[str, Any] = dict(zip(("comment", "account", "reservation", "qos", "wckey"), texts, strict=False))
    made = compiled({"engine": "slurm", "arguments": words, "extra": options})
    found = lint(made.files["job.sbatch"])
    assert {name: found[name] for name in options} == options
    lines = told(made, tmp_path / "out", 1, "--more", "it's")
    assert [line for line in lines if line.startswith("word")] == [
        f"word <{word}>" for word in [*words, "--more", "it's"]
    ]
    assert not list(tmp_path.rglob("pwned"))


def test_options_of_the_user_are_there() -> None:
    extra = {"time": "24:00:00", "partition": "gpu", "exclusive": True, "mem": 0, "gpus-per-node": "h100:8", "nice": 5}
    found = lint(compiled({"engine": "slurm", "extra": extra}).files["job.sbatch"])
    assert {name: found[name] for name in extra} == {
        name: value if value is True else str(value) for name, value in extra.items()
    }


def test_a_script_of_the_users_comes_after(tmp_path: Path) -> None:
    made = compiled("slurm", target="deepspeed")
    assert made.launch == "sbatch job.sbatch YOUR_SCRIPT.py --deepspeed ds_config.json"
    lines = told(made, tmp_path / "out", 1, "train.py", "--deepspeed", "ds_config.json")
    assert "word <train.py>" in lines


def test_a_rollout_server_runs_beside_the_training(tmp_path: Path) -> None:
    rollout = {"rewards": ["format"], "mode": "server", "gpus": 2, "num_generations": 8, "max_completion_length": 512}
    train = {"task": "grpo", "method": "lora", "batch_size": 48, "rollout": rollout}
    made = compiled("slurm", {"train": train}, target="ms-swift")
    assert lint(made.files["job.sbatch"])["gpus-per-node"] == "8"  # those of the server too
    folder = write(made, tmp_path / "out")
    (folder / "rollout.sh").write_text("echo serving; exec sleep 60\n", encoding="utf-8")
    (folder / "train.sh").write_text("sleep 0.3; echo training\n", encoding="utf-8")
    done = submitted(folder, 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["serving", "training"]
