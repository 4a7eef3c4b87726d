"""The measuring script: its grid and rows anywhere, its machinery on a CPU with the real libraries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.environments import environment

ROOT = Path(__file__).parents[2]
LIBRARIES = ("bitsandbytes", "flash_attn", "liger_kernel", "peft")
MACHINE: Mapping[str, Any] = {
    "gpu": "NVIDIA A100-SXM4-80GB",
    "gpu_memory": 80 * 2**30,
    "versions": {"transformers": "5.23.0", "torch": "2.13.0"},
}


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module("measure")


def test_every_case_has_an_id_and_a_config_of_its_own(measure: Any) -> None:
    cases = list(measure.grid(LIBRARIES))
    assert len({measure.identity(case, "gpu") for case in cases}) == len(cases)
    for case in cases:
        assert measure.config(case)["num_hidden_layers"] > 0


def test_the_grid_asks_for_no_library_that_is_missing(measure: Any) -> None:
    for case in measure.grid(["peft"]):
        assert case["method"] != "qlora"
        assert not case["fused_loss"]
        assert case["optimizer"] != "adamw_8bit"
        assert case["attention"] != "flash_attention_2"


def test_rows_are_scored_like_published_ones(measure: Any) -> None:
    """Each row says what the case was: mfc reads back the same run."""
    truth, accuracy = import_module("truth_rows"), import_module("accuracy")
    for case in measure.grid(LIBRARIES):
        peaks = {"allocated": 10 * 2**30, "reserved": 11 * 2**30, "process": 12 * 2**30}
        made = measure.row(case, {**MACHINE, "peaks": peaks, "tokens_per_second": 1000.0})
        made = json.loads(json.dumps(made))
        run = truth.run_of(made)
        strategy = run.strategy
        assert (strategy.method, strategy.micro_batch, strategy.max_length) == (
            case["method"],
            case["micro_batch"],
            case["length"],
        )
        assert strategy.gradient_checkpointing == case["checkpointing"]
        assert strategy.loss == ("fused" if case["fused_loss"] else "plain")
        assert strategy.attention == {"flash_attention_2": "flash"}.get(case["attention"], case["attention"])
        assert strategy.optimizer == ("adamw_8bit" if case["optimizer"] == "adamw_8bit" else "adamw")
        assert run.stack.optimizer_foreach == (case["optimizer"] == "adamw_torch")
        assert run.stack.trainable_fp32 == (case["precision"] == "fp32 weights")
        assert (strategy.quantization is not None) == (case["method"] == "qlora")
        assert run.gpu is not None
        scored = accuracy.case(made)
        assert scored.measured == 10.0
        assert scored.predicted is not None
        assert measure.throughput_row(made)["memory_id"] == made["id"]


def test_what_cannot_fit_is_not_tried(measure: Any) -> None:
    case = {**measure.BASE, "model": "Qwen2.5-32B", "family": "qwen2"}
    assert measure.hopeless(case, {**MACHINE, "gpu_memory": 24 * 2**30})
    assert not measure.hopeless({**case, "model": "Llama-3.2-1B"}, MACHINE)


@pytest.mark.framework
def test_it_trains_on_a_cpu_stops_in_time_and_resumes(tmp_path: Path) -> None:
    oracle, rows = environment("oracle"), tmp_path / "rows.jsonl"
    command: list[str | Path] = [oracle.python, ROOT / "benchmarks" / "measure.py", rows, "--case-seconds", "300"]
    variables = {"PYTHONPATH": str(ROOT / "compiler")}
    stopped = oracle.run([*command, "--minutes", "0"], env=variables)
    assert "time is over" in stopped.stderr
    assert not rows.exists()
    done = oracle.run([*command, "--minutes", "30"], env=variables, timeout=1800)
    found = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    assert {row["kind"] for row in found} == {"machinery"}, done.stderr
    assert {row["method"] for row in found} == {"full", "lora", "qlora"}
    assert all(row["throughput"]["tokens_per_s"] > 0 and row["peak_gib_per_gpu"] is None for row in found)
    again = oracle.run([*command, "--minutes", "30"], env=variables)
    assert "0 to do" in again.stderr
