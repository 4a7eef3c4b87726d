"""Warnings never argue with mfc's own choice; the fastest that fits wins, as far as the model of time can tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import mfc
import pytest
from mfc.errors import MfcError
from mfc.fields import CANDIDATES, SPEC_PATHS
from mfc.planner.plan import Plan
from mfc.planner.search import OFFLOAD_DOUBT, SPEED_ERROR

from tests.planner.test_relax import SEEDS, drawn
from tests.targets.cases import GOOD, compiled

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
FIELDS = {path: name for name, path in SPEC_PATHS.items()}
SAID = re.compile(r"\b((?:train|data|strategy)(?:\.[a-z_]+)+): ([\w.-]+)")
# Values that a sentence may name without their field.
NAMES = {value: name for name in ("sharding", "optimizer") for value in CANDIDATES[name]} | {"sdpa": "attention"}


def argues(plan: Plan) -> list[str]:
    """What a plan's warnings recommend instead of what mfc decided itself."""
    found = []
    for warning in plan.warnings:
        told = {FIELDS[path]: value for path, value in SAID.findall(warning.message) if path in FIELDS}
        words = re.findall(r"[a-z_]+[\w]*", warning.message)
        told |= {name: value for value, name in NAMES.items() if value in words}
        for name, value in told.items():
            decision = plan.decisions.get(name)
            if decision is None or str(decision.value).lower() == value:
                continue
            if not (decision.pinned or decision.rule == "default"):
                found.append(f"{warning.id} wants {name} {value}, mfc chose {decision.value}: {warning.message}")
    return found


@pytest.mark.parametrize(("target", "name"), GOOD[::3])
def test_no_warning_argues_in_a_case(target: str, name: str, folder: Path) -> None:
    assert argues(compiled(target, name, folder).plan) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_no_warning_argues_in_an_example(path: Path) -> None:
    for target in mfc.load(path).spec.targets:
        assert argues(mfc.plan(path, target)) == []


MEANS = {
    "attention with packing": ("data.packing=true", "train.method=full"),
    "whole logits": ("data.max_length=8192", "model=Qwen/Qwen3-8B"),
    "samples that are short": ("data.mean_length=300", "train.batch_size=64"),
    "rows that hold many samples": ("data.mean_length=300", "data.packing=true"),
    "pretraining": ("train.task=pretrain", "train.method=auto"),
    "experts": ("model=Qwen/Qwen3-30B-A3B", "hardware.gpu=H100"),
    "a tower that trains": ("model=Qwen/Qwen2.5-VL-3B-Instruct", "train.method=full", "train.freeze_parts=[]"),
    "four bits over many GPUs": ("train.method=qlora", "model=Qwen/Qwen2.5-32B-Instruct"),
}


@pytest.mark.parametrize("packages", ["", "flash-attn"])
@pytest.mark.parametrize("target", ["llamafactory", "ms-swift", "xtuner"])
@pytest.mark.parametrize("case", MEANS)
def test_no_warning_argues_where_rules_advise(case: str, target: str, packages: str) -> None:
    sets = [f"targets.{target}.packages.{packages}=2.8.3"] if packages else []
    spec = {"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": {"gpu": "A100 SXM 80GB", "count": 4}}
    try:
        plan = mfc.plan({**spec, "data": {"max_length": 4096}}, target, (*MEANS[case], *sets))
    except MfcError:
        return
    assert argues(plan) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_no_warning_argues_on_drawn_specs(seed: int) -> None:
    spec, sets, target = drawn(seed)
    try:
        plan = mfc.plan(spec, target, sets)
    except MfcError:
        return
    assert argues(plan) == []
    if plan.fits:
        assert promised(plan) == []


def promised(plan: Plan) -> list[Any]:
    """Alternatives that fit, leave the results alone and are faster by more than the model of time errs."""
    own = plan.strategy.offload_optimizer, plan.strategy.offload_parameters
    doubt = OFFLOAD_DOUBT if own != ("none", "none") else 1.0
    found = []
    for other in plan.alternatives:
        offload = [
            other.changes.get(f"offload_{part}", mine)
            for part, mine in zip(("optimizer", "parameters"), own, strict=True)
        ]
        time = other.seconds_per_step * (OFFLOAD_DOUBT if offload != ["none", "none"] else 1.0)
        if (
            other.fits
            and "optimizer" not in other.changes
            and time * (1 + SPEED_ERROR) < plan.speed.seconds_per_step * doubt
        ):
            found.append(other)
    return found


def test_a_pin_of_the_users_is_advised_on() -> None:
    spec: dict[str, Any] = {
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "hardware": "A100 SXM 80GB",
        "data": {"max_length": 8192},
    }
    pinned = mfc.plan({**spec, "strategy": {"loss": "plain"}}, "llamafactory")
    assert any("strategy.loss: fused does without" in warning.message for warning in pinned.warnings)
    # Where the target has none, there is nothing to advise.
    bare = mfc.plan({**spec, "strategy": {"loss": "plain"}}, "xtuner")
    assert not any("the loss holds" in warning.message for warning in bare.warnings)  # nor what memory shows to be told
    mean = {**spec, "data": {"max_length": 8192, "mean_length": 300, "packing": False}, "strategy": {"micro_batch": 2}}
    assert any("data.packing: true fills it" in one.message for one in mfc.plan(mean, "llamafactory").warnings)
    mean["data"].pop("packing")
    assert not any("data.packing" in one.message for one in mfc.plan(mean, "llamafactory").warnings)
