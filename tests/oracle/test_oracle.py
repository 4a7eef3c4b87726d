"""The closed forms against the real model code, traced now with the pinned libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.environments import Environment, environment
from tests.oracle.cases import BASE, CASES

pytestmark = pytest.mark.framework

ROOT = Path(__file__).parents[2]
SHALLOW_OR_WHOLE = "shallow or whole"


def simulated(oracle: Environment, cases: dict[str, Any]) -> dict[str, Any]:
    driver = Path(__file__).with_name("driver.py")
    done = oracle.run(
        [oracle.python, driver], stdin=json.dumps(cases), env={"PYTHONPATH": str(ROOT / "compiler")}, timeout=1800
    )
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="module")
def oracle() -> Environment:
    return environment("oracle")


@pytest.fixture(scope="module")
def answers(oracle: Environment) -> dict[str, Any]:
    cases: dict[str, dict[str, Any]] = {
        name: {"model": model, "strategy": {**BASE, **strategy}, "stack": stack}
        for name, (model, strategy, stack) in CASES.items()
    }
    small = {"model": "Qwen/Qwen2.5-0.5B", "strategy": BASE, "stack": {}}
    cases |= {f"{SHALLOW_OR_WHOLE} {whole}": {**small, "whole": whole} for whole in (False, True)}
    return simulated(oracle, cases)


@pytest.mark.parametrize("name", CASES)
def test_peak_is_that_of_the_real_code(name: str, answers: dict[str, Any]) -> None:
    found = answers[name]
    assert found["predicted"] == pytest.approx(found["simulated"], rel=0.015), found["moments"]


def test_two_shallow_traces_stand_for_the_whole_model(answers: dict[str, Any]) -> None:
    shallow, whole = (answers[f"{SHALLOW_OR_WHOLE} {whole}"] for whole in (False, True))
    assert (shallow["depths"], whole["depths"]) == ([3, 4], [24])
    for moment, (simulated_bytes, _) in whole["moments"].items():
        assert shallow["moments"][moment][0] == pytest.approx(simulated_bytes, rel=1e-4), moment
