"""One spec, several frameworks: where their plans differ and why, and that they mean the same experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfc.fields import CANDIDATES, MEANING, SPEC_PATHS, field
from mfc.planner.plan import Decision, Plan


@dataclass(frozen=True, slots=True)
class Difference:
    """One field on which plans do not agree. `decisions` are by target, in the order of the plans."""

    field: str
    decisions: Mapping[str, Decision]
    meaning: bool  # it belongs to what the user means

    @property
    def values(self) -> dict[str, Any]:
        """The value on each target."""
        return {target: decision.value for target, decision in self.decisions.items()}


def differences(plans: Sequence[Plan]) -> tuple[Difference, ...]:
    """The fields that all plans decide and not all alike: first what the user means, then the rest in plan order.

    A field that only some frameworks have is no difference: the others have nothing to say about it.
    """
    if len(plans) < 2:
        return ()
    first, *others = plans
    found = []
    for name in first.decisions:
        if not field(name).compared or any(name not in other.decisions for other in others):
            continue
        if any(other.decisions[name].value != first.decisions[name].value for other in others):
            decided = {plan.profile.target: plan.decisions[name] for plan in plans}
            found.append(Difference(name, decided, name in MEANING))
    return tuple(sorted(found, key=lambda one: not one.meaning))


def common(plans: Sequence[Plan]) -> dict[str, Any]:
    """Spec edits after which the plans mean the same; empty when they do.

    Lengths, ranks and methods that were left to mfc become the least of the plans', which fits on all; other fields
    those of the first plan.
    """
    edits = {}
    for one in differences(plans):
        if one.meaning and one.field in SPEC_PATHS:
            values = list(one.values.values())
            edits[SPEC_PATHS[one.field]] = _least(one.field, values)
    return edits


def _least(name: str, values: list[Any]) -> Any:
    if name == "method":
        return max(values, key=CANDIDATES["method"].index)
    return min(values) if name in ("max_length", "lora_rank") else values[0]
