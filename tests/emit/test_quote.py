"""Whatever a string holds, the format's own reader gives back that string and nothing else."""

import ast
import json
import shlex
import subprocess
from typing import Any

import pytest
import yaml
from mfc.emit import quote
from mfc.errors import Fault

from tests.emit.samples import HOSTILE

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -3,
    2**40,
    0.0,
    0.05,
    1e-4,
    2e-5,
    1.5e-10,
    5e8,
    1e300,
    [],
    {},
    [1, "no", None, 2e-5],
    {"a": {"b": ["x: y", "#"]}, "on": "off"},
    ["shared"] * 2,
)


class Core(yaml.SafeLoader):
    """Reads scalars as YAML 1.2 does, where 1e-4 is a number and `no` a string."""


Core.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("null", r"^(?:~|null|Null|NULL|)$", [*"~nN", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+)$", list("-+0123456789")),
    ("float", r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)$", list("-+0123456789.")),
):
    import re

    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)


@pytest.mark.parametrize("value", [*HOSTILE, *VALUES], ids=lambda value: ascii(value)[:30])
@pytest.mark.parametrize("loader", [yaml.SafeLoader, Core], ids=["yaml-1.1", "yaml-1.2"])
def test_yaml(value: Any, loader: Any) -> None:
    text = quote.yaml(value)
    assert len(text.splitlines()) <= 1
    document = f"before: 1\nkey: {text}\nlist: [{text}, 2]\nafter: 3\n"
    assert yaml.load(document, loader) == {"before": 1, "key": value, "list": [value, 2], "after": 3}


@pytest.mark.parametrize("value", [*HOSTILE, *VALUES], ids=lambda value: ascii(value)[:30])
def test_json(value: Any) -> None:
    for text in (quote.json({"k": value}), quote.document({"k": value})):
        assert json.loads(text) == {"k": value}
    assert len(quote.json(value).splitlines()) <= 1


@pytest.mark.parametrize("value", [*HOSTILE, *VALUES], ids=lambda value: ascii(value)[:30])
def test_python(value: Any) -> None:
    text = quote.py(value)
    assert len(text.splitlines()) == 1
    assert ast.literal_eval(text) == value
    (statement,) = ast.parse(f"key = {text}").body
    assert isinstance(statement, ast.Assign)


WORDS = [word for word in HOSTILE if "\0" not in word]


@pytest.mark.parametrize("word", WORDS, ids=lambda value: ascii(value)[:30])
def test_shell_split(word: str) -> None:
    assert shlex.split(f"run --name {quote.sh(word)} --next") == ["run", "--name", word, "--next"]


def test_shell_itself() -> None:
    script = "".join(f"printf '%s\\0' {quote.sh(word)}\n" for word in WORDS)
    assert subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True).stdout == b"".join(
        word.encode() + b"\0" for word in WORDS
    )


def test_shell_words_of_other_values() -> None:
    assert [quote.sh(value) for value in (True, 3, 2e-5, ["a", 1])] == ["true", "3", "2.0e-5", "'[\"a\", 1]'"]


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
def test_shell_cannot_pass_on(word: str) -> None:
    with pytest.raises(quote.Unwritable, match="no shell can pass on"):
        quote.sh(word)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda value: ascii(value)[:30])
def test_comment(text: str) -> None:
    lines = quote.comment(text).splitlines()
    assert all(line.startswith("#") for line in lines)
    assert all(len(line) <= quote.WIDTH for line in lines if " " in line[2:])
    assert ast.parse(quote.comment(text)).body == []
    assert yaml.safe_load(quote.comment(text)) is None


def test_comments_wrap_at_words() -> None:
    assert quote.comment("one two three four", width=11) == "# one two\n# three\n# four"
    assert quote.comment("") == "#"


def test_document_reads_well() -> None:
    data = {"b": 5e8, "a": [0.9, 0.999], "nested": {"list": [{"x": 1}], "empty": {}, "none": []}}
    assert quote.document(data) == (
        '{\n  "b": 500000000,\n  "a": [0.9, 0.999],\n  "nested": {\n    "list": [\n      {\n        "x": 1\n      }\n'
        '    ],\n    "empty": {},\n    "none": []\n  }\n}\n'
    )


def test_simple_strings_stay_bare() -> None:
    assert [quote.yaml(word) for word in ("cosine", "Qwen/Qwen2.5-7B", "/data/a.jsonl")] == [
        "cosine",
        "Qwen/Qwen2.5-7B",
        "/data/a.jsonl",
    ]


@pytest.mark.parametrize("writer", [quote.yaml, quote.json, quote.document, quote.py])
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), pytest.param(object(), id="object"), {1, 2}, b"bytes"], ids=repr
)
def test_no_format_can_say_it(writer: Any, value: Any) -> None:
    with pytest.raises(Fault):
        writer([value])


@pytest.mark.parametrize("name", ["torch", "torch.optim.AdamW", "_x1"])
def test_python_names(name: str) -> None:
    assert quote.name(name) == name


@pytest.mark.parametrize("name", ["", "a b", "a.", "import", "a.class", "os;exit()", "a\nb", "1a", "__import__('os')"])
def test_what_is_no_python_name(name: str) -> None:
    with pytest.raises(quote.Unwritable, match="no Python name"):
        quote.name(name)


def test_order_letters_and_words_stay() -> None:
    """What a reader of the text sees: keys in their order, letters as letters, comments not broken inside a word."""
    assert list(yaml.safe_load(quote.document({"b": 1, "a": 2}))) == ["b", "a"]
    assert list(yaml.safe_load(quote.block({"b": 1, "a": 2}))) == ["b", "a"]
    assert "é" in quote.yaml(["é"])
    assert "é" in quote.document({"a": "é"})
    words = quote.comment(" ".join(["flash-attention-two"] * 40)).split("\n")
    assert all(word == "flash-attention-two" for line in words for word in line.split()[1:])


@pytest.mark.parametrize("half", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_halves_of_surrogate_pairs_are_refused_by_shells(half: int) -> None:
    with pytest.raises(quote.Unwritable):
        quote.sh(chr(half))
