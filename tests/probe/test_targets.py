"""Probes of every target: drawn cases of each have one, which leaves the run's own files as they are."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from mfc import api
from mfc.errors import SpecError
from mfc.probe import files as probe
from mfc.probe.plan import STEPS
from mfc.target import get, names

from tests.targets.cases import GOOD, written

DRAWN = [
    (target, name)
    for target in names()
    for name in random.Random(target).sample(
        sorted(name for of, name in GOOD if of == target and "video" not in name),
        k=min(5, sum(of == target for of, _ in GOOD)),
    )
]
OWN_PROGRAM = {target for target in names() if {"max_steps", "epochs"} <= get(target).ELSEWHERE.keys()}


@pytest.fixture(autouse=True)
def without_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would fit otherwise takes many searches, and is tested in test_probe.py."""
    monkeypatch.setattr(probe, "relaxations", lambda *_: iter(()))


@pytest.mark.parametrize(("target", "name"), [one for one in DRAWN if one[0] not in OWN_PROGRAM])
def test_a_run_has_a_probe(target: str, name: str, tmp_path: Path) -> None:
    spec = written(target, name, tmp_path)
    [plain] = api.compile(spec, [target])
    [both] = api.compile(spec, [target], ["run.probe=true"])
    assert {path: both.files[path] for path in plain.files} == dict(plain.files)
    assert {f"probe/{path}" for path in plain.files} <= both.files.keys(), "of the run's own files each"
    assert {f"probe/{path}" for path in plain.executable} <= both.executable
    assert both.trial.replace("probe.sh", "").split() == plain.launch.replace(started(plain.launch), "").split()
    what = json.loads(both.files["probe/probe.json"])
    assert what["script"] in plain.files
    assert not what["output"].startswith(("/", "..", "~"))
    [rows, *_] = what["rows"]["files"].values()
    assert rows >= STEPS * plain.plan.values["batch_size"]


def started(launch: str) -> str:
    return next(word for word in reversed(launch.split()) if word.endswith(".sh"))


@pytest.mark.parametrize("target", sorted(OWN_PROGRAM))
def test_a_program_of_the_users_own_has_none(target: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"run.probe=true: error: .* starts a program of your own"):
        api.compile(written(target, drawn(target)[0], tmp_path), [target], ["run.probe=true"])


def drawn(target: str) -> list[str]:
    return [name for of, name in DRAWN if of == target]


@pytest.mark.parametrize("target", sorted({of for of, name in GOOD if "videos" in name}))
def test_videos_are_not_made(target: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a probe makes pictures, and no videos"):
        api.compile(written(target, "videos", tmp_path), [target], ["run.probe=true"])


SPEC = {
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "hardware": {"gpu": "RTX 4090", "count": 4, "host_memory": "256GiB"},
    "data": {"train": "data/train.jsonl", "max_length": 1024},
}


@pytest.mark.parametrize(("engine", "file", "command"), [("slurm", "job.sbatch", "sbatch job.sbatch")])
def test_a_launcher_starts_the_probe(engine: str, file: str, command: str, tmp_path: Path) -> None:
    [made] = api.compile(SPEC, ["llamafactory"], ["run.probe=true", f"run.launcher={engine}"], out=tmp_path / "out")
    assert "bash probe.sh" in made.files[f"probe/{file}"]
    assert "bash launch.sh" in made.files[file]
    assert made.trial == command


QUANTILES = ",".join(["100"] * 24)
MEASURED = f"quantiles: [{QUANTILES}], tokens: counted, samples: 10, file_bytes: 9, sha256: {'ab' * 32}"


@pytest.mark.parametrize(
    "sets",
    [
        ["train.optim.warmup=100", "train.max_steps=1000"],
        ["train.optim.schedule=warmup_stable_decay", "train.optim.decay=50", "train.max_steps=1000"],
        ["run.output_dir=/data/runs"],
        [f"data.lengths={{{MEASURED}}}"],
    ],
)
def test_what_is_longer_than_a_probe_is_shortened(sets: list[str], tmp_path: Path) -> None:
    [made] = api.compile(SPEC, ["llamafactory"], ["run.probe=true", *sets], out=tmp_path / "out")
    assert f"max_steps: {STEPS}" in made.files["probe/train.yaml"]
    assert "cutoff_len: 1024" in made.files["probe/train.yaml"]


def test_a_plan_says_it_too() -> None:
    loaded = api.load(SPEC, ["run.probe=true"])
    plan = api.plan(loaded, "deepspeed")
    with pytest.raises(SpecError, match="starts a program of your own"):
        api.writable(loaded, plan)
