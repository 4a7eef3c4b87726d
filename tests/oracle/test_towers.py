"""What layers of vision towers keep, in closed form, against the real towers of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.environments import environment

pytestmark = pytest.mark.framework

ROOT = Path(__file__).parents[2]
# (model of the catalogue, whether the tower trains or is frozen with a graph, attention)
CASES = (
    ("Qwen/Qwen2-VL-2B-Instruct", True, "sdpa"),
    ("Qwen/Qwen2.5-VL-3B-Instruct", True, "sdpa"),
    ("Qwen/Qwen2.5-VL-3B-Instruct", False, "sdpa"),
    ("Qwen/Qwen2.5-VL-3B-Instruct", False, "eager"),
    ("Qwen/Qwen3-VL-2B-Instruct", True, "sdpa"),
    ("zai-org/GLM-4.1V-9B-Thinking", True, "sdpa"),
    ("llava-hf/llava-1.5-7b-hf", True, "sdpa"),
    ("llava-hf/llava-1.5-7b-hf", False, "sdpa"),
    ("google/paligemma-3b-pt-224", True, "sdpa"),
    ("mistralai/Mistral-Small-3.1-24B-Instruct-2503", False, "sdpa"),
)


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    oracle = environment("oracle")
    asked = {str(case): dict(zip(("model", "trains", "attention"), case, strict=True)) for case in CASES}
    driver = Path(__file__).with_name("towers_driver.py")
    done = oracle.run(
        [oracle.python, driver], stdin=json.dumps(asked), env={"PYTHONPATH": str(ROOT / "compiler")}, timeout=1800
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_layer_keeps_what_the_real_one_keeps(case: tuple[str, bool, str], answers: dict[str, Any]) -> None:
    found = answers[str(case)]
    assert found["predicted"] == pytest.approx(found["kept"], rel=0.04)
