"""What only ms-swift has: a script and a config that say the same, and two contracts of flags."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api
from mfc.target import contracts
from mfc.targets import ms_swift

from tests.targets.cases import compiled, good, over_base
from tests.targets.launching import launch

PRINT = """#!/bin/sh
for word in "$@"; do printf '%s\\0' "$word"; done
"""


@pytest.mark.parametrize("name", good("ms-swift"))
def test_script_and_config_say_the_same(name: str, folder: Path, tmp_path: Path) -> None:
    """The words that bash makes of train.sh are those that ms-swift's reader makes of run.yaml."""
    one = compiled("ms-swift", name, folder)
    node = {"NODE_RANK": "0", "MASTER_ADDR": "h", "VLLM_SERVER_HOST": "h"}
    done = launch(one, tmp_path / "out", "train.sh", tools={"swift": PRINT}, **node)
    assert done.returncode == 0, done.stderr
    said: dict[str, list[str]] = {}
    for word in done.stdout.split("\0")[1:-1]:
        if word.startswith("--"):
            said[word[2:]] = []
        else:
            said[list(said)[-1]].append(word)
    config = {key: value for key, value in yaml.safe_load(one.files["run.yaml"]).items() if key != "ENV"}
    assert list(said) == list(config)
    for key, words in said.items():
        values = config[key] if isinstance(config[key], list) else [config[key]]
        assert [_read(word) for word in words] == [_read(_word(value)) for value in values], key


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _read(word: str) -> Any:
    """A word as argparse has it: 1.0e-5 and 1e-05 are one number, true and True one switch."""
    try:
        return float(word)
    except ValueError:
        return yaml.safe_load(word)


def test_no_string_escapes_the_script(tmp_path: Path) -> None:
    evil = "data/a b'; touch pwned; $(touch pwned) `x`.jsonl"
    spec = over_base("ms-swift", {"data": {"train": evil}, "run": {"output_dir": "out'; touch pwned; '"}})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    (one,) = api.compile(tmp_path / "run.yaml", ["ms-swift"])
    assert f"--dataset {shlex.quote('../../' + evil)}" in one.files["train.sh"]
    done = launch(one, tmp_path / "out", "train.sh", tools={"swift": PRINT})
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("**/pwned"))


def test_keys_are_in_the_contracts() -> None:
    """Each flag is one of `swift rlhf` (or of 3.x, for its older name)."""
    every: set[str] = set()
    for version, gone in (("4.6.0", {"train_type"}), ("3.12.6", {"tuner_type"})):
        known = contracts.load(f"ms-swift-rlhf-{version}")["properties"]
        assert {key.name for key in ms_swift.KEYS} - set(known) == gone
        every |= set(known)
    assert every >= ms_swift.UNMODELLED
