"""Every rule on small problems, from tests/cases/rules: one file per family, one entry per rule."""

from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc.planner.space import stages
from mfc.rules import RULES

from tests.rules.given import environment

FOLDER = Path(__file__).parent.parent / "cases" / "rules"
BY_ID = {rule.id: rule for rule in RULES}
CASES: dict[str, list[dict[str, Any]]] = {
    f"{path.stem}/{name}": cases
    for path in sorted(FOLDER.glob("*.yaml"))
    for name, cases in yaml.safe_load(path.read_text(encoding="utf-8")).items()
}
EACH = [pytest.param(rule, case, id=f"{rule}-{number}") for rule in CASES for number, case in enumerate(CASES[rule])]


def answer(rule_id: str, case: dict[str, Any]) -> Any:
    rule, env = BY_ID[rule_id], environment(case["given"])
    return rule.function(*(env[name] for name in rule.reads))


@pytest.mark.parametrize(("rule_id", "case"), EACH)
def test_case(rule_id: str, case: dict[str, Any]) -> None:
    got, expect = answer(rule_id, case), case["expect"]
    if BY_ID[rule_id].kind == "derive":
        value = asdict(got.value) if is_dataclass(got.value) and not isinstance(got.value, type) else got.value
        if isinstance(expect["value"], dict):
            value = {key: value[key] for key in expect["value"]}
        assert (list(value) if isinstance(value, tuple) else value) == expect["value"]
        assert expect.get("because", "") in got.because
    elif expect == "silent":
        assert got is None
    else:
        assert got is not None, "the rule is silent"
        assert expect in got


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_speaks_and_is_silent(rule: Any) -> None:
    cases = CASES.get(rule.id, [])
    if rule.kind == "derive":
        answers = {repr(answer(rule.id, case)) for case in cases}
        assert len(answers) >= 2, "a derive rule needs two cases that it answers differently"
    else:
        silent = [case["expect"] == "silent" for case in cases]
        assert any(silent), "no case in which the rule is silent"
        assert not all(silent), "no case in which the rule speaks"


def test_cases_are_of_rules_that_exist() -> None:
    assert CASES.keys() <= BY_ID.keys()


def test_rules_say_what_they_are() -> None:
    assert len(BY_ID) == len(RULES), "two rules have one id"
    for rule in RULES:
        assert rule.statement.endswith("."), rule.id
        assert len(rule.statement) <= 140, rule.id
        assert rule.source, rule.id
        assert (rule.kind == "derive") == bool(rule.writes), rule.id


def test_every_field_has_one_writer_and_every_rule_a_stage() -> None:
    assert sum(len(stage) for stage in stages(RULES)) == len(RULES)


def test_reasons_are_one_line_without_full_stop() -> None:
    for rule_id, cases in CASES.items():
        for case in cases:
            got = answer(rule_id, case)
            said = getattr(got, "because", got)
            assert said is None or ("\n" not in said and not said.endswith((".", " "))), (rule_id, said)
