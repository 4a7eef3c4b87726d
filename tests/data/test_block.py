"""What `--write` does to the text of a spec: two fields, and not one other character."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from mfc.data.block import written
from mfc.errors import SpecError
from mfc.lengths import PERCENTS
from mfc.spec.load import load

LENGTHS = {
    "samples": 10,
    "tokens": "counted",
    "file_bytes": 100,
    "sha256": "0" * 64,
    "quantiles": list(range(1000, 1000 + len(PERCENTS))),
}
FIELDS: dict[str, Any] = {"mean_length": 412, "lengths": LENGTHS}
HEAD = "model: Qwen/Qwen2.5-7B-Instruct # the model\nhardware: 4x RTX 4090\n"
TRAIN = "train: {method: lora}\n"
TEXTS = {
    "short": "data: train.jsonl # mine\n",
    "short, an odd name": "data: 'a, b: {c}.jsonl'\n",
    "one line": f"data: {{path: train.jsonl, max_length: 4096}}  # mine\n{TRAIN}",
    "one line, a comma": "data: {path: train.jsonl, }\n",
    "flow of many lines": f"data: {{\n  path: train.jsonl, # mine\n  max_length: 4096 # 4k\n  }}\n{TRAIN}",
    "a block": f"data:\n  # mine\n  path: a.jsonl # one\n\n  # long\n  max_length: 4096 # 4k\n\n# then\n{TRAIN}",
    "a deep block": f"data:\n    train:\n    - path: a.jsonl\n      columns:\n        text: t # it\n# then\n{TRAIN}",
    "no end": "data:\n  path: train.jsonl",
    "windows": "data:\r\n  path: train.jsonl\r\ntrain:\r\n  method: lora\r\n",
    "other fields": "data:\n  path: a.jsonl\n  mean_length: 600 # a guess\n  lengths: null # no\n  max_length: 4096\n",
    "block of lengths": "data:\n  lengths:\n    samples: 3 # rows\n    tokens: counted\n  # end\n  path: train.jsonl\n",
    "none": TRAIN,
    "in the base": "extends: base.yaml\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_two_fields_are_set_and_the_rest_stays(name: str) -> None:
    text = HEAD + TEXTS[name]
    made = written(text, "spec.yaml", FIELDS)
    before, after = yaml.safe_load(text), yaml.safe_load(made)
    data = before.get("data") or {}
    data = {"train": data} if isinstance(data, str) else data
    assert after == {**before, "data": {**data, **FIELDS}}
    assert written(made, "spec.yaml", FIELDS) == made
    comments = [line.partition("#")[2] for line in text.splitlines() if "#" in line]
    for comment in comments:
        if name != "block of lengths" or "rows" not in comment:
            assert f"#{comment}" in made
    assert made.startswith(HEAD)
    assert ("\r\n" in made) == ("\r\n" in text)


def test_a_written_spec_loads() -> None:
    for name in ("short", "one line", "a block"):
        spec = load(yaml.safe_load(written(HEAD + TEXTS[name], "spec.yaml", FIELDS))).spec
        assert spec.data.mean_length == 412
        assert spec.data.lengths is not None
        assert spec.data.lengths.quantiles[-1] == 1023
        assert spec.data.longest == 1024


def test_json_stays_json() -> None:
    import json

    text = '{\n  "model": "Qwen/Qwen2.5-7B-Instruct",\n  "data": {"path": "train.jsonl"}\n}\n'
    assert json.loads(written(text, "spec.json", FIELDS))["data"] == {"path": "train.jsonl", **FIELDS}


@pytest.mark.parametrize(
    "text", ["x: &d {path: a.jsonl}\ndata: *d\n", "- 1\n", '{"model": "a/b"}\n', "data: [1]\n", "a\n"]
)
def test_what_cannot_be_edited_is_said(text: str) -> None:
    with pytest.raises(SpecError) as error:
        written(text, "spec.yaml", FIELDS)
    assert "put this under data yourself:\n  mean_length: 412\n  lengths: {" in str(error.value)


@pytest.mark.parametrize("text", ["data: |\n  a\n", "data: &a !!str x\n", "x: 1", "data:\n", "data: {}\n", ""])
def test_odd_texts_are_edited_all_the_same(text: str) -> None:
    try:
        made = written(text, "spec.yaml", FIELDS)
    except SpecError:
        return
    assert yaml.safe_load(made)["data"]["lengths"] == LENGTHS
