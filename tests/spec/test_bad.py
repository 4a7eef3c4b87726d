"""Every bad input gets one clear message: the place, the line, what is allowed, what was probably meant."""

from pathlib import Path
from typing import Any

import pytest
from mfc.errors import SpecError
from mfc.spec.load import load

from tests.tables import table

CASES = table(Path(__file__).parent / "bad.yaml")
JARGON = ("pydantic", "validation", "Input should", "[type=", "input_value", "function-plain", "constrained")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(path: str, overrides: list[str] | None = None) -> str:
    with pytest.raises(SpecError) as caught:
        load(path, overrides or [])
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert not any(word in message for word in JARGON), message
    assert all(line.isprintable() for line in message.split("\n")), message
    return message


def test_names_are_unique() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_bad(case: dict[str, Any], here: Path) -> None:
    for name, text in case.get("files", {"spec.yaml": case.get("spec")}).items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(text, encoding="utf-8")
    message = refusal("spec.yaml", case.get("set"))
    assert message.split("\n")[0] == case["error"]
    for words in case.get("says", []):
        assert words in message
    assert len(message.split("\n")) == case.get("lines", len(message.split("\n")))


BYTES = {
    "not UTF-8": (
        b"model: a/b\nhardware: \xe9\n",
        "spec.yaml:2:11: error: byte 0xe9 is not UTF-8; a spec is UTF-8 text",
    ),
    "UTF-16": ("model: a/b".encode("utf-16"), "spec.yaml: error: is UTF-16; a spec is UTF-8 text"),
    "NUL": (b"model: a\x00b\n", "spec.yaml:1:9: error: control character U+0000 in the file"),
    "too large": (b"#" * (2**20 + 1), "spec.yaml: error: is larger than 1 MiB, so it is no spec"),
    "too deep": (b"model: " + b"[" * 5000, "spec.yaml:1:32: error: nested more than 24 levels deep"),
    "too deep in braces": (b"{a: " * 5000, "spec.yaml:1:101: error: nested more than 24 levels deep"),
}


@pytest.mark.parametrize("name", BYTES)
def test_bad_bytes(name: str, here: Path) -> None:
    data, first = BYTES[name]
    (here / "spec.yaml").write_bytes(data)
    assert refusal("spec.yaml").split("\n")[0] == first


def test_other_names_are_names_of_fields() -> None:
    from mfc.spec.explain import all_fields
    from mfc.spec.models import Spec
    from mfc.spec.short import ELSEWHERE

    assert set(ELSEWHERE.values()) <= set(all_fields(Spec))


def test_missing_file_suggests_its_neighbour(here: Path) -> None:
    (here / "spec.yaml").write_text("model: a/b\n")
    assert refusal("spce.yaml") == "spce.yaml: error: no such file\n  did you mean spec.yaml?"
    assert refusal("base.yaml") == "base.yaml: error: no such file"
    assert refusal("nowhere/spec.yaml") == "nowhere/spec.yaml: error: no such file"


def test_directory_and_odd_paths(here: Path) -> None:
    assert refusal(".") == ".: error: is a directory, not a spec"
    (here / "file").write_text("x")
    assert refusal("file/spec.yaml") == "file/spec.yaml: error: cannot be read: Not a directory"
    assert refusal("a\0b").startswith("a\\x00b: error: cannot be read")
    assert refusal("x" * 5000).split(": ")[1:] == ["error", "cannot be read", "File name too long"]


def test_many_errors_are_five_lines_and_a_count(here: Path) -> None:
    (here / "spec.yaml").write_text("".join(f"key{i}: 1\n" for i in range(12)))
    lines = refusal("spec.yaml").split("\n")
    assert lines[0] == 'spec.yaml:1:1: error: unknown key "key0"'
    assert [line for line in lines if line.startswith("spec.yaml:")][-1] == 'spec.yaml:5:1: error: unknown key "key4"'
    assert lines[-1] == "and 9 more errors"  # the other seven keys, and the two that are missing


def test_long_lines_are_cut(here: Path) -> None:
    (here / "spec.yaml").write_text(f"hardware: 1x T4\nmodel: {{id: {'x' * 5000}, nme: 1}}\n")
    message = refusal("spec.yaml")
    assert all(len(line) < 200 for line in message.split("\n"))
    assert "nme: 1}\n" in message


@pytest.mark.parametrize(
    ("spec", "first"),
    [
        (
            {"model": "a/b", "hardware": {"gpu": "T4", "count": "x"}},
            "spec: error: hardware.count must be a whole number",
        ),
        ({"model": "a/b", "hardware": {1: 2}}, "spec: error: keys must be text, not 1"),
        ({"model": {"a"}, "hardware": "T4"}, "spec: error: a set has no place in a spec"),
        (
            {"model": "a/b", "hardware": "T4", "train": {"learning_rate": float("nan")}},
            "spec: error: train.learning_rate",
        ),
    ],
)
def test_bad_mapping(spec: dict[Any, Any], first: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(spec)
    assert str(caught.value).startswith(first)


def test_endless_mapping() -> None:
    spec: dict[str, Any] = {"model": "a/b"}
    spec["hardware"] = spec
    with pytest.raises(SpecError, match="nested too deeply"):
        load(spec)


def test_any_scalar_anywhere_is_refused_or_taken(here: Path) -> None:
    """No value crashes a field: each is accepted or refused in our own words."""
    from mfc.spec.explain import all_fields
    from mfc.spec.models import Spec

    good = "model: a/b\nhardware: {gpu: T4}\n"
    (here / "spec.yaml").write_text(good)
    for field in all_fields(Spec):
        for value in (
            "x",
            "'\\e[0m'",
            "7",
            "-1",
            "0.5",
            "true",
            "null",
            "[]",
            "[1, a]",
            "{}",
            "{min: 1, max: 2}",
            "''",
            '"\\u202e"',
        ):
            try:
                load("spec.yaml", [f"{field}={value}"])
            except SpecError as error:
                message = str(error)
                assert not any(word in message for word in JARGON), message
                assert all(line.isprintable() for line in message.split("\n")), message
