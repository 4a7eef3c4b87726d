"""What is measured, in which order, and how a measured case reads as a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import compiler, grid, jobs, order, rows, sweep
from benchmarks.score import accuracy, runs

LIBRARIES = ("torch", "transformers", "accelerate", "peft", "bitsandbytes", "flash_attn", "liger_kernel")
ALL = dict.fromkeys(("trainer", "deepspeed", "llamafactory"), LIBRARIES)
VERSIONS = {"torch": "2.13.0", "transformers": "5.6.0", "deepspeed": "0.18.4", "llamafactory": "0.9.5"}
MACHINE: Mapping[str, Any] = {"gpu": "NVIDIA A100-SXM4-80GB", "gpu_memory": 80 * 2**30, "versions": VERSIONS}
PEAKS = {"allocated": 10 * 2**30, "reserved": 11 * 2**30, "process": 12 * 2**30}


def score(row: Mapping[str, Any]) -> Any:
    """A row as it is scored after a file held it; rows of these tests count."""
    found = accuracy.case(json.loads(json.dumps(row)))
    assert found is not None
    return found


def test_every_case_has_an_id_and_a_config_of_its_own() -> None:
    cases = list(grid.grid(ALL))
    assert len({grid.identity(case, "gpu") for case in cases}) == len(cases)
    for case in cases:
        assert grid.config(case)["num_hidden_layers"] > 0


def test_the_grid_asks_for_no_library_that_is_missing() -> None:
    found = list(grid.grid({"trainer": ["peft"], "deepspeed": []}))
    assert {(case["framework"], case["method"]) for case in found} == {
        ("trainer", "full"),
        ("trainer", "lora"),
        ("deepspeed", "full"),
    }
    for case in found:
        assert not case["fused_loss"]
        assert case["optimizer"] != "adamw_8bit"
        assert case["attention"] != "flash_attention_2"


def test_rows_are_scored_like_published_ones() -> None:
    """Each row says what the case was: mfc reads back the same run."""
    for case in grid.grid({"trainer": LIBRARIES}):
        made, speed = rows.rows(case, {**MACHINE, "peaks": PEAKS, "tokens_per_second": 1000.0})
        made = json.loads(json.dumps(made))
        run = runs.run_of(made)
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
        assert strategy.precision == ("pure_bf16" if case["precision"] == "pure bf16" else "bf16")
        assert run.stack.optimizer_foreach == (case["optimizer"] == "adamw_torch")
        assert run.stack.trainable_fp32 == (case["precision"] == "fp32 weights")
        assert (strategy.quantization is not None) == (case["method"] == "qlora")
        assert strategy.lora is None or strategy.lora.rank == case["rank"]
        assert run.gpu is not None
        scored = score(made)
        assert scored.measured == 10.0
        assert scored.predicted is not None
        assert speed["memory_id"] == made["id"]


@pytest.mark.parametrize(
    ("framework", "methods"), [("deepspeed", ("full", "lora")), ("llamafactory", ("full", "qlora"))]
)
def test_a_compiled_case_is_scored_as_what_mfc_promised(
    tmp_path: Path, framework: str, methods: tuple[str, ...]
) -> None:
    """The prediction for the row is the compiler's own: nothing is lost between spec, files and row."""
    cases = [
        case
        for case in grid.grid({framework: LIBRARIES})
        if case["model"] == "Qwen2.5-0.5B-Instruct" and case["method"] in methods
    ]
    assert len(cases) > 10
    (tmp_path / "config.json").write_text(json.dumps(grid.config(cases[0])), encoding="utf-8")
    (tmp_path / "train.jsonl").write_text('{"text": "w1"}\n', encoding="utf-8")
    for case in cases:
        spec = {**jobs.spec(case, MACHINE, tmp_path)}
        spec["hardware"]["host_memory"] = "256GiB"
        (tmp_path / "spec.yaml").write_text(json.dumps(spec), encoding="utf-8")
        planned = compiler.compiled(tmp_path / "spec.yaml", framework, tmp_path / "out")
        found = {**MACHINE, "peaks": PEAKS, "planned": planned, "allocator": "expandable_segments:True"}
        row = rows.row(case, found)
        scored = score(row)
        assert scored.memory.allocated_bytes / 2**30 == pytest.approx(planned["allocated_gib"], rel=0.01), row["id"]
        assert scored.process == pytest.approx(planned["process_gib"], rel=0.03), row["id"]


def test_a_run_out_of_memory_is_a_row_that_is_scored() -> None:
    case = {**grid.BASE, "model": "Qwen2.5-7B", "family": "qwen2"}
    [made] = rows.rows(case, {**MACHINE, "oom": True})
    scored = score(made)
    assert scored.oom
    assert scored.measured is None
    assert scored.process > 0
    assert rows.said(made) == "out of memory"


def test_without_nvidia_smi_what_is_allocated_counts() -> None:
    case = {**grid.BASE, "model": "Qwen2.5-7B", "family": "qwen2"}
    made, _ = rows.rows(case, {**MACHINE, "peaks": {**PEAKS, "process": None}, "tokens_per_second": 1.0})
    assert score(made).measured == 10.0


def machines(gpu: bool = True) -> dict[str, Any]:
    machine = {**MACHINE, "libraries": LIBRARIES, **({} if gpu else {"gpu": None, "gpu_memory": None})}
    return dict.fromkeys(ALL, (None, machine))


def test_what_tells_most_per_second_comes_first() -> None:
    todo, count = sweep.cases(machines(), set())
    assert len(todo) == count
    seconds, begun = 0.0, []
    for case in todo:
        seconds += order.cost(case)
        if seconds > 25 * 60:
            break
        begun.append(case)
    assert {(case["framework"], case["method"]) for case in begun} == {
        (case["framework"], case["method"]) for case in todo
    }
    for key in ("model", "attention", "optimizer", "precision", "fused_loss", "length", "checkpointing"):
        assert {case[key] for case in begun} == {case[key] for case in todo}, key
    assert {"ddp", "zero2", "zero3"} <= {case["sharding"] for case in begun}
    assert grid.identity(begun[0], "gpu").count("/") == 2, "nothing is changed in the first case"


def test_what_cannot_fit_is_not_tried() -> None:
    found = machines()
    small = {name: (place, {**machine, "gpu_memory": 24 * 2**30}) for name, (place, machine) in found.items()}
    kept = {(case["model"], case["method"]) for case in sweep.cases(small, set())[0]}
    assert ("Qwen2.5-32B", "full") not in kept
    assert ("Qwen2.5-32B", "qlora") in kept
    assert ("Llama-3.2-1B", "full") in kept


def test_cases_that_the_file_holds_are_passed_over() -> None:
    todo, count = sweep.cases(machines(gpu=False), set())
    known = {grid.identity(case, "cpu") for case in todo[:3]}
    assert len(sweep.cases(machines(gpu=False), known)[0]) == count - 3
