"""What is offered when nothing fits does fit, is the mildest of its kind, and nothing is overlooked."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import mfc
import pytest
from mfc.catalog import models
from mfc.errors import MfcError
from mfc.planner.changes import Change, changes, freed, smaller_models, with_batch
from mfc.planner.plan import Plan
from mfc.planner.relax import SHOWN
from mfc.planner.search import fits as search_fits
from mfc.report.text import edit as shown
from mfc.resolve import resolve
from mfc.rules import RULES
from mfc.target import get

TARGETS = ("llamafactory", "ms-swift", "xtuner", "deepspeed")
PINS: dict[str, tuple[Any, ...]] = {
    "strategy.sharding": ("auto", "auto", "ddp", "zero2", "zero3"),
    "strategy.micro_batch": ("auto", "auto", 2),
    "strategy.gradient_checkpointing": ("auto", "true", "false"),
    "strategy.loss": ("auto", "plain"),
    "train.method": ("full", "full", "lora", "qlora"),
    "train.batch_size": (16, 24),
    "data.max_length": (1024, 4096, 6144, "{min: 2048, max: 4096}"),
}
MODELS = (
    "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen2.5-32B-Instruct",
    "meta-llama/Llama-3.1-8B",
    "mistralai/Mixtral-8x7B-v0.1",
)


def drawn(seed: int) -> tuple[dict[str, Any], tuple[str, ...], str]:
    draw = random.Random(seed)
    hardware: dict[str, Any] = {"gpu": draw.choice(("RTX 3060", "RTX 3090", "RTX 4090", "A100 SXM 40GB"))}
    hardware["count"] = draw.choice((1, 2, 4, 8))
    if draw.random() < 0.5:
        hardware["host_memory"] = draw.choice(("64GiB", "256GiB"))
    spec = {"model": draw.choice(MODELS), "hardware": hardware}
    return spec, tuple(f"{path}={draw.choice(values)}" for path, values in PINS.items()), draw.choice(TARGETS)


@cache
def refused(seed: int) -> Plan | None:
    """The plan of a drawn spec, when nothing fits."""
    spec, sets, target = drawn(seed)
    try:
        plan = mfc.plan(spec, target, sets)
    except MfcError:
        return None
    return None if plan.fits else plan


SEEDS = range(24)


def fits(spec: Any, target: str, sets: Sequence[str]) -> bool:
    """Whether a spec fits, by the search alone."""
    try:
        problem = resolve(mfc.load(spec, sets), hub_cache=False)
    except MfcError:
        return False
    module = get(target)
    profile = module.profile(module.VERSIONS[0], problem.spec.targets[target].packages if problem.spec.targets else {})
    return search_fits(problem, profile, (*RULES, *module.RULES))


def written(edit: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{path}={value}" for path, value in edit.items())


def kinds(plan: Plan) -> Iterator[Change]:
    """Every kind of single change; packages are those that some rule of the target's or mfc's asks for."""
    yield from (Change(({path: "auto"},)) for path in freed(plan.problem))
    yield from changes(plan.problem, plan, ("flash-attn", "liger-kernel"))
    yield smaller_models(plan.problem)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_offered_fits_and_nothing_is_overlooked(seed: int) -> None:
    plan = refused(seed)
    if plan is None:
        return
    spec, sets, target = drawn(seed)
    for relaxation in plan.relaxations:
        relaxed = mfc.plan(spec, target, (*sets, *written(relaxation.set)))
        assert relaxed.fits, relaxation.set
        assert relaxed.memory.upper_bytes == pytest.approx(relaxation.upper_bytes, abs=2)
    offered = [dict(relaxation.set) for relaxation in plan.relaxations]
    enough = {}
    for kind in kinds(plan):
        edits = [with_batch(plan.problem, edit) for edit in kind.edits]
        fitting = [fits(spec, target, (*sets, *written(edit))) for edit in edits]
        assert fitting == sorted(fitting), f"a stronger edit helps where a milder one does: {kind.edits}"
        if any(fitting):
            enough[tuple(kind.edits[0])] = edits[fitting.index(True)]
    if enough and len(offered) < SHOWN:
        free = [edit for edit in enough.values() if not {"hardware.gpu", "model"} & edit.keys()]
        assert all(edit in offered for edit in free)
    assert bool(offered) or not enough


def test_the_drawn_specs_are_of_use() -> None:
    """Some are refused, and of these some have single changes and some have none."""
    plans = [plan for seed in SEEDS if (plan := refused(seed))]
    assert len(plans) >= len(SEEDS) / 3
    assert any(len(one.set) == 1 for plan in plans for one in plan.relaxations)
    assert any(len(one.set) > 1 for plan in plans for one in plan.relaxations)


def test_the_longest_length_that_fits_is_offered() -> None:
    spec = {
        "model": "Qwen/Qwen3-8B",
        "hardware": "RTX 4090",
        "data": {"max_length": 131072},
        "train": {"batch_size": 8},
    }
    plan = mfc.plan(spec, "llamafactory")
    (length,) = (one.set["data.max_length"] for one in plan.relaxations if "data.max_length" in one.set)
    assert length % 256 == 0
    assert mfc.plan(spec, "llamafactory", (f"data.max_length={length}",)).fits
    assert not mfc.plan(spec, "llamafactory", (f"data.max_length={length + 256}",)).fits


NODES = {
    "host memory of each node": (
        {
            "model": "Qwen/Qwen2.5-14B",
            "hardware": {"gpu": "RTX 3090", "count": 8, "host_memory": "128GiB"},
            "train": {"method": "full", "batch_size": 16},
        },
        "hardware.nodes",
    ),
    "a pinned batch grows with the GPUs": (
        {
            "model": "Qwen/Qwen2.5-32B",
            "hardware": {"gpu": "A100 SXM 40GB", "count": 8},
            "train": {"method": "full", "batch_size": 8},
            "strategy": {"sharding": "zero3", "optimizer": "adamw"},
        },
        "train.batch_size",
    ),
}


@pytest.mark.parametrize("case", NODES)
def test_more_nodes_are_offered(case: str) -> None:
    spec, path = NODES[case]
    sets = [one.set for one in mfc.plan(spec, "llamafactory").relaxations if "hardware.nodes" in one.set]
    assert sets
    assert path in sets[0]


def test_smaller_models_are_of_one_family() -> None:
    assert models.smaller("Qwen/Qwen2.5-7B-Instruct")[0] == "Qwen/Qwen2.5-3B-Instruct"
    assert models.smaller("meta-llama/Llama-3.3-70B-Instruct")[0] == "meta-llama/Llama-3.1-8B-Instruct"
    assert models.smaller("nobody/Nothing-7B") == ()


def test_an_edit_is_shown_as_a_shell_takes_it() -> None:
    plan = mfc.plan({"model": "meta-llama/Llama-3.3-70B-Instruct", "hardware": "2x RTX 4090"}, "llamafactory")
    cards = [shown(one) for one in plan.relaxations if "hardware.gpu" in one.set]
    assert all(text.startswith("--set 'hardware.gpu=") or " " not in text.partition("=")[2] for text in cards)
