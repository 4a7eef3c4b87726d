"""Every rule of the two XTuner targets on small problems, from tests/cases/xtuner/rules.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc.rules.engine import Rule
from mfc.target import get

from tests.rules.given import environment

CASES: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parent.parent / "cases" / "xtuner" / "rules.yaml").read_text(encoding="utf-8")
)
RULES = {rule.id: (rule, get(name)) for name in ("xtuner", "xtuner-v1") for rule in get(name).RULES}
EACH = [pytest.param(rule, case, id=f"{rule}-{number}") for rule in CASES for number, case in enumerate(CASES[rule])]


def answer(name: str, given: dict[str, Any]) -> Any:
    rule, target = RULES[name]
    given = dict(given)
    profile = target.profile(target.VERSIONS[0], given.pop("packages", {}))
    env = environment(given)
    return rule.function(*({**env, "profile": profile}[field] for field in rule.reads))


@pytest.mark.parametrize(("name", "case"), EACH)
def test_case(name: str, case: dict[str, Any]) -> None:
    got, expect = answer(name, case["given"]), case["expect"]
    if RULES[name][0].kind == "derive":
        assert got.value == expect["value"]
        assert expect.get("because", "") in got.because
    elif expect == "silent":
        assert got is None
    else:
        assert got is not None, "the rule is silent"
        assert expect in got


@pytest.mark.parametrize("rule", [rule for rule, _ in RULES.values()], ids=lambda rule: rule.id)
def test_every_rule_speaks_and_is_silent(rule: Rule) -> None:
    cases = CASES[rule.id]
    if rule.kind == "derive":
        assert len({repr(answer(rule.id, case["given"]).value) for case in cases}) >= 2
    else:
        assert {case["expect"] == "silent" for case in cases} == {True, False}
    assert rule.statement.endswith(".")
    assert rule.source


def test_cases_are_of_rules_that_exist() -> None:
    assert CASES.keys() == RULES.keys()
