"""Good specs mean what the table says; values know where they came from."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mfc.errors import SpecError
from mfc.spec.load import LoadedSpec, load
from mfc.spec.models import Range
from pydantic import BaseModel

from tests.tables import table

CASES = table(Path(__file__).parent / "good.yaml")


def at(spec: Any, path: str) -> Any:
    for part in path.split("."):
        index = int(part) if part.isdigit() else part
        spec = getattr(spec, part) if isinstance(spec, BaseModel) else spec[index]
    return spec


def plain(value: Any) -> Any:
    if isinstance(value, Range):
        return {"min": value.min, "max": value.max}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def loaded(case: dict[str, Any], folder: Path) -> LoadedSpec:
    for name, text in case.get("files", {"spec.yaml": case.get("spec")}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return load(folder / "spec.yaml", case.get("set", []))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_good(case: dict[str, Any], tmp_path: Path) -> None:
    result = loaded(case, tmp_path)
    for path, wanted in case["expect"].items():
        found = plain(at(result.spec, path))
        assert (found, type(found)) == (wanted, type(wanted)), path
    for path in case.get("absent", []):
        with pytest.raises((KeyError, AttributeError)):
            at(result.spec, path)
    assert result.pinned >= set(case.get("pinned", []))
    assert not result.pinned & set(case.get("free", []))
    # What was read can be given as a mapping again.
    again = load(result.raw)
    assert again.spec.model_copy(update={"extends": result.spec.extends}) == result.spec
    assert again.sha256 == result.sha256


def test_positions_lead_to_the_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/base.yaml").write_text("hardware: 4x T4\nmodel:\n  id: a/b\n  config: c.json\n")
    (tmp_path / "spec.yaml").write_text("extends: sub/base.yaml\ndata: {path: x.jsonl}\ntrain:\n  lora:\n    rank: 8\n")
    result = load("spec.yaml", ["objective=memory"])
    assert result.name == "spec.yaml"
    assert result.sources == (Path("spec.yaml"), Path("sub/base.yaml"))
    expected = {
        "model.config": "sub/base.yaml:4:11",
        "hardware.gpu.name": "sub/base.yaml:1:11",
        "hardware.count": "sub/base.yaml:1:11",
        "data.train": "spec.yaml:2:8",
        "data.train.0.path": "spec.yaml:2:14",
        "train": "spec.yaml:3:1",
        "train.lora.rank": "spec.yaml:5:11",
        "objective": "--set objective=memory",
    }
    assert {name: result.positions[name] for name in expected} == expected
    assert str(result.where("train.lora.alpha")) == "spec.yaml:4:3"  # not set: the nearest section
    assert result.folder("model.config") == Path("sub")
    assert result.folder("data.train.0.path") == Path()
    error = result.error("hardware.gpu.name", "unknown GPU T44", among=["A100", "T4"], word="T44")
    assert str(error).split("\n") == [
        "sub/base.yaml:1:11: error: unknown GPU T44",
        "  1 | hardware: 4x T4",
        "    |           ^^^^^",
        "  did you mean T4?",
    ]


def test_digest_is_of_the_meaning(tmp_path: Path) -> None:
    texts = ["model: a/b\nhardware: 2x T4\n", "# hello\nhardware: {count: 2, gpu: T4}\nmodel: {id: a/b}\n"]
    digests = set()
    for text in texts:
        (tmp_path / "spec.yaml").write_text(text)
        digests.add(load(tmp_path / "spec.yaml").sha256)
    assert len(digests) == 1
    assert load(tmp_path / "spec.yaml", ["hardware.count=3"]).sha256 not in digests


def test_mapping_spec_is_immutable() -> None:
    spec = load({"model": "a/b", "hardware": {"gpu": "T4"}, "data": Path("x.jsonl")}).spec
    assert spec.data.train[0].path == "x.jsonl"
    with pytest.raises(ValueError, match="frozen"):
        spec.objective = "memory"


def test_every_field_says_what_it_is() -> None:
    from mfc.spec import models

    for section in (item for item in vars(models).values() if isinstance(item, type) and issubclass(item, BaseModel)):
        assert section.__doc__
        assert section.model_config["frozen"]
        assert section.model_config["extra"] == "forbid"
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


def test_required_fields_are_few() -> None:
    from mfc.spec.models import Spec

    assert [name for name, field in Spec.model_fields.items() if field.is_required()] == ["model", "hardware"]
    with pytest.raises(SpecError):
        load({})


def test_names_of_the_language_need_no_yaml() -> None:
    """The models alone, as the Python API may want them, load no YAML and no schema library."""
    code = "import sys, mfc.spec.models; print({'yaml', 'jsonschema', 'jinja2', 'click'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
