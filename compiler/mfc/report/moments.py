"""What fills the card at each moment of a step, generation included."""

from __future__ import annotations

from collections.abc import Mapping

from mfc import memory
from mfc.planner.costing import run_of
from mfc.planner.plan import Plan


def moments(plan: Plan) -> dict[str, Mapping[str, int]]:
    """For each moment, in the order of a step, bytes by component; they add up to `memory.moments`."""
    predicted = plan.memory
    known = memory.parts(run_of(plan.strategy, plan.problem, plan.profile))
    beside = {name: predicted.components[name] for name in ("vLLM",) if name in predicted.components}
    found: dict[str, Mapping[str, int]] = {}
    for name, whole in predicted.moments.items():
        if name == predicted.moment:
            found[name] = predicted.components
        elif name in known:
            found[name] = _filled({**known[name], **beside}, whole)
        else:
            found[name] = {name: whole}
    return found


def _filled(parts: Mapping[str, int], whole: int) -> dict[str, int]:
    """Components of a moment with the free blocks that make up the rest of it."""
    rest = whole - sum(parts.values())
    return {**parts, "fragmentation": rest} if rest > 0 else dict(parts)
