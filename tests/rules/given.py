"""Small problems for rules: a mapping of a few fields becomes everything that a rule may read."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from mfc.catalog.architecture import Architecture
from mfc.fields import EVERYTHING
from mfc.memory.costs import Between
from mfc.memory.rollout import Share
from mfc.memory.stack import Stack
from mfc.planner.layouts import layouts
from mfc.planner.space import facts
from mfc.profile import Profile
from mfc.resolve import resolve
from mfc.rules.engine import Rule
from mfc.spec.load import load
from mfc.strategy import Lora, Quantization, Strategy
from mfc.target import Target

STRATEGY = Strategy(
    task="sft",
    method="lora",
    precision="bf16",
    sharding="ddp",
    world_size=1,
    max_length=2048,
    micro_batch=1,
    gradient_accumulation=64,
    gradient_checkpointing=True,
    attention="sdpa",
    loss="plain",
    optimizer="adamw",
)
BETWEEN = Between(0, 0, 0, 0, 0, 0)
SHARE = Share(1, 0.9, 0, False, 1, 1, 0, 0, 0)
GIB = 2**30
CASES = Path(__file__).parent.parent / "cases" / "rules"


def answer(rule: Rule, given: Mapping[str, Any], target: Target | None = None) -> Any:
    """What a rule says of a small problem. A target's rule sees the profile of its `version` with its `packages`."""
    if target is None:
        env = environment(given)
    else:
        profile = target.profile(given.get("version", target.VERSIONS[0]), given.get("packages", {}))
        others = {name: value for name, value in given.items() if name not in ("version", "packages")}
        env = {**environment(others), "profile": profile}
    return rule.function(*(env[name] for name in rule.reads))


def environment(given: Mapping[str, Any]) -> dict[str, Any]:
    """All facts of a problem, and over them the fields that `given` names.

    `model`, `gpu`, `hardware` (further fields of the spec's hardware) and `spec` (its other sections) state the
    problem; `profile` and `strategy` are partial; `lora` and `quantization` are built from mappings,
    `architecture` changes the model's; sizes end in GiB.
    """
    given = dict(given)
    hardware = {"gpu": given.pop("gpu", "RTX 4090"), **given.pop("hardware", {})}
    model = given.pop("model", "Qwen/Qwen2.5-7B")
    if isinstance(model, dict) and "config" in model:
        model = {**model, "config": str(CASES / model["config"])}
    spec = {"model": model, "hardware": hardware, **given.pop("spec", {})}
    profile = _profile(given.pop("profile", {}))
    env = facts(layouts(_problem(json.dumps(spec)), profile)[0], profile)
    env.setdefault("quantization", None)
    if "architecture" in given:
        env["architecture"] = _changed(env["architecture"], given.pop("architecture"))
    for name, value in given.items():
        env[name] = _field(name, value)
    return env


def _changed(architecture: Architecture, changes: Mapping[str, Any]) -> Architecture:
    """An architecture that no model has (yet): `attention` changes every block's."""
    blocks = tuple(
        (count, block._replace(attention=block.attention._replace(**changes.get("attention", {}))))
        for count, block in architecture.blocks
    )
    return architecture._replace(blocks=blocks)


@lru_cache(maxsize=256)
def _problem(text: str) -> Any:
    return resolve(load(json.loads(text)), hub_cache=False)


def _profile(given: Mapping[str, Any]) -> Profile:
    said = given.get("supports", {}).items()
    named = {name: tuple(tuple(one) if isinstance(one, list) else one for one in values) for name, values in said}
    supports = {**EVERYTHING, **named}
    return Profile(
        target="example",
        version="1.0",
        stack=Stack(**given.get("stack", {})),
        supports=supports,
        packages=given.get("packages", {}),
        notes=given.get("notes", {}),
        fresh=tuple(given.get("fresh", ())),
        always=given.get("always", {}),
    )


def _field(name: str, value: Any) -> Any:
    if name == "strategy":
        fields = {key: _field(key, each) for key, each in value.items()}
        return STRATEGY._replace(**fields)
    if name == "lora" and value is not None:
        return Lora(**{"rank": 16, "alpha": 32, **{key: _field(key, each) for key, each in value.items()}})
    if name == "rollout_share" and value is not None:
        return replace(SHARE, **value)
    if name == "between":
        return BETWEEN._replace(**{key: _field(key, each) for key, each in value.items()})
    if name == "quantization" and value is not None:
        return Quantization(**value)
    if isinstance(value, str) and value.endswith("GiB"):
        return int(float(value.removesuffix("GiB")) * GIB)
    return tuple(value) if isinstance(value, list) else value
