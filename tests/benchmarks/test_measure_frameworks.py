"""The whole sweep on a CPU with the real frameworks, each in its pinned environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.environments import environment

ROOT = Path(__file__).parents[2]


def sweep(python: str | Path, *args: str | Path) -> str:
    """What a sweep says; it has to end well."""
    done = subprocess.run(
        [python, "-m", "benchmarks.measure.sweep", *args, "--case-seconds", "900"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT / "compiler")},
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.framework
def test_real_frameworks_train_what_mfc_compiles_stop_in_time_and_resume(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    assert "time is over" in sweep(sys.executable, rows, "--budget", "0")
    assert not rows.exists()
    said = sweep(sys.executable, rows, "--budget", "45")
    found = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    assert {row["kind"] for row in found} == {"machinery"}, said
    runs = {(row["framework"].split(",")[0].rsplit(" ", 1)[0], row["method"], row["sharding"]) for row in found}
    assert runs == {
        ("HF", "full", "none"),
        ("HF", "lora", "none"),
        ("HF", "qlora", "none"),
        ("DeepSpeed", "full", "none"),
        ("DeepSpeed", "lora", "zero2"),
        ("LLaMA-Factory", "lora", "none"),
        ("LLaMA-Factory", "full", "zero2"),
    }
    for row in found:
        assert row["throughput"]["tokens_per_s"] > 0
        assert len(row["step_seconds"]) == 2
        assert row["peak_gib_per_gpu"] is None
        assert (row["planned"] is not None) == (not row["framework"].startswith("HF"))
    # LLaMA-Factory's packer keeps one token of each row for itself, in both of its cases.
    assert [row["seq_len"] for row in found].count(31) == 2
    assert "0 to do" in sweep(sys.executable, rows, "--budget", "45")


@pytest.mark.framework
def test_here_means_what_this_interpreter_has(tmp_path: Path) -> None:
    oracle = environment("oracle")
    said = sweep(oracle.python, tmp_path / "rows.jsonl", "--here", "--budget", "0")
    assert "trainer: torch " in said
    assert "deepspeed: skipped, mfc cannot compile in this interpreter without jsonschema" in said
    assert "4 cases, 4 to do" in said
