"""Which table a published run counts in, and what makes a table."""

from __future__ import annotations

import pytest

from benchmarks.score import accuracy
from benchmarks.score.engines import engine
from benchmarks.score.stacks import RELEASES, emitted, stack, version
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


@pytest.mark.parametrize(
    ("text", "library", "expected"),
    [
        ("trainer, torch 2.1.1 (jan 2024)", "torch", (2, 1, 1)),
        ("caikit-nlp on hf trainer, transformers of august 2023", "torch", (2, 0)),
        ("ms-swift 1.4 (jan 2024)", "peft", (0, 6)),
        ("trl of 2025-12", "trl", (0, 26)),
        ("trl 0.8.6, transformers 4.40", "torch", (2, 3)),  # by the newest version that is named
        ("a trainer of 2023", "torch", (2, 0)),
        ("a trainer of 2010-01", "torch", (1, 13)),
        ("a trainer", "transformers", (5, 0)),
    ],
)
def test_a_version_that_is_not_stated_is_that_of_the_month(text: str, library: str, expected: tuple[int, ...]) -> None:
    assert version(library, text) == expected


def test_releases_stand_in_order() -> None:
    for releases in RELEASES.values():
        assert list(releases) == sorted(releases)
        assert [each for _, each in releases] == sorted(each for _, each in releases)


@pytest.mark.parametrize(
    ("framework", "sharding", "bucket", "overlap"),
    [
        ("LLaMA-Factory (June 2024)", "zero2", 500_000_000, True),
        ("LLaMA-Factory 0.9.4 (Aug 2025)", "zero1", 500_000_000, False),
        ("LLaMA-Factory (June 2024)", "zero3", None, None),
        ("xtuner 0.2.0", "zero3", 500_000_000, None),
        ("ms-swift 4.x", "zero2", 200_000_000, False),
        ("HF Trainer", "zero2", None, None),
        ("axolotl (Sep 2023)", "ddp", None, None),
    ],
)
def test_a_frameworks_own_engine_files_count(
    framework: str, sharding: str, bucket: int | None, overlap: bool | None
) -> None:
    made = engine(framework, sharding)
    assert (made.get("reduce_bucket_elements"), made.get("overlap_comm")) == (bucket, overlap)


def test_trl_prepares_quantised_models_by_version() -> None:
    prepared = {text: stack(text) for text in ("trl 0.7.4 SFTTrainer", "trl 0.13 SFTTrainer", "trl 0.26.2 SFTTrainer")}
    assert [each.kbit_fp32 for each in prepared.values()] == [True, True, False]
    assert [each.kbit_narrows for each in prepared.values()] == [False, True, False]
    assert stack("trl 0.26.2 DPOTrainer").kbit_narrows
