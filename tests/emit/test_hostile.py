"""Through every target, no string of a spec changes the meaning of a generated file."""

import ast
import json
import shlex
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api, target
from mfc.errors import CannotExpress, SpecError

from tests.emit.samples import HOSTILE
from tests.targets.cases import data_called, over_base

BENIGN = "benign-word"


def spec(name: str, word: str, fields: tuple[str, ...]) -> dict[str, Any]:
    made = over_base(name, {"run": {"output_dir": word}})
    if "adapter" in fields:
        made["train"] = {**made["train"], "method": "lora"}
    model = made["model"] if isinstance(made["model"], dict) else {"id": made["model"]}
    made["model"] = {**model, **dict.fromkeys(fields, word)}
    made["data"] = {**data_called(name, word), "max_length": 1024}
    return made


@cache
def fields(name: str) -> tuple[str, ...]:
    """The fields of the model, of those that take any word, that a target can express."""
    for some in (("revision", "adapter"), ("revision",)):
        try:
            api.compile(spec(name, BENIGN, some), [name], out="out")
        except CannotExpress:
            continue
        return some
    return ()


@cache
def compiled(name: str, word: str) -> dict[str, str] | None:
    """The files of one target; None when the language refuses the string itself."""
    try:
        (made,) = api.compile(spec(name, word, fields(name)), [name], out="out")
    except SpecError:
        return None
    return dict(made.files)


@cache
def benign(name: str) -> dict[str, Any]:
    """The shapes of what a target writes for a word that is no trouble to anyone."""
    files = compiled(name, BENIGN)
    assert files is not None
    return shapes(files)


def shapes(files: Mapping[str, str]) -> dict[str, Any]:
    return {path: shape(path, text) for path, text in files.items()}


def shape(path: str, text: str) -> Any:
    """What a file says apart from its strings: keys and kinds of values, or the words of each command."""
    match Path(path).suffix:
        case ".yaml" | ".yml":
            return kinds(yaml.safe_load(text))
        case ".json":
            return kinds(json.loads(text))
        case ".sh":
            subprocess.run(["bash", "-n"], input=text.encode(), check=True)
            code = [line for line in text.split("\n") if not line.startswith("#")]
            return len(shlex.split("\n".join(code), comments=True))
        case ".py":
            return [type(node).__name__ for node in ast.walk(ast.parse(text))]
    raise AssertionError(f"no reader for {path}")


def kinds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, list):
        return [kinds(item) for item in value]
    return type(value).__name__


@pytest.mark.parametrize("name", target.names())
@pytest.mark.parametrize("word", HOSTILE, ids=lambda value: ascii(value)[:30])
def test_only_strings_change(name: str, word: str) -> None:
    files = compiled(name, word)
    assert files is None or shapes(files) == benign(name)
