"""Clashes: native keys of the user's own (`extra`) that cannot stand beside this plan.

A contract knows each key alone. What a framework's own reader checks between keys is a table of clashes, applied to the
whole of what is written; with it stand keys that would change what a field of the spec says, or that do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.errors import Refused

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

Data = Mapping[str, Any]


class Clash(NamedTuple):
    """A key of the user's, when the framework refuses it, why, and where its code says so."""

    key: str
    when: Callable[[Plan, Data], bool]
    text: str
    source: str
    instead: str = ""  # what says it so that the plan counts it; the framework itself would take the key


def refuse(clashes: Iterable[Clash], plan: Plan, data: Data) -> None:
    """Refuse the first key in `data`, the user's own, that clashes with the rest of it. Raises Refused."""
    for clash in clashes:
        if data.get(clash.key) not in (None, False) and clash.when(plan, data):
            raise Refused(
                f"targets.{plan.profile.target}.extra.{clash.key}",
                f"{clash.key}: {clash.text} ({clash.source})",
                f"set {clash.instead}" if clash.instead else "",
            )
