"""Chat templates: compiling needs one, planning does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mfc.errors import Refused

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

_SHOWN = 12  # names in an error


def need_template(plan: Plan, names: Iterable[str]) -> None:
    """Refuse to write files for a chat template that nothing tells; memory and time do not hang on it, so plans do.

    `names` are those that the framework has; the error shows those that begin as the model's family does. Raises
    Refused.
    """
    if plan.values["template"]:
        return
    model = plan.problem.model
    known = sorted(names)
    like = [name for name in known if name[:4] == model.architecture.family[:4]] or known
    some = ", ".join(like[:_SHOWN]) + (" ..." if len(like) > _SHOWN else "")
    raise Refused(
        "data.template",
        f"nothing says which chat template {model.name} was trained with, and a wrong one spoils it",
        f"set data.template to one of the {len(known)} that {plan.profile.target} has: {some}",
    )
