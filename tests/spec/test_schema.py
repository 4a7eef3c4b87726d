"""The JSON Schema that editors use is generated from the models and agrees with the loader."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mfc.errors import SpecError
from mfc.spec import schema
from mfc.spec.load import load

from tests.tables import table

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
GOOD = [case for case in table(HERE / "good.yaml") if "spec" in case]
BAD = [case for case in table(HERE / "bad.yaml") if case.get("spec")]


@pytest.fixture(scope="module")
def validator() -> Any:
    return jsonschema.Draft202012Validator(schema.json_schema())


def test_file_is_the_generated_schema() -> None:
    assert (ROOT / "schemas/spec.schema.json").read_text(encoding="utf-8") == schema.text()


def test_schema_is_valid() -> None:
    document = schema.json_schema()
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["$schema"].endswith("2020-12/schema")
    assert document["title"] == "mfc spec"


def as_read(text: str) -> Any:
    """The text as an editor sees it: YAML 1.2, short forms unexpanded."""
    from mfc.spec import yaml12
    from mfc.spec.marks import Source

    node = yaml12.parse(text.lstrip("\ufeff"), Source("spec"))
    return node.plain() if node else None


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["name"])
def test_good_specs_satisfy_it(case: dict[str, Any], validator: Any) -> None:
    assert [error.message for error in validator.iter_errors(as_read(case["spec"]))] == []


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.yaml")))
def test_examples_satisfy_it(name: str, validator: Any) -> None:
    text = (ROOT / "examples" / name).read_text(encoding="utf-8")
    assert [error.message for error in validator.iter_errors(as_read(text))] == []


def test_it_catches_what_an_editor_can(validator: Any) -> None:
    """Most of the bad values in the table are flagged while typing."""
    caught = 0
    values = [case for case in BAD if "must be" in case["error"] or "unknown key" in case["error"]]
    for case in values:
        try:
            document = as_read(case["spec"])
        except SpecError:
            continue
        caught += not validator.is_valid(document)
    assert caught >= 0.75 * len(values)


def test_fields_have_hover_text() -> None:
    def described(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for name, field in node.get("properties", {}).items():
                if name not in ("min", "max"):
                    assert field.get("description") or "$ref" in field, f"{path}.{name}"
            for key, value in node.items():
                described(value, f"{path}.{key}")
        elif isinstance(node, list):
            for value in node:
                described(value, path)

    described(schema.json_schema(), "")


def test_defaults_in_it_load() -> None:
    defaults: dict[str, Any] = {"model": "a/b", "hardware": "T4"}
    for name, field in schema.json_schema()["properties"].items():
        if "default" in field:
            defaults[name] = field["default"]
    defaults["targets"] = {}
    assert load(defaults).spec == load({"model": "a/b", "hardware": "T4"}).spec
