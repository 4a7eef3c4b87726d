"""From `mfc compile --probe` to `mfc calibrate`, with a stand-in for the framework that trains on one for a card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mfc.cli import main

from tests.probe.test_meter import STAND_IN

SPEC = """
model: Qwen/Qwen2.5-7B-Instruct
hardware: RTX 4090
data: {train: data.jsonl, max_length: 2048}
targets: {llamafactory: {out: out}}
"""
# Reads what it is told, as the framework would, trains, and leaves a model.
TRAINS = """#!{python}
import json, os, sys, torch, yaml
said = yaml.safe_load(open("train.yaml"))
rows = [json.loads(line) for line in open(json.load(open("dataset_info.json"))["train"]["file_name"])]
assert said["max_steps"] == 2 and said["save_strategy"] == "no", said
assert all(len(row["messages"][1]["content"].split()) == said["cutoff_len"] for row in rows)
assert len(rows) >= 2 * said["per_device_train_batch_size"] * said["gradient_accumulation_steps"]
os.makedirs(said["output_dir"])
open(os.path.join(said["output_dir"], "model.safetensors"), "w").close()
torch.took({gib}, then=1)
print("words", sys.argv[3:])
"""


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    return int(ended.value.code or 0)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MFC_CALIBRATION", str(tmp_path / "calibration.json"))
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def probe(out: Path, gib: float, *words: str) -> subprocess.CompletedProcess[str]:
    """Start the probe of a folder, in which training takes so much."""
    bin_ = out.parent / "bin"
    bin_.mkdir(exist_ok=True)
    (bin_ / "llamafactory-cli").write_text(TRAINS.format(python=sys.executable, gib=gib), encoding="utf-8")
    (bin_ / "llamafactory-cli").chmod(0o755)
    variables = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(STAND_IN)}
    start = ["bash", "out/probe/probe.sh", *words]
    return subprocess.run(
        start, cwd=out.parent, env=variables, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_run_that_fits(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compile", spec, "--probe") == 0
    said = capsys.readouterr().out
    assert f"prove it there before, from {spec.parent}/out/probe/, with: bash probe.sh" in said
    out = spec.parent / "out"
    done = probe(out, 18.5, "a=b")
    assert "words ['a=b']" in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "peak 19.0 of 23.5 GiB, predicted 19.9 (at most 20.9): fits"
    assert not (out / "probe" / "output").exists()
    assert run("calibrate", out) == 0
    assert "2 figures" in capsys.readouterr().out


def test_one_that_does_not(spec: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("compile", spec, "--probe") == 0
    out = spec.parent / "out"
    done = probe(out, 25)
    assert done.returncode == 3
    assert ": out of memory" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("  mfc compile spec.yaml --target llamafactory --probe --set strategy.headroom=")
    assert run("calibrate", out) == 2  # a run that died tells no peak
    capsys.readouterr()
    monkeypatch.chdir(spec.parent)
    assert run(*last.split()[1:]) == 0, "what is said to fit compiles"


def test_check_knows_it(spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(spec.parent)
    assert run("compile", spec, "--probe") == 0
    assert run("check") == 0
    with (spec.parent / "out" / "probe" / "train.yaml").open("a", encoding="utf-8") as stream:
        stream.write("# mine\n")
    capsys.readouterr()
    assert run("check") == 1
    assert "probe/train.yaml: edited" in capsys.readouterr().out
    assert run("compile", spec, "--force") == 0
    assert not (spec.parent / "out" / "probe" / "probe.py").exists()


def test_the_record_is_no_output(spec: Path) -> None:
    assert run("compile", spec, "--probe") == 0
    out = spec.parent / "out"
    manifest = json.loads((out / ".mfc.json").read_text(encoding="utf-8"))
    assert probe(out, 18).returncode == 0
    assert not {"probe/record.json", "probe/rows.jsonl"} & manifest["files"].keys()
    assert run("compile", spec, "--probe", "--check") == 0
