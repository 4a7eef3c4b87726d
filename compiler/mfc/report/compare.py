"""Several plans of one spec side by side, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mfc.fields import MEANING
from mfc.planner.compare import differences
from mfc.planner.plan import Plan


def text(plans: Sequence[Plan]) -> str:
    """The comparison for people: what is the same, then each difference with every framework's reason."""
    found = differences(plans)
    unlike = {one.field for one in found}
    same = [name for name in MEANING if name not in unlike and _said(plans[0], name)]
    lines = [f"the same on all: {', '.join(f'{name} {_show(plans[0].decisions[name].value)}' for name in same)}"]
    width = max((len(plan.profile.target) for plan in plans), default=0)
    for heading, wanted in (("NOT the same experiment", True), ("where the plans differ, and why", False)):
        rows = [one for one in found if one.meaning == wanted]
        if rows:
            lines += ["", heading]
        for one in rows:
            lines.append(f"  {one.field}")
            for target, decision in one.decisions.items():
                lines.append(f"    {target:<{width}}  {_show(decision.value)}: {decision.because}")
    return "\n".join(lines) + "\n"


def _said(plan: Plan, name: str) -> bool:
    if name == "lora_rank" and plan.strategy.lora is None:
        return False
    return name in plan.decisions and plan.decisions[name].value is not None


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == "":
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
