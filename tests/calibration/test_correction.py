"""Bias and bound from ratios of measured over predicted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from mfc import __version__, api
from mfc.calibration.correction import ENOUGH, Series, calibrated
from mfc.calibration.store import Condition, MeasuredRun
from mfc.planner.plan import Plan

SPEC: dict[str, Any] = {
    "model": "Qwen/Qwen2.5-7B",
    "hardware": {"gpu": "RTX 4090"},
    "data": {"max_length": 2048},
    "strategy": {"micro_batch": 1},
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return api.plan(SPEC)


def runs(plan: Plan, ratios: list[float], kind: str = "process", mfc: str = __version__) -> list[MeasuredRun]:
    predicted = {"process": plan.memory.process_bytes, "allocated": plan.memory.allocated_bytes}[kind]
    return [
        MeasuredRun(Condition.of(plan), "spec", str(index), kind, int(predicted * ratio), predicted, mfc)  # type: ignore[arg-type]
        for index, ratio in enumerate(ratios)
    ]


@pytest.mark.parametrize(
    ("ratios", "bias"),
    [([1.0], 1.0), ([0.9], 0.9 ** (1 / 3)), ([0.9] * 8, 0.9**0.8), ([0.9, 0.9, 0.9, 3.0], 0.9 ** (4 / 6))],
)
def test_bias_is_the_median_shrunk_towards_one(ratios: list[float], bias: float) -> None:
    assert Series.of(ratios).bias == pytest.approx(bias)


def test_a_bound_of_their_own_needs_enough_runs() -> None:
    assert Series.of([0.95] * (ENOUGH - 1)).limit is None
    limit = Series.of([0.95] * ENOUGH).limit
    assert limit is not None
    assert 0.95 < limit < 1.05


def test_the_bound_covers_every_run_and_widens_with_their_spread() -> None:
    tight, wide = Series.of([0.97, 0.98, 0.99, 1.0, 1.01]), Series.of([0.8, 0.9, 1.0, 1.1, 1.2])
    assert tight.limit is not None
    assert wide.limit is not None
    assert tight.limit >= 1.01
    assert wide.limit >= 1.2
    assert wide.limit > tight.limit


def test_coverage_of_the_bound() -> None:
    """The next run lies below the bound in about 95 of 100 machines, whatever their own bias."""
    import random

    chance = random.Random(1)
    below = 0
    for _ in range(2000):
        machine = chance.gauss(-0.02, 0.05)
        *seen, following = (math.exp(machine + chance.gauss(0, 0.03)) for _ in range(ENOUGH + 3))
        limit = Series.of(seen).limit
        below += limit is not None and following <= limit
    assert 0.93 <= below / 2000 <= 0.99


def test_few_runs_never_lower_the_bound(plan: Plan) -> None:
    found = calibrated(plan, runs(plan, [0.8, 0.8]))
    assert found is not None
    assert found.peak_bytes < plan.memory.process_bytes
    shown = max(plan.memory.upper_bytes, min(plan.memory.held_bytes, plan.budget_bytes))
    assert (found.upper_bytes, found.own_bound) == (shown, False)


def test_few_runs_raise_the_bound_at_once(plan: Plan) -> None:
    found = calibrated(plan, runs(plan, [1.3, 1.3]))
    assert found is not None
    assert found.upper_bytes > plan.memory.upper_bytes


def test_enough_runs_narrow_the_bound(plan: Plan) -> None:
    found = calibrated(plan, runs(plan, [0.95, 0.96, 0.96, 0.97, 0.95, 0.96]))
    assert found is not None
    assert found.own_bound
    assert found.peak_bytes < found.upper_bytes < plan.memory.held_bytes


def test_allocated_figures_leave_the_bound(plan: Plan) -> None:
    found = calibrated(plan, runs(plan, [0.9] * 9, "allocated"))
    assert found is not None
    assert found.peak_bytes < plan.memory.process_bytes
    assert found.upper_bytes >= plan.memory.upper_bytes


@pytest.mark.parametrize("kind", ["process", "allocated"])
@pytest.mark.parametrize("ratios", [[1.17], [0.9, 1.2], [0.8, 0.8, 0.8, 1.3], [0.95] * 7 + [1.2]])
def test_the_bound_is_never_below_what_was_measured(plan: Plan, ratios: list[float], kind: str) -> None:
    """Whatever the others say: it happened."""
    seen = runs(plan, ratios, kind)
    found = calibrated(plan, seen)
    assert found is not None
    assert found.upper_bytes >= max(run.measured_bytes for run in seen)


def test_other_keys_do_not_count(plan: Plan) -> None:
    other = [replace(run, key=replace(run.key, gpu="A100-80G")) for run in runs(plan, [0.5] * 9)]
    assert calibrated(plan, other) is None


def test_runs_predicted_by_another_mfc_are_told_but_not_counted(plan: Plan) -> None:
    found = calibrated(plan, runs(plan, [0.5], mfc="0.0.1"))
    assert found is not None
    assert (found.runs, found.outdated, found.peak_bytes) == (0, 1, plan.memory.process_bytes)
