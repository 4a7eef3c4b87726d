"""Values: what a plan or its spec says of a field, what stands at a dotted key, and when two values are one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.catalog.parameters import adapters

if TYPE_CHECKING:
    from mfc.planner.plan import Plan


def held(plan: Plan, field: str) -> Any:
    """What a plan says of a field or of a part of it, by number in a list; of a path, what its spec says.

    Of what a list is too short for it says None: a plan may be made before there is data.
    """
    head, *parts = field.split(".")
    if head in plan.values:
        value = plan.values[head]
    elif parts:
        value = getattr(plan.problem.spec, head)
    else:
        value = getattr(plan.strategy, head)
    for part in parts:
        if part.isdigit() and int(part) >= len(value):
            return None
        value = value[int(part)] if part.isdigit() else getattr(value, part)
    return value


def adapted(plan: Plan) -> list[str]:
    """Names of the linears that get adapters, as the model calls them: those that memory was counted for."""
    assert plan.strategy.lora is not None
    found = adapters(
        plan.problem.model.architecture,
        plan.strategy.lora,
        fused_experts=plan.profile.stack.fused_experts,
        expert_adapters=plan.profile.stack.expert_adapters,
    )
    return list(dict.fromkeys(one.linear.name for one in found if not one.linear.fused_expert))


def at_key(data: Any, key: str) -> Any:
    """The value at a dotted key. Raises KeyError."""
    for part in key.split("."):
        if not isinstance(data, Mapping):
            raise KeyError(key)
        data = data[part]
    return data


def equal(one: Any, other: Any) -> bool:
    """Whether two values are one: lists and tuples are alike, true is not 1."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
