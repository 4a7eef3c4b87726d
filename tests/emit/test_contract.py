"""Native data against a contract: whose fault a wrong key is, and what is said about it."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import mfc.schemas
import pytest
from mfc.emit import contract
from mfc.errors import Fault, MfcError, SpecError
from mfc.spec.marks import nearest
from mfc.target import contracts
from mfc.target.outputs import File

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["stage"],
    "properties": {
        "stage": {"enum": ["sft", "dpo"]},
        "learning_rate": {"type": "number", "exclusiveMinimum": 0},
        "warmup": {"type": ["integer", "null"], "maximum": 9},
        "optimizer": {
            "oneOf": [
                {"enum": ["adam", None]},
                {"type": "object", "additionalProperties": False, "required": ["type"], "properties": {"type": {}}},
                {"type": "array", "items": {"type": "number"}, "minItems": 1},
            ]
        },
        "report_to": {"anyOf": [{"enum": ["none", "wandb"]}, {"type": "array", "items": {"type": "string"}}]},
        "zero_optimization": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"stage": {"enum": [0, 1, 2, 3]}, "bucket": {"type": "integer"}},
        },
        **{f"key_{number}": {"type": "integer"} for number in range(300)},
    },
}


@pytest.fixture(autouse=True)
def _contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "sample-1.0.json").write_text(json.dumps(SCHEMA))
    monkeypatch.setattr(mfc.schemas, "__path__", [str(tmp_path)])
    contracts.load.cache_clear()
    yield
    contracts.load.cache_clear()


def blame(key: str, text: str, names: Collection[str]) -> SpecError:
    near = nearest(key.rpartition(".")[2], names)
    return SpecError(f"extra.{key}: {text}{f'; did you mean {near}' if near else ''}")


def check(data: dict[str, Any], extra: dict[str, Any] | None = None, unchecked: dict[str, Any] | None = None) -> None:
    contract.check(File("run.yaml", data, contract="sample-1.0"), extra or {}, unchecked or {}, blame)


@pytest.mark.parametrize(
    "data",
    [
        {"stage": "sft"},
        {"stage": "dpo", "learning_rate": 2e-5, "report_to": ("a", "b"), "zero_optimization": {"bucket": 5e8}},
        {"stage": "sft", "key_7": 1},
    ],
)
def test_good_data_passes(data: dict[str, Any]) -> None:
    check(data)


CASES: list[tuple[dict[str, Any], dict[str, Any], type[MfcError], list[str]]] = [
    (
        {"stage": "sft", "lerning_rate": 1.0},
        {"lerning_rate": 1.0},
        SpecError,
        ["extra.lerning_rate", "did you mean learning_rate", "extra_unchecked"],
    ),
    ({"stage": "sft", "key_7": "x"}, {"key_7": "x"}, SpecError, ['extra.key_7: must be a whole number, not "x"']),
    (
        {"stage": "sft", "report_to": 3},
        {"report_to": 3},
        SpecError,
        ['extra.report_to: must be one of "none", "wandb"; or a list, not 3'],
    ),
    (
        {"stage": "sft", "zero_optimization": {"stage": 2, "buckt": 1}},
        {"zero_optimization": {"buckt": 1}},
        SpecError,
        ["extra.zero_optimization.buckt", "did you mean bucket"],
    ),
    ({"stage": "sft", "lerning_rate": 1.0}, {}, Fault, ["run.yaml: lerning_rate", "a fault of mfc's"]),
    ({"stage": "sfx"}, {}, Fault, ['run.yaml: stage: must be one of "sft", "dpo", not "sfx"', "a fault of mfc's"]),
    ({}, {}, Fault, ["the whole: stage is missing"]),
    ({"stage": "sfx", "key_7": "x"}, {"key_7": "x"}, SpecError, ["extra.key_7"]),
]


SENTENCES: list[tuple[str, object, str]] = [
    ("stage", 3, 'must be one of "sft", "dpo", not 3'),
    ("key_7", None, "must be a whole number, not null"),
    ("warmup", "x", 'must be a whole number or null, not "x"'),
    ("warmup", 10, "must be at most 9, not 10"),
    ("learning_rate", 0, "must be above 0, not 0"),
    (
        "report_to",
        ["a", 3],
        'must be one of "none", "wandb"; or a value whose item 1 is text, not ["a", 3]',
    ),
    (
        "optimizer",
        {"lr": 1},
        'must be one of "adam", null; or a mapping without lr; or a mapping with type; or a list, not {lr: 1}',
    ),
    ("optimizer", [], 'must be one of "adam", null; or a mapping; or what minItems asks: 1, not []'),
]


@pytest.mark.parametrize(("key", "value", "said"), SENTENCES)
def test_what_is_said_is_no_validators(key: str, value: object, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        check({"stage": "sft", key: value}, {key: value})
    assert str(caught.value) == f"extra.{key}: {said}"


@pytest.mark.parametrize(("data", "extra", "kind", "says"), CASES)
def test_wrong_data_is_refused(
    data: dict[str, Any], extra: dict[str, Any], kind: type[MfcError], says: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        check(data, extra)
    assert type(caught.value) is kind
    for words in says:
        assert words in str(caught.value)


def test_several_unknown_keys_are_all_named() -> None:
    with pytest.raises(SpecError) as caught:
        check({"stage": "sft", "one": 1, "two": 2}, {"one": 1, "two": 2})
    assert "extra.one" in str(caught.value)
    assert "extra.two" in str(caught.value)


def test_unchecked_keys_pass_also_when_nested() -> None:
    check(
        {"stage": "sft", "brand_new": 1, "zero_optimization": {"stage": 2, "newer": 1}},
        {},
        {"brand_new": 1, "zero_optimization": {"newer": 1}},
    )
    with pytest.raises(Fault):
        check({"stage": "sft", "zero_optimization": {"stage": 9, "newer": 1}}, {}, {"zero_optimization": {"newer": 1}})


def test_a_file_without_a_contract_is_not_checked() -> None:
    contract.check(File("dataset_info.json", {"anything": 1}), {}, {}, blame)


def test_a_missing_contract_is_our_fault() -> None:
    with pytest.raises(Fault, match="nothing-1"):
        contract.check(File("x", {}, contract="nothing-1"), {}, {}, blame)
