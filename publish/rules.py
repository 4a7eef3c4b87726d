"""The catalogue of rules, core first, then what single targets add."""

from __future__ import annotations

from collections.abc import Iterable

from mfc import target as registry
from mfc.rules import RULES
from mfc.rules.engine import Rule

from publish.markdown import table

TITLES = {
    "en": ("rule", "kind", "decides", "statement", "source"),
    "zh": ("规则", "类型", "决定", "陈述（英文）", "出处"),
}
ADDED = {"en": "Only for {name}", "zh": "仅用于 {name}"}


def built(language: str) -> str:
    """A table for each family."""
    groups = {f"`{family}`": rules for family, rules in _families(RULES).items()}
    core = {*RULES}
    for name in registry.names():
        own = [rule for rule in registry.get(name).RULES if rule not in core]
        if own:
            groups[ADDED[language].format(name=name)] = own
    parts = []
    for title, rules in groups.items():
        parts += [f"## {title}\n", table(TITLES[language], map(_row, rules))]
    return "\n".join(parts)


def _families(rules: Iterable[Rule]) -> dict[str, list[Rule]]:
    """Rules by the family that their id begins with."""
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        found.setdefault(rule.id.partition("/")[0], []).append(rule)
    return found


def _row(rule: Rule) -> tuple[str, ...]:
    decides = f"`{rule.writes}`" if rule.writes else ""
    return f"`{rule.id}`", rule.kind, decides, rule.statement, rule.source
