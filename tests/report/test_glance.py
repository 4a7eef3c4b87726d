"""`mfc plan` on one screen: short, no wider than the terminal, each thing said once, plain where nobody looks."""

from __future__ import annotations

import io
import random
import sys
from typing import Any

import click
import mfc
import pytest
from mfc.cli import options
from mfc.planner.plan import Advice, Plan
from mfc.report import bar, glance
from mfc.report.bill import bill

GIB = 2**30
SCREEN = 56  # lines, for three targets of which two do not fit

SPECS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "one GPU": ({"model": "Qwen/Qwen2.5-7B", "hardware": "RTX 3090"}, ("llamafactory",)),
    "one GPU, DeepSpeed": (
        {"model": "Qwen/Qwen2.5-0.5B", "hardware": "RTX 3090", "train": {"method": "full"}},
        ("deepspeed",),
    ),
    "does not fit": ({"model": "Qwen/Qwen2.5-7B", "hardware": "T4"}, ("ms-swift",)),
    "two targets": ({"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": "2x RTX 4090"}, ("llamafactory", "xtuner")),
    "one of three does not fit": (
        {"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": "RTX 4090", "data": {"max_length": 8192}},
        ("llamafactory", "xtuner", "trl"),
    ),
    "rollouts": (
        {
            "model": "Qwen/Qwen2-7B-Instruct",
            "hardware": "4x RTX 3090",
            "train": {"task": "grpo", "rollout": {"rewards": ["accuracy"]}},
        },
        ("ms-swift",),
    ),
}


def planned(name: str) -> list[Plan]:
    spec, targets = SPECS[name]
    return [mfc.plan(spec, target) for target in targets]


@pytest.mark.parametrize("width", [60, 100])
@pytest.mark.parametrize("name", SPECS)
def test_a_screen_holds_it(name: str, width: int) -> None:
    plans = planned(name)
    lines = click.unstyle(
        glance.to_text(plans, "spec.yaml", [bill(plan, None) for plan in plans], width=width)
    ).splitlines()
    assert len(lines) <= SCREEN or width < 100
    for line in lines[1:]:
        assert len(line) <= width or "--set" in line, line
    said = "\n".join(lines)
    assert ("DOES NOT FIT" in said) == (not all(plan.fits for plan in plans))
    assert ("any of these would fit" in said) == (not all(plan.fits for plan in plans))
    assert said.count(plans[0].problem.model.name) == 1
    if "one GPU" in name:
        assert "ddp" not in said
        assert "bucket" not in said


def test_targets_differ_in_rows_of_their_own() -> None:
    plans = planned("two targets")
    text = click.unstyle(glance.to_text(plans, "spec.yaml", [bill(plan, None) for plan in plans]))
    rows = {line[:12].strip(): line[12:].split() for line in text.splitlines() if line[:12].strip()}
    shardings = [plan.strategy.sharding for plan in plans]
    assert len(set(shardings)) == 2
    assert rows["sharding"] == shardings
    assert rows["template"] == ["qwen", "qwen_chat"]
    assert "zero" not in " ".join(rows["strategy"])


def test_warnings_are_few_and_name_their_target() -> None:
    plan = planned("one GPU")[0]
    advice = [Advice(f"rule/{number}", f"do {number}") for number in range(5)]
    plans = [plan._replace(warnings=tuple(advice)), plan._replace(warnings=tuple(advice[:1]))]
    text = click.unstyle(glance.to_text(plans, "spec.yaml", [bill(plan, None) for plan in plans]))
    assert "  - do 0\n  - llamafactory: do 1\n  - llamafactory: do 2\n  - and 2 more, with -v" in text


@pytest.mark.parametrize("seed", range(50))
def test_a_bar_is_as_long_as_what_it_stands_for(seed: int) -> None:
    draw = random.Random(seed)
    card = draw.randint(6, 192) * GIB
    budget = int(card * draw.uniform(0.5, 1))
    components = {name: int(draw.random() * card / 6) for name in draw.sample(sorted(bar.KINDS), draw.randint(1, 10))}
    upper = int(sum(components.values()) * draw.uniform(0.7, 1.6))
    width = draw.randint(20, 60)
    drawn = click.unstyle(bar.bar(components, upper, budget, card, width))
    assert len(drawn) == width
    assert drawn.count(bar.BUDGET) == 1
    whole = max(card, upper, sum(components.values()))
    for letter, name, size in bar.legend(components, card):
        assert abs(drawn.count(letter) - size / whole * (width - 2)) <= 2, name
    assert abs(drawn.index(bar.BUDGET) - 1 - budget / whole * (width - 2)) <= 2


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_colours_are_for_terminals(
    terminal: bool, no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = _Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("NO_COLOR", no_color)
    options.show(click.style("fits", fg="green"))
    assert ("\x1b" in stream.getvalue()) == coloured
    assert "fits" in stream.getvalue()
