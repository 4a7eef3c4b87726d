"""The user's own native keys: owned by mfc, not modelled, or free."""

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mfc import api, emit
from mfc.errors import SpecError
from mfc.fields import place
from mfc.planner.plan import Plan
from mfc.spec import native, schema
from mfc.target import Target, get, names
from mfc.target.codecs import same
from mfc.target.keys import Key
from mfc.target.when import When

NEVER = When(lambda _: False)
PLAN = cast(Plan, SimpleNamespace(decisions={"num_generations": None}))
TARGET = cast(
    Target,
    SimpleNamespace(
        NAME="sample",
        KEYS=(
            Key("lr", same("learning_rate")),
            Key("decay", same("weight_decay")),
            Key("zero.stage", same("sharding")),
            Key("zero.bucket", same("sub_group_elements")),
            Key("optimizer", same("optimizer"), also=("adam_beta1",)),
            Key("loss_type", same("preference_loss"), NEVER),
            Key("bits", same("quantization.bits"), NEVER),
            Key("revision", same("model.revision"), NEVER),
            Key("answers", same("num_generations"), NEVER),
        ),
        UNMODELLED=frozenset({"liger", "zero.fancy"}),
    ),
)


def check(folder: Path, settings: str) -> tuple[Any, bool]:
    path = folder / "run.yaml"
    path.write_text(f"model: Qwen/Qwen2.5-7B-Instruct\nhardware: 4x RTX 4090\ntargets:\n  sample:\n    {settings}\n")
    loaded = api.load(path)
    return emit.check_extra(TARGET, loaded.spec.targets["sample"], loaded, PLAN)


@pytest.mark.parametrize(
    ("settings", "passed", "verified"),
    [
        ("version: auto", {}, True),
        ("extra: {report_to: wandb, plot: true}", {"report_to": "wandb", "plot": True}, True),
        ("extra: {zero: {round_robin: true}}", {"zero": {"round_robin": True}}, True),
        ("extra: {liger: true}", {"liger": True}, False),
        ("extra: {zero: {fancy: 1}}", {"zero": {"fancy": 1}}, False),
        ("extra_unchecked: {newer: 1}", {"newer": 1}, False),
        ("extra: {loss_type: dapo}", {"loss_type": "dapo"}, True),  # mfc writes it for other tasks alone
        ("extra: {zero: {fancy: {deep: 1}}}", {"zero": {"fancy": {"deep": 1}}}, False),
        ("extra: {zero: {fancier: 1}}", {"zero": {"fancier": 1}}, True),
        ("{extra: {plot: 1}, extra_unchecked: {zero: {b: 2}}}", {"plot": 1, "zero": {"b": 2}}, False),
    ],
)
def test_what_passes(tmp_path: Path, settings: str, passed: dict[str, Any], verified: bool) -> None:
    assert check(tmp_path, settings) == (passed, verified)


@pytest.mark.parametrize(
    ("settings", "key", "instead"),
    [
        ("extra: {lr: 1}", "lr", "train.learning_rate"),
        ("extra: {decay: 1}", "decay", "train.optim.weight_decay"),
        ("extra: {zero: {stage: 3}}", "zero.stage", "strategy.sharding"),
        ("extra: {zero: 3}", "zero", "strategy.sharding"),
        ("extra: {optimizer: {type: x}}", "optimizer.type", "strategy.optimizer"),
        ("extra: {zero: {bucket: 1}}", "zero.bucket", "it follows from the rest of the spec"),
        ("extra_unchecked: {lr: 1}", "lr", "train.learning_rate"),
        ("extra: {bits: 4}", "bits", "train.quantization.bits"),  # not written, which says that nothing is quantised
        ("extra: {revision: main}", "revision", "model.revision"),
        ("extra: {answers: 4}", "answers", "train.rollout.num_generations"),
    ],
)
def test_what_mfc_owns(tmp_path: Path, settings: str, key: str, instead: str) -> None:
    with pytest.raises(SpecError) as error:
        check(tmp_path, settings)
    assert f"{tmp_path / 'run.yaml'}:5:" in str(error.value)
    assert f"{key} is written by mfc" in str(error.value)
    assert instead in str(error.value)


@functools.cache
def language() -> dict[str, Any]:
    """The schema, which takes a while to make."""
    return schema.json_schema()


def said(path: str) -> bool:
    """Whether the spec language has a field."""
    document = language()
    here = [document]
    for part in path.split("."):
        every = flat(here, document)
        here = [one["properties"][part] for one in every if part in one.get("properties", {})]
        here += [one["items"] for one in every if part.isdigit() and "items" in one]
    return bool(here)


def flat(found: list[Any], document: Any) -> list[Any]:
    """Schemas, with what they refer to and their alternatives beside them."""
    every = []
    for one in found:
        named = [document["$defs"][one["$ref"].rpartition("/")[2]]] if "$ref" in one else []
        every += [one, *flat([*named, *one.get("anyOf", []), *one.get("allOf", []), *one.get("oneOf", [])], document)]
    return every


@pytest.mark.parametrize("target", names())
def test_what_mfc_owns_is_said_by_fields_that_exist(target: str) -> None:
    places = {place(field) for key in get(target).KEYS for field in key.fields}
    assert [path for path in sorted(places - {""}) if not said(path)] == []


def test_leaves() -> None:
    assert list(native.leaves({"a": {"b": 1, "c": {}}, "d": [1]})) == ["a.b", "a.c", "d"]
