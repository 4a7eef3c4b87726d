"""Parameter and adapter counts are those of the real transformers classes and of PEFT, to the last parameter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mfc.catalog.hf_config import read
from mfc.catalog.parameters import count, lora_count
from mfc.strategy import Lora

from tests.conformance.environments import Environment
from tests.conformance.parameters.cases import REMOTE_ONLY, cases

pytestmark = pytest.mark.framework

CASES = {case["name"]: case for case in cases()}
TOWERS = ("vision", "projector")
EXPECTED = {
    "all-linear": ("all-linear", ()),
    "attention": ("attention", TOWERS),
    "mlp": ("mlp", TOWERS),
    "language": ("all-linear", TOWERS),
}


@pytest.fixture(scope="module")
def counted(oracle: Environment) -> dict[str, Any]:
    driver = Path(__file__).with_name("driver.py")
    done = oracle.run([oracle.python, driver], stdin=json.dumps(list(CASES.values())), timeout=1200)
    return {answer["name"]: answer for answer in json.loads(done.stdout)}


@pytest.mark.parametrize("name", CASES)
def test_counts_are_exact(name: str, counted: dict[str, Any]) -> None:
    config = read(CASES[name]["config"])
    real = counted[name]
    assert config.assumed == ()
    assert count(config.architecture).total == real["total"]
    ours = {}
    for label in real["adapters"]:
        targets, frozen = EXPECTED[label]
        ours[label] = lora_count(config.architecture, Lora(rank=8, alpha=16, targets=targets), freeze_parts=frozen)
    assert ours == real["adapters"]


def test_every_family_is_built_or_known_to_be_remote_only() -> None:
    from mfc.catalog import models

    built = {case["config"]["model_type"] for case in CASES.values()}
    known = {row["config"]["model_type"] for row in models.rows()}
    assert known - built == set(REMOTE_ONLY) & known
