"""The closed world: what a plan decides, and what the spec alone says, is said in the files, or the compile is refused.

A key that is in a file carries its fields; one that its codec leaves out says by that what it would have said; one
whose condition does not hold says so of the fields that the condition is about. Else the target says in `ELSEWHERE`
where a decision is. The neutral value of a field, which is what plain training does, needs no saying.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mfc.errors import CannotExpress, Fault
from mfc.fields import NEUTRAL
from mfc.target.values import at_key, held

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.target import File, Lowered, Target

# What only the spec says, with the values that need no saying.
_SPEC_ALONE = {
    "model.revision": (None,),
    "model.adapter": (None,),
    "data.eval": (None, "none", 0.0),
    "train.preference.reference": ("auto",),
    "train.rollout.server.host": ("none",),
}


def check(lowered: Lowered, plan: Plan, target: Target) -> None:
    """Raise Fault for decisions that nothing carries, CannotExpress for what the spec alone says and no key does."""
    carried = {name for file in lowered.files for name in _carried(file, plan)} | target.ELSEWHERE.keys()
    unsaid = [name for name in plan.decisions if name not in carried and not _silent(name, plan)]
    if unsaid:
        said = ", ".join(f"{name} ({plan.values[name]})" for name in unsaid)
        raise Fault(
            f"error: target {target.NAME} writes no file that says what the plan decides: {said}\n"
            "  a key of the target has to carry it, or its ELSEWHERE to tell where it is said (a fault of the target's)"
        )
    for path, silent in _SPEC_ALONE.items():
        if path not in carried and (value := held(plan, path)) not in silent:
            raise CannotExpress(f"{target.NAME} {plan.profile.version} has no way to say {path}: {value}")


def _carried(file: File, plan: Plan) -> Iterator[str]:
    """The fields that one file tells of. Raises Fault when a key that was written is no longer there."""
    for names in file.cites.values():
        yield from names
    for key in file.said.keys if file.said else ():
        if file.said and key.name in file.said.cites:
            try:
                at_key(file.said.data, key.name)
            except KeyError:
                raise Fault(f"error: {file.path}: {key.name} was written and taken out again") from None
            yield from key.fields
        elif key.when is None or key.when(plan):
            yield from key.fields
        else:
            yield from key.when.tells


def _silent(name: str, plan: Plan) -> bool:
    """Whether a decision needs no saying: an empty one, and the neutral value, which is what plain training does."""
    value = plan.values[name]
    return value in ("", ()) or value in NEUTRAL.get(name, ())
