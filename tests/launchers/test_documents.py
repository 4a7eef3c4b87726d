"""SkyPilot's task, Kubeflow's TrainJob and Ray's program: what they ask for, and what runs on each node."""

from __future__ import annotations

import ast
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mfc.emit.compiled import Compiled
from mfc.errors import SpecError
from mfc.launchers.job import GIB

from tests.emit.samples import HOSTILE
from tests.launchers.cases import NODES, TABLE, compiled, on, write
from tests.tables import parsed

FILES = {"skypilot": "task.yaml", "kubeflow": "trainjob.yaml", "ray": "job.py"}
# What an engine sets on node 2 of a run, and the folder from which its script finds the output folder.
SET = {
    "skypilot": {"SKYPILOT_NODE_RANK": "2", "SKYPILOT_NODE_IPS": "10.0.0.7\n10.0.0.8\n10.0.0.9"},
    "kubeflow": {"PET_NODE_RANK": "2", "PET_MASTER_ADDR": "10.0.0.7", "PET_MASTER_PORT": "29500", "PET_NNODES": "3"},
    "ray": {"NODE_RANK": "2", "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "29500"},
}
TOLD = """for word in "$@"; do printf 'word <%s>\\n' "$word"; done
echo "node ${NODE_RANK:-none} ${MASTER_ADDR:-none} ${MASTER_PORT:-none} ${PET_NNODES:-unset}"
"""
every_engine = pytest.mark.parametrize("engine", FILES)


def document(made: Compiled, engine: str) -> dict[str, Any]:
    """An engine's file as data: of Ray's program, its constants."""
    text = made.files[FILES[engine]]
    if engine != "ray":
        found: dict[str, Any] = parsed(text)
        return found
    body = [one for one in ast.parse(text).body if isinstance(one, ast.Assign)]
    names = {one.targets[0].id: one.value for one in body if isinstance(one.targets[0], ast.Name)}
    return {name: ast.literal_eval(names[name]) for name in ("SCALING", "MAX_FAILURES", "NODE")}


def script(made: Compiled, engine: str) -> str:
    """What each node runs."""
    said = document(made, engine)
    match engine:
        case "skypilot":
            return str(said["run"])
        case "kubeflow":
            return str(said["spec"]["trainer"]["command"][2])
    return str(said["NODE"])


def started(made: Compiled, engine: str, folder: Path) -> list[str]:
    """What the start script is told on node 2."""
    out = write(made, folder / "run" / "x")
    (out / "launch.sh").write_text(TOLD, encoding="utf-8")
    text = script(made, engine).replace("/workspace", str(folder))
    home = out if engine == "ray" else folder
    env = {"PATH": os.environ["PATH"], **SET[engine]}
    done = subprocess.run(["bash", "-c", text], cwd=home, env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("nodes", NODES)
def test_a_task_asks_for_what_the_plan_takes(nodes: int) -> None:
    task = document(on("skypilot", nodes), "skypilot")
    assert (task["num_nodes"], task["workdir"], task["name"]) == (nodes, "../..", "mfc-llamafactory")
    asked = task["resources"]
    assert (asked["accelerators"], asked["cpus"]) == ("H100:8", "96+")
    assert int(asked["memory"].rstrip("+")) * GIB > on("skypilot", nodes).plan.memory.host_bytes_per_node


@pytest.mark.parametrize("nodes", NODES)
def test_a_trainjob_asks_for_what_the_plan_takes(nodes: int) -> None:
    job = document(on("kubeflow", nodes), "kubeflow")
    trainer = job["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"], trainer["image"]) == (nodes, 8, "repo/train:1")
    asked = trainer["resourcesPerNode"]["limits"]
    assert asked == trainer["resourcesPerNode"]["requests"]
    assert (asked["nvidia.com/gpu"], asked["cpu"]) == ("8", "96")
    # The shared memory of a pod counts as its memory.
    assert int(asked["memory"].removesuffix("Gi")) >= 16 + on("kubeflow", nodes).plan.memory.host_bytes_per_node // GIB


@pytest.mark.parametrize("nodes", NODES)
def test_ray_asks_for_what_the_plan_takes(nodes: int) -> None:
    scaling = document(on("ray", nodes), "ray")["SCALING"]
    assert scaling["num_workers"] == nodes
    assert scaling["placement_strategy"] == "STRICT_SPREAD"
    asked = scaling["resources_per_worker"]
    assert (asked["GPU"], asked["CPU"]) == (8, 96)
    assert asked["memory"] > on("ray", nodes).plan.memory.host_bytes_per_node


@every_engine
def test_each_node_knows_itself(engine: str, tmp_path: Path) -> None:
    assert started(on(engine, 3), engine, tmp_path) == ["node 2 10.0.0.7 29500 unset"]


@every_engine
@pytest.mark.parametrize("seed", range(3))
def test_no_word_leaves_its_place(engine: str, seed: int, tmp_path: Path) -> None:
    fit = [word for word in HOSTILE if word.isprintable()]
    words = [*random.Random(seed).sample(fit, 8), "$(touch pwned)", "`touch pwned`", "'; touch pwned; '", "a: b # c"]
    made = compiled({"engine": engine, "arguments": words, **TABLE["settings"].get(engine, {})})
    told = started(made, engine, tmp_path)
    assert [line for line in told if line.startswith("word")] == [f"word <{word}>" for word in words]
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("word", ["a: b # c", "? x", "'\"", "{{ x }}", "&a *b", "no", "1e5"])
def test_names_are_only_strings(word: str) -> None:
    job = document(compiled({"engine": "kubeflow", "image": word, "volume": word}), "kubeflow")
    patch = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
    (claim, _) = patch["template"]["spec"]["template"]["spec"]["volumes"]
    assert (job["spec"]["trainer"]["image"], claim["persistentVolumeClaim"]["claimName"]) == (word, word)
    task = document(compiled({"engine": "skypilot", "image": word}), "skypilot")
    assert task["resources"]["image_id"] == f"docker:{word}"


def test_keys_of_the_user_lie_over() -> None:
    extra = {"setup": "pip install x\n", "resources": {"use_spot": True, "memory": "512+"}, "envs": {"A": "b"}}
    task = document(compiled({"engine": "skypilot", "extra": extra}), "skypilot")
    assert (task["setup"], task["envs"], task["resources"]["use_spot"]) == ("pip install x\n", {"A": "b"}, True)
    assert (task["resources"]["memory"], task["resources"]["accelerators"]) == ("512+", "H100:8")
    patch = {"manager": "x/y", "trainingRuntimeSpec": {}}
    spec = {"trainer": {"env": [{"name": "A", "value": "b"}]}, "runtimePatches": [patch]}
    extra = {"metadata": {"name": "mine", "labels": {"kueue.x-k8s.io/queue-name": "q"}}, "spec": spec}
    job = document(compiled({"engine": "kubeflow", "extra": extra, **TABLE["settings"]["kubeflow"]}), "kubeflow")
    assert job["metadata"] == extra["metadata"]
    assert [one["manager"] for one in job["spec"]["runtimePatches"]] == ["mfc.dev/launcher", "x/y"]
    resources = {"accelerator_type": "H100", "max_failures": 5, "resources_per_worker": {"rack": 0.5}}
    made = document(compiled({"engine": "ray", "extra": resources}), "ray")
    assert (made["SCALING"]["accelerator_type"], made["MAX_FAILURES"]) == ("H100", 5)
    assert made["SCALING"]["resources_per_worker"]["rack"] == 0.5


def test_files_on_mounts_are_there() -> None:
    mounts = {"file_mounts": {"/data": "s3://bucket"}, "volumes": {"/models/": "weights"}}
    spec = {"data": {"train": "/data/train.jsonl"}, "model": {"id": "/models/q", "like": "Qwen/Qwen2.5-7B-Instruct"}}
    assert compiled({"engine": "skypilot", "extra": mounts}, spec).files["task.yaml"]
    with pytest.raises(SpecError, match="workspaces/a"):
        compiled({"engine": "kubeflow", **TABLE["settings"]["kubeflow"]}, {"data": {"train": "/workspaces/a.jsonl"}})
    assert compiled({"engine": "kubeflow", **TABLE["settings"]["kubeflow"]}, {"data": {"train": "/workspace/a.jsonl"}})


@every_engine
def test_only_a_run_that_resumes_starts_again(engine: str) -> None:
    for existing in ("fail", "resume"):
        made = compiled({"engine": engine, **TABLE["settings"].get(engine, {})}, {"run": {"existing": existing}})
        match engine:
            case "skypilot":
                assert made.launch == ("sky jobs launch task.yaml" if existing == "resume" else "sky launch task.yaml")
            case "ray":
                assert (document(made, engine)["MAX_FAILURES"] > 0) == (existing == "resume")


def test_cards_are_called_as_in_the_catalogues() -> None:
    import json
    from importlib.resources import files

    from mfc.catalog.gpus import names as known

    names = json.loads((files("mfc.launchers") / "skypilot_gpus.json").read_text("utf-8"))["names"]
    assert set(names) <= set(known())
