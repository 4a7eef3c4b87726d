"""Rows: what they hold, and what is wrong with them. The cases are data."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from mfc import rows
from mfc.data.samples import Layout, sample
from mfc.spec.inputs import DatasetSpec

from tests.tables import table

CASES = table(Path(__file__).parents[1] / "cases" / "data" / "rows.yaml")


def layout(task: str, data: dict[str, Any]) -> Layout:
    one = DatasetSpec(path="train.jsonl", **data)
    form = rows.layout(one, task)
    named = frozenset(rows.renamed(one).values())
    return Layout(form, task, rows.columns(one, task), rows.roles(one, form), named)


@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case["row"])[:60])
def test_a_row_is_judged(case: dict[str, Any]) -> None:
    made = sample(case["row"], layout(case.get("task", "sft"), case.get("data", {})))
    found = {fault.kind: fault.text for fault in made.faults}
    assert found.keys() == case.get("fault", {}).keys(), found
    for kind, words in case.get("fault", {}).items():
        assert words in found[kind]
    if not found:
        assert len(made.sequences) == case.get("sequences", 1)


WORDS = (
    *("messages", "conversations", "role", "content", "from", "value", "prompt", "chosen", "rejected", "text"),
    *("instruction", "input", "output", "label", "completion", "tools", "images", "system", "tool_calls", "type"),
)


def drawn(random_: random.Random, depth: int = 0) -> Any:
    """Any value that JSON can hold, with the words of the layouts among its keys."""
    leaves = (None, True, 3, -0.5, "", " ", "a", "user", "assistant", "\x00", "\ud800", "[", "[1]", 10**30)
    if depth > 3 or random_.random() < 0.3:
        return random_.choice(leaves)
    if random_.random() < 0.5:
        return [drawn(random_, depth + 1) for _ in range(random_.randrange(4))]
    return {random_.choice(WORDS): drawn(random_, depth + 1) for _ in range(random_.randrange(6))}


def test_no_row_is_a_surprise() -> None:
    """Whatever a row holds, it is good or has a fault."""
    random_ = random.Random(7)
    tasks = ("sft", "pretrain", "dpo", "kto", "grpo")
    layouts = [layout(task, {}) for task in tasks] + [
        layout("sft", {"format": form}) for form in ("alpaca", "sharegpt")
    ]
    for _ in range(4000):
        row = drawn(random_)
        for one in layouts:
            made = sample(row, one)
            assert made.faults or made.sequences
