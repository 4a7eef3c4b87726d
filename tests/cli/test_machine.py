"""`mfc init` and `mfc doctor` as a user runs them, on a machine whose driver is a stand-in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SMI = """#!/bin/sh
case "$1" in
--query-gpu=*) for n in 0 1 2 3; do echo "$n, NVIDIA GeForce RTX 3090, 24576, 10, 550.54.15"; done ;;
*) echo 'CUDA Version: 12.4' ;;
esac
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a driver's tool in bin/ and an empty environment in venv/."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "venv" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    (tmp_path / "bin" / "nvidia-smi").write_text(SMI, encoding="utf-8")
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    return tmp_path


def mfc(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # Where the test environment has nvidia-ml-py, a module of that name that cannot be imported hides it.
    (here / "hidden").mkdir(exist_ok=True)
    (here / "hidden" / "pynvml.py").write_text("raise ImportError\n", encoding="utf-8")
    given = {
        **os.environ,
        "PATH": f"{here / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(here / "venv"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(here / "hidden"), os.environ.get("PYTHONPATH")))),
    }
    return subprocess.run(
        [sys.executable, "-m", "mfc", *words],
        cwd=here,
        env=given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_from_the_machine_to_a_plan(here: Path) -> None:
    done = mfc(here, "init", "--model", "Qwen/Qwen2.5-7B-Instruct", "--method", "lora")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "wrote spec.yaml: 4 x RTX 3090. Next: mfc data spec.yaml, mfc plan spec.yaml\n"
    written = (here / "spec.yaml").read_text(encoding="utf-8")
    again = mfc(here, "init", "--model", "Qwen/Qwen2.5-7B", "--method", "lora")
    assert again.returncode == 1
    assert "is there already, and says something else; choose another name for -o" in again.stderr
    assert (here / "spec.yaml").read_text(encoding="utf-8") == written
    planned = mfc(here, "plan", "spec.yaml")
    assert planned.returncode == 0, planned.stderr
    assert re.search(r"^hardware +4 x RTX 3090", planned.stdout, re.MULTILINE), planned.stdout
    asked = mfc(here, "doctor", "spec.yaml", "--format", "json")
    assert asked.returncode in (0, 3), asked.stderr
    told = json.loads(asked.stdout)
    assert [card["name"] for card in told["machine"]["cards"]] == ["NVIDIA GeForce RTX 3090"] * 4
    assert mfc(here, "doctor").stdout.startswith("driver    550.54.15, CUDA up to 12.4\ncard 0 ")


def test_for_other_gpus_than_those_here(here: Path) -> None:
    words = ("--model", "Qwen/Qwen3-8B", "--gpu", "h100 sxm", "--count", "8", "--target", "ms-swift", "-o", "-")
    done = mfc(here, "init", *words)
    assert done.returncode == 0, done.stderr
    assert "  gpu: H100 SXM\n  count: 8\n" in done.stdout
    assert done.stdout.endswith("targets:\n  ms-swift: {}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name the model, --model"),
        (["--model", "x", "--gpu", "RTX 9999"], "RTX 9999"),
        (["--model", "x", "--count", "5"], "--count 5: there are 4 NVIDIA GeForce RTX 3090 that nobody uses"),
        (["--model", "x", "--target", "nothing"], "unknown target 'nothing'"),
        (["--model", "x", "-o", "bin/nvidia-smi/spec.yaml"], "cannot be written"),
    ],
)
def test_it_says_what_is_wrong(words: list[str], said: str, here: Path) -> None:
    done = mfc(here, "init", *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
