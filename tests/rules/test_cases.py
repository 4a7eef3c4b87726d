"""Every rule on small problems: the core's from tests/cases/rules, a target's from its rules.yaml.

The core's cases are one file per family; a target's name their rules in full.
"""

from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mfc import target
from mfc.planner.space import stages
from mfc.rules import RULES
from mfc.rules.engine import Rather, Rule
from mfc.target import Target

from tests import tables
from tests.rules.given import answer
from tests.targets.cases import table

FOLDER = Path(__file__).parent.parent / "cases" / "rules"


class Owner(NamedTuple):
    """Whose rules they are, and the cases of each."""

    rules: tuple[Rule, ...]
    cases: dict[str, list[dict[str, Any]]]
    target: Target | None = None


def core() -> Owner:
    files = {path.stem: tables.table(path) for path in sorted(FOLDER.glob("*.yaml"))}
    cases = {f"{family}/{name}": each for family, rules in files.items() for name, each in rules.items()}
    return Owner(RULES, cases)


OWNERS = {"core": core()}
OWNERS |= {name: Owner(target.get(name).RULES, table(name, "rules.yaml"), target.get(name)) for name in target.names()}


EACH_CASE = [
    pytest.param(name, rule, case, id=f"{name}-{rule}-{number}")
    for name, owner in OWNERS.items()
    for rule, cases in owner.cases.items()
    for number, case in enumerate(cases)
]
EACH_RULE = [pytest.param(name, rule, id=f"{name}-{rule.id}") for name, owner in OWNERS.items() for rule in owner.rules]


@pytest.mark.parametrize(("owner", "rule_id", "case"), EACH_CASE)
def test_case(owner: str, rule_id: str, case: dict[str, Any]) -> None:
    (rule,) = (rule for rule in OWNERS[owner].rules if rule.id == rule_id)
    got, expect = answer(rule, case["given"], OWNERS[owner].target), case["expect"]
    if rule.kind == "derive":
        value = asdict(got.value) if is_dataclass(got.value) and not isinstance(got.value, type) else got.value
        if isinstance(expect["value"], dict):
            value = {key: list(one) if isinstance(one := value[key], tuple) else one for key in expect["value"]}
        assert (list(value) if isinstance(value, tuple) else value) == expect["value"]
        assert expect.get("because", "") in got.because
    elif expect == "silent":
        assert got is None
    else:
        assert got is not None, "the rule is silent"
        assert expect in str(got)


@pytest.mark.parametrize(("owner", "rule"), EACH_RULE)
def test_every_rule_speaks_and_is_silent(owner: str, rule: Rule) -> None:
    cases = OWNERS[owner].cases.get(rule.id, [])
    if rule.kind == "derive":
        answers = {repr(answer(rule, case["given"], OWNERS[owner].target).value) for case in cases}
        assert len(answers) >= 2, "a derive rule needs two cases that it answers differently"
    else:
        silent = [case["expect"] == "silent" for case in cases]
        assert any(silent), "no case in which the rule is silent"
        assert not all(silent), "no case in which the rule speaks"


@pytest.mark.parametrize(("owner", "rule"), EACH_RULE)
def test_rules_say_what_they_are(owner: str, rule: Rule) -> None:
    assert rule.statement.endswith(".")
    assert len(rule.statement) <= 140
    assert rule.source
    assert (rule.kind == "derive") == bool(rule.writes)


@pytest.mark.parametrize("owner", OWNERS)
def test_cases_are_of_rules_that_exist(owner: str) -> None:
    assert OWNERS[owner].cases.keys() <= {rule.id for rule in OWNERS[owner].rules}


@pytest.mark.parametrize("owner", OWNERS)
def test_every_rule_has_its_id_and_stage_and_every_field_one_writer(owner: str) -> None:
    rules = RULES if owner == "core" else (*RULES, *OWNERS[owner].rules)
    assert len({rule.id for rule in rules}) == len(rules), "two rules have one id"
    assert sum(len(stage) for stage in stages(rules)) == len(rules)


@pytest.mark.parametrize("owner", OWNERS)
def test_reasons_are_one_line_without_full_stop(owner: str) -> None:
    rules, cases, of = OWNERS[owner]
    for rule in rules:
        for case in cases[rule.id]:
            got = answer(rule, case["given"], of)
            said = str(got) if isinstance(got, Rather) else getattr(got, "because", got)
            assert said is None or ("\n" not in said and not said.endswith((".", " "))), (rule.id, said)
