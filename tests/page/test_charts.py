"""The charts of a page: whatever the numbers, what is drawn lies within the width and adds up."""

from __future__ import annotations

import random

import mfc
import pytest
from mfc import api
from mfc.page import charts
from mfc.report.moments import moments

GIB = 2**30
KINDS = ("weights", "optimizer", "gradients", "activations", "logits", "context", "fragmentation")


@pytest.mark.parametrize("seed", range(50))
def test_bars_lie_within_the_width_and_add_up(seed: int) -> None:
    drawn = random.Random(seed)
    card = drawn.choice([8, 24, 80]) * GIB
    moments = {
        f"moment {at}": {
            kind: drawn.choice([1, 2**20, int(drawn.random() * drawn.choice([1, 30, 300]) * GIB)])
            for kind in drawn.sample(KINDS, drawn.randint(1, len(KINDS)))
        }
        for at in range(drawn.randint(1, 14))
    }
    made = charts.stacked(moments, "moment 0", int(card * 0.95), card)
    assert [bar.name for bar in made.bars] == list(moments)
    assert [bar.peak for bar in made.bars].count(True) == 1
    assert 0 < made.budget < made.card <= 100
    assert set(made.shown) <= {*made.kinds, "other"}
    for bar in made.bars:
        assert bar.size == sum(moments[bar.name].values())
        at = 0.0
        for segment in bar.segments:
            assert segment.x == pytest.approx(at, abs=0.02)
            assert segment.width > 0
            at = segment.x + segment.width
        assert at <= 100.01


@pytest.mark.parametrize("seed", range(50))
def test_points_lie_within_the_plot(seed: int) -> None:
    drawn = random.Random(seed)
    points = [
        (
            drawn.random() * 10 ** drawn.randint(9, 12) + 1,
            drawn.random() * 10 ** drawn.randint(-3, 4) + 1e-4,
            True,
            False,
        )
        for _ in range(drawn.randint(1, 12))
    ]
    made = charts.plot(points, 24 * GIB, 200)
    assert [dot.number for dot in made.dots] == list(range(1, len(points) + 1))
    assert all(0 <= dot.x < 100 and 0 < dot.y <= 200 for dot in made.dots)
    assert 0 < made.budget < 100
    assert all(0 <= tick.at <= 100 for tick in made.across)
    assert all(0 < tick.at <= 200 for tick in made.upwards)
    assert 2 <= len(made.across) <= 6


def test_signed_numbers_share_a_scale() -> None:
    assert charts.spans([-4.0, 2.0, 0.0]) == [charts.Span(0, 50), charts.Span(50, 25), charts.Span(50, 0)]
    assert charts.spans([]) == []
    assert charts.spans([0.0]) == [charts.Span(50, 0)]


@pytest.mark.parametrize(
    "spec",
    [
        {"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": "4x RTX 4090", "targets": ["llamafactory"]},
        {"model": "Qwen/Qwen2.5-7B", "hardware": "RTX 4090", "train": {"method": "full"}, "targets": ["trl"]},
        {
            "model": "Qwen/Qwen2-7B-Instruct",
            "hardware": "4x RTX 3090",
            "train": {"task": "grpo", "rollout": {"rewards": ["accuracy"]}},
            "targets": ["ms-swift"],
        },
        {"model": "Qwen/Qwen2.5-VL-7B-Instruct", "hardware": "2x RTX 4090", "targets": ["llamafactory"]},
    ],
    ids=["adapters", "does not fit", "rollouts", "pictures"],
)
def test_every_moment_is_filled_by_its_components(spec: dict[str, object]) -> None:
    plan = mfc.plan(api.load(spec))
    found = moments(plan)
    assert found.keys() == plan.memory.moments.keys()
    assert found[plan.memory.moment] == plan.memory.components
    for name, parts in found.items():
        assert all(size >= 0 for size in parts.values())
        whole = plan.memory.process_bytes if name == plan.memory.moment else plan.memory.moments[name]
        assert sum(parts.values()) == pytest.approx(whole, rel=0.02), name
