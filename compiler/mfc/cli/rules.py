"""`mfc rules`: every rule with its statement and its source."""

from __future__ import annotations

import click

from mfc.cli import options
from mfc.errors import SpecError


@click.command()
@click.argument("word", required=False)
@options.target
@options.as_format
def command(word: str | None, target: str | None, form: str) -> int:
    """List the rules, those of one target with --target, or those whose id contains WORD."""
    from mfc import target as registry
    from mfc.rules import RULES

    targets = [target] if target else registry.names()
    every = (*RULES, *(rule for name in targets for rule in registry.get(name).RULES))
    found = [rule for rule in dict.fromkeys(every) if word is None or word in rule.id]
    if word and not found:
        raise SpecError(f"error: no rule whose id contains {word!r}; mfc rules lists all")
    if form == "json":
        names = ("id", "kind", "statement", "source", "reads", "writes")
        print(options.dump([{name: getattr(rule, name) for name in names} for rule in found]))
        return 0
    for rule in found:
        decides = f" -> {rule.writes}" if rule.writes else ""
        print(f"{rule.id} ({rule.kind}{decides})\n  {rule.statement}\n  {rule.source}")
    return 0
