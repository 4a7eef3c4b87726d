"""How long a run takes and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mfc
import pytest
from mfc.errors import SpecError
from mfc.report import text
from mfc.report.bill import bill
from mfc.report.prices import prices
from mfc.spec.quantities import Price

BASE: dict[str, Any] = {"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": {"gpu": "RTX 4090", "count": 2}}
ROWS = {"path": "train.jsonl", "samples": 10_000}


def case(data: dict[str, Any], **train: Any) -> dict[str, Any]:
    return {**BASE, "data": {"max_length": 2048, **data}, "train": {"batch_size": 64, **train}}


LENGTHS = {
    "samples": 20_000,
    "quantiles": [512] * 11 + [1024] * 13,  # half of them are short
    "tokens": "counted",
    "file_bytes": 1,
    "sha256": "0" * 64,
}
GRPO: dict[str, Any] = {"task": "grpo", "batch_size": 112, "rollout": {"num_generations": 7, "rewards": ["accuracy"]}}
# What the spec says, then rows of an epoch and steps of the run.
CASES: dict[str, tuple[dict[str, Any], int | None, int | None]] = {
    "epochs are rounded up": (case({"train": [ROWS]}), 10_000, 3 * 157),
    "half an epoch": (case({"train": [ROWS]}, epochs=0.5), 10_000, 79),
    "two sets": (case({"train": [ROWS, {**ROWS, "samples": 600}]}, epochs=1), 10_600, 166),
    "evaluation keeps its share": (case({"train": [ROWS], "eval": "10%"}, epochs=1), 9_000, 141),
    "one set of an unknown size": (case({"train": [ROWS, {"path": "more.jsonl"}]}), None, None),
    "steps are given": (case({"train": [{"path": "train.jsonl"}]}, max_steps=500), None, 500),
    "packed rows hold several": (case({"train": [ROWS], "packing": True, "mean_length": 512}, epochs=1), 10_000, 40),
    "packed rows of an unknown length": (case({"train": [ROWS], "packing": True}), 10_000, None),
    "rows were counted": (case({"train": "train.jsonl", "lengths": LENGTHS}, epochs=1), 20_000, 313),
    "long rows are dropped": (
        case({"train": "train.jsonl", "lengths": LENGTHS, "overlong": "drop", "max_length": 512}, epochs=1),
        *(10_000, 157),
    ),
    "packed rows that were counted": (
        case({"train": "train.jsonl", "lengths": {**LENGTHS, "quantiles": [512] * 24}, "packing": True}, epochs=1),
        *(20_000, 79),
    ),
    "answers of a prompt": (case({"train": [ROWS]}, epochs=1, **GRPO), 10_000, 625),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_follow_from_rows(name: str) -> None:
    spec, rows, steps = CASES[name]
    plan = mfc.plan(spec, "llamafactory" if "packing" in spec["data"] else "ms-swift")
    made = bill(plan, Price(0.5, "$"))
    assert (made.rows, made.steps) == (rows, steps)
    if steps is None:
        assert made.seconds is None
        assert "give data." in text.hint_line(made)
        return
    assert made.seconds == pytest.approx(steps * plan.speed.seconds_per_step)
    cost = made.cost(made.seconds)
    assert cost == pytest.approx(2 * 0.5 * steps * plan.speed.seconds_per_step / 3600)
    assert f"{steps:,} steps" in text.run_line(plan, made)
    assert text.cost_line(made).startswith("$")


def test_a_thousand_rows_take_their_share() -> None:
    plan = mfc.plan(case({}), "ms-swift")
    made = bill(plan, None)
    assert made.thousand_seconds == pytest.approx(1000 / 64 * plan.speed.seconds_per_step)
    assert made.full_length
    assert text.cost_line(made) == ""
    assert not bill(mfc.plan(case({"mean_length": 300}), "ms-swift"), None).full_length


def test_servers_are_paid_for_too() -> None:
    train = {**GRPO, "rollout": {**GRPO["rollout"], "mode": "server", "gpus": 1}}
    spec = {**case({"train": [ROWS]}, **train), "hardware": "3x A10"}
    plan = mfc.plan(spec, "ms-swift")
    assert plan.problem.hardware.world_size == 2
    assert bill(plan, None).gpus == 3


PRICES = {
    "2.10/h": Price(2.1),
    "$0.4/h": Price(0.4, "$"),
    "¥ 9.90 / h": Price(9.9, "¥"),
}


@pytest.mark.parametrize("said", PRICES)
def test_a_price_is_of_one_gpu(said: str) -> None:
    loaded = mfc.load({**BASE, "hardware": {"gpu": "4090", "price": said}})
    assert prices(loaded) == {"RTX 4090": PRICES[said]}


def test_prices_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text("4090: $0.40/h\nA100-80G: $1.89/h\n", encoding="utf-8")
    spec = tmp_path / "spec.yaml"
    spec.write_text("model: Qwen/Qwen2.5-7B\nhardware: {gpu: RTX 3090, price: prices.yaml}\n", encoding="utf-8")
    found = prices(mfc.load(spec))
    assert {name: price.an_hour for name, price in found.items()} == {"RTX 4090": 0.4, "A100 SXM 80GB": 1.89}


WRONG = {
    "2.10": "price of one GPU for an hour",
    "two/h": "price of one GPU for an hour",
    "lost.yaml": "cannot be read",
    "list.yaml": "mapping of GPUs to prices",
    "gpu.yaml": "not in the catalogue",
    "price.yaml": "expected a price for an hour",
}
FILES = {"list.yaml": "- 1/h\n", "gpu.yaml": "RTX 9999: 1/h\n", "price.yaml": "RTX 4090: cheap\n"}


@pytest.mark.parametrize("said", WRONG)
def test_a_wrong_price_has_its_error(said: str, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"model: Qwen/Qwen2.5-7B\nhardware: {{gpu: RTX 3090, price: '{said}'}}\n", encoding="utf-8")
    with pytest.raises(SpecError, match=WRONG[said]):
        prices(mfc.load(spec))


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (12.3, "12 s"),
        (300.0, "5 min"),
        (5399.0, "90 min"),
        (7200.0, "2 h"),
        (172_000.0, "48 h"),
        (500_000.0, "5.8 days"),
    ],
)
def test_times_are_told_as_people_do(time: float, said: str) -> None:
    assert text.duration(time) == said
