"""Spec -> ms-swift's files, its own rules, and what holds for every output; tables in tests/cases/ms_swift."""

from __future__ import annotations

import copy
import json
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api
from mfc.emit.compiled import Compiled
from mfc.errors import MfcError
from mfc.rules.engine import Rule
from mfc.target import contracts
from mfc.target.keys import mapping_table, overlay
from mfc.targets import ms_swift
from mfc.targets.deepspeed.keys import ENGINE
from mfc.targets.ms_swift.keys import ELSEWHERE

from tests.rules.given import environment

FOLDER = Path(__file__).parent.parent / "cases" / "ms_swift"
FILES = yaml.safe_load((FOLDER / "files.yaml").read_text(encoding="utf-8"))
GOOD = [name for name, case in FILES["cases"].items() if "refused" not in case]
RULES = {rule.id: rule for rule in ms_swift.RULES}
CASES: dict[str, list[dict[str, Any]]] = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))
EACH = [pytest.param(rule, case, id=f"{rule}-{number}") for rule in CASES for number, case in enumerate(CASES[rule])]
PRINT = """#!/bin/sh
for word in "$@"; do printf '%s\\0' "$word"; done
"""


@cache
def compiled(name: str, home: Path) -> Compiled:
    spec = copy.deepcopy(FILES["base"])
    overlay(spec, FILES["cases"][name].get("spec", {}))
    (home / f"{name}.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    (one,) = api.compile(home / f"{name}.yaml", ["ms-swift"])
    return one


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("specs")


@pytest.mark.parametrize("name", FILES["cases"])
def test_files(name: str, home: Path) -> None:
    case = FILES["cases"][name]
    if "refused" in case:
        with pytest.raises(MfcError) as refused:
            compiled(name, home)
        assert case["refused"] in str(refused.value)
        return
    files = compiled(name, home).files
    said = yaml.safe_load(files["run.yaml"])
    assert {key: said.get(key) for key in case.get("expect", {})} == case.get("expect", {})
    assert [key for key in case.get("absent", []) if key in said] == []
    variables = said.get("ENV", {})
    assert {key: variables.get(key) for key in case.get("environment", {})} == case.get("environment", {})
    assert [key for key in case.get("no_environment", []) if key in variables] == []
    assert [line for line in case.get("lines", []) if line not in files["train.sh"].splitlines()] == []
    assert [line for line in case.get("rollout", []) if line not in files["rollout.sh"].splitlines()] == []


@pytest.mark.parametrize("name", GOOD)
def test_script_and_config_say_the_same(name: str, home: Path, tmp_path: Path) -> None:
    """The words that bash makes of train.sh are those that ms-swift's reader makes of run.yaml."""
    one = compiled(name, home)
    (tmp_path / "swift").write_text(PRINT, encoding="utf-8")
    (tmp_path / "swift").chmod(0o755)
    (tmp_path / "train.sh").write_text(one.files["train.sh"], encoding="utf-8")
    path = f"{tmp_path}:/usr/bin:/bin"
    given = {"PATH": path, "NODE_RANK": "0", "MASTER_ADDR": "h", "VLLM_SERVER_HOST": "h"}
    done = subprocess.run(["bash", tmp_path / "train.sh"], env=given, capture_output=True, text=True, check=True)
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


@pytest.mark.parametrize("name", GOOD)
def test_every_decision_is_carried(name: str, home: Path) -> None:
    plan = compiled(name, home).plan
    carried = {field for key in (*ms_swift.KEYS, *ENGINE) for field in key.fields}
    decided = [field for field in plan.decisions if plan.values[field] not in (None, ())]
    assert [field for field in decided if field not in carried and field not in ELSEWHERE] == []


def test_no_string_escapes_the_script(home: Path, tmp_path: Path) -> None:
    spec = copy.deepcopy(FILES["base"])
    evil = "data/a b'; touch pwned; $(touch pwned) `x`.jsonl"
    overlay(spec, {"data": {"train": evil}, "run": {"output_dir": "out'; touch pwned; '"}})
    (home / "evil.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    (one,) = api.compile(home / "evil.yaml", ["ms-swift"])
    assert f"--dataset {shlex.quote('../../' + evil)}" in one.files["train.sh"]
    (tmp_path / "swift").write_text(PRINT, encoding="utf-8")
    (tmp_path / "swift").chmod(0o755)
    (tmp_path / "train.sh").write_text(one.files["train.sh"], encoding="utf-8")
    subprocess.run(["bash", tmp_path / "train.sh"], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, stdout=-3)
    assert not list(tmp_path.glob("**/pwned"))


def test_the_readme_has_the_table_of_keys() -> None:
    """Written anew by putting `mapping_table(ms_swift.KEYS)` between the marks."""
    text = (Path(ms_swift.__file__).parent / "README.md").read_text(encoding="utf-8")
    table = text.partition("<!-- keys: generated from KEYS -->\n")[2].partition("<!-- end -->")[0]
    assert table == mapping_table(ms_swift.KEYS)


def test_keys_are_in_the_contracts() -> None:
    """Each flag is one of `swift rlhf` (or of 3.x, for its older name)."""
    for version, gone in (("4.6.0", {"train_type"}), ("3.12.6", {"tuner_type"})):
        known = contracts.load(f"ms-swift-rlhf-{version}")["properties"]
        assert {key.name for key in ms_swift.KEYS} - set(known) == gone
        assert not {name for name in ms_swift.UNMODELLED if name not in known} - {"experts_impl"}


def answer(rule: Rule, given: dict[str, Any]) -> Any:
    given = dict(given)
    profile = ms_swift.profile(given.pop("version", ms_swift.VERSIONS[0]), given.pop("packages", {}))
    env = environment(given)
    return rule.function(*({**env, "profile": profile}[name] for name in rule.reads))


@pytest.mark.parametrize(("rule", "case"), EACH)
def test_rule(rule: str, case: dict[str, Any]) -> None:
    got, expect = answer(RULES[rule], case["given"]), case["expect"]
    if RULES[rule].kind == "derive":
        assert got.value == expect["value"]
        assert expect.get("because", "") in got.because
    elif expect == "silent":
        assert got is None
    else:
        assert got is not None, "the rule is silent"
        assert expect in got


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_every_rule_speaks_and_is_silent(rule: Rule) -> None:
    cases = CASES.get(rule.id, [])
    if rule.kind == "derive":
        assert len({repr(answer(rule, case["given"]).value) for case in cases}) >= 2
    else:
        assert {case["expect"] == "silent" for case in cases} == {True, False}
    assert rule.statement.endswith(".")
    assert rule.source
