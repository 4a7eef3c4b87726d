"""Adapters on mixtures of experts under older libraries: one linear per expert, or fused experts that PEFT misses.

Experts are cut to eight, since transformers 4 builds a module for each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mfc.catalog import models
from mfc.catalog.hf_config import read
from mfc.catalog.parameters import count, lora_count
from mfc.strategy import Lora

from tests.conformance.environments import environment
from tests.conformance.parameters.cases import REMOTE_ONLY, case, shallow

pytestmark = pytest.mark.framework

# transformers 4.57 has no MiniMax-M2 and wants rope_scaling for Qwen3-VL; in 5.6 these routers were linears.
ENVIRONMENTS: dict[str, tuple[dict[str, bool], frozenset[str]]] = {
    "llamafactory-0.9.4": ({"fused_experts": False}, frozenset({"minimax_m2", "qwen3_vl_moe", "qwen3_5_moe"})),
    "llamafactory-0.9.5": ({"expert_adapters": False}, frozenset({"deepseek_v2", "granitemoe"})),
}
EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")


def few_experts(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same model with eight experts in one group, four of them used."""
    cut: dict[str, Any] = {
        key: few_experts(value) if isinstance(value, Mapping) else value for key, value in config.items()
    }
    for key in (key for key in EXPERTS if key in cut):
        cut[key] = 8
    for key in (key for key in ("num_experts_per_tok", "moe_k") if key in cut):
        cut[key] = min(cut[key], 4)
    if "n_routed_experts" in cut:
        cut.update(n_group=1, topk_group=1)
    return cut


def moe_cases(left_out: frozenset[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in models.rows():
        kind = row["config"]["model_type"]
        if kind not in found and kind not in left_out.union(REMOTE_ONLY) and read(row["config"]).architecture.moe:
            found[kind] = case(kind, few_experts(shallow(row["config"])))
    return found


@cache
def counted(name: str) -> dict[str, Any]:
    place = environment(name)
    driver = Path(__file__).with_name("driver.py")
    asked = json.dumps(list(moe_cases(ENVIRONMENTS[name][1]).values()))
    done = place.run([place.python, driver], stdin=asked, timeout=1200)
    return {answer["name"]: answer for answer in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, (_, left_out) in ENVIRONMENTS.items() for kind in moe_cases(left_out)]
)
def test_adapters_of_experts(name: str, kind: str) -> None:
    flags, left_out = ENVIRONMENTS[name]
    architecture = read(moe_cases(left_out)[kind]["config"]).architecture
    real = counted(name)[kind]
    assert count(architecture).total == real["total"]
    for label, towers in (("all-linear", ()), ("attention", ("vision", "projector")), ("mlp", ("vision", "projector"))):
        ours = lora_count(architecture, Lora(rank=8, alpha=16, targets=label), freeze_parts=towers, **flags)
        assert (label, ours) == (label, real["adapters"][label])
