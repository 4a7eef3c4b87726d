"""Which table a published run counts in, and what makes a table."""

from __future__ import annotations

import pytest

from benchmarks.score import accuracy
from benchmarks.score.stacks import emitted
from benchmarks.truth import ALL, rows


@pytest.mark.parametrize(
    ("framework", "by_a_target"),
    [
        ("TRL 1.12 GRPOTrainer, torch 2.13", True),
        ("QwenLM/Qwen finetune.py 2023 (HF Trainer), torch 2.0", True),
        ("LLaMA-Factory 0.9.2", True),
        ("HF transformers 5.14.1 in a plain DeepSpeed 0.19.2 loop", True),
        ("ms-swift 4.x Megatron-SWIFT", False),
        ("universal-llm-trainer (Aug 2025), torch 2.5.1", False),
        ("NeMo Automodel 2025-09 (plain loop, HF model)", False),
        ("litgpt 0.4-0.5", False),
        ("", False),
    ],
)
def test_a_loop_is_a_targets_or_not(framework: str, by_a_target: bool) -> None:
    assert emitted(framework) is by_a_target


def test_tables_hold_every_case_once() -> None:
    counted = [made for path in ALL for row in rows(path) if (made := accuracy.case(row)) is not None]
    tables, cases = accuracy.report(ALL)
    assert cases == counted
    measured = sum(one.measured is not None for one in cases)
    assert sum(table["micro"]["rows"] for table in tables.values()) == measured
    for table in tables.values():
        assert sum(figures["rows"] for figures in table["sources"].values()) == table["micro"]["rows"]


def test_small_sources_stay_out_of_the_mean() -> None:
    def one(source: str, error: float) -> accuracy.Case:
        return accuracy.Case("", source, True, 10.0, 10.0 * (1 + error), 11.0, 11.5, 12.0, 11.0, 80.0, False)

    found = accuracy.table([*(one("large", 0.1) for _ in range(accuracy.ENOUGH)), one("small", 0.9)])
    assert found["macro"]["median_abs_error_pct"] == pytest.approx(10.0)
    assert found["micro"]["rows"] == accuracy.ENOUGH + 1
