"""Peaks in logs as trainers write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mfc.calibration.logs import peaks
from mfc.errors import SpecError

GIB = 2**30
LINES: dict[str, tuple[list[dict[str, Any]], dict[str, int]]] = {
    # ms-swift: logging.jsonl, max_memory_reserved so far
    "logging.jsonl": (
        [{"loss": 1.2, "memory(GiB)": 20.5}, {"loss": 1.1, "memory(GiB)": 21.25}, {"model_parameter_info": "7B"}],
        {"reserved": int(21.25 * GIB)},
    ),
    # LLaMA-Factory with RECORD_VRAM=1: trainer_log.jsonl
    "trainer_log.jsonl": (
        [{"current_steps": 1, "vram_allocated": 10.0, "vram_reserved": 12.0}, {"current_steps": 2}],
        {"allocated": 10 * GIB, "reserved": 12 * GIB},
    ),
    # mmengine, so XTuner's engine: scalars.json, MiB, reset at each record
    "scalars.json": (
        [{"iter": 1, "time": 0.5, "memory": 2048}, {"iter": 2, "time": 0.5, "memory": 1024}],
        {"allocated": 2 * GIB},
    ),
    "nothing.jsonl": ([{"loss": 1.0, "memory": 9}, {"vram_reserved": -1, "vram_allocated": True}], {}),
}


@pytest.mark.parametrize("name", LINES)
def test_lines(name: str, tmp_path: Path) -> None:
    rows, expected = LINES[name]
    (tmp_path / name).write_text("\n".join(map(json.dumps, rows)) + "\nnot json\n", encoding="utf-8")
    assert peaks(tmp_path / name) == expected
    assert peaks(tmp_path) == expected


def test_the_trainers_state_sums_its_deltas(tmp_path: Path) -> None:
    """transformers with skip_memory_metrics=False: bytes, in the last entry of log_history."""
    last = {
        "before_init_mem_gpu": 100,
        "init_mem_gpu_alloc_delta": 1000,
        "train_mem_gpu_alloc_delta": 20,
        "train_mem_gpu_peaked_delta": 5000,
    }
    state = {"global_step": 2, "log_history": [{"loss": 1.0}, last]}
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "trainer_state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
    assert peaks(tmp_path) == {"allocated": 6120}


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such log"):
        peaks(tmp_path / "absent.jsonl")
