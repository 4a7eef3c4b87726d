"""The user's own native keys (`targets.<name>.extra`): which may pass, and whether the memory bound still holds.

Three classes: keys that mfc writes itself (an error that names the spec field to use), keys that may change memory
and are not modelled (the target's UNMODELLED: passed, the plan is no longer verified), and the rest. A key that carries
nothing which this plan decides is the user's, though other plans write it: `loss_type` of DPO, in a plan for GRPO.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.fields import BY_NAME, CANDIDATES
from mfc.spec.native import joined, leaves
from mfc.strategy import Strategy

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.spec.load import LoadedSpec
    from mfc.spec.models import TargetSpec
    from mfc.target import Target
    from mfc.target.keys import Key

_ALWAYS = {*Strategy._fields, *CANDIDATES}  # fields that every plan settles: what is left out is settled by that


def check(target: Target, settings: TargetSpec, loaded: LoadedSpec, plan: Plan) -> tuple[Mapping[str, Any], bool]:
    """The native keys to pass to `Target.lower`, and whether the plan is still verified with them.

    Raises SpecError, with the line of the spec, for a key that mfc owns.
    """
    for section in ("extra", "extra_unchecked"):
        for path in leaves(getattr(settings, section)):
            if fields := _owner(target, path, plan):
                raise loaded.error(
                    f"targets.{target.NAME}.{section}.{path}",
                    f"{path} is written by mfc",
                    hint=instead(fields),
                )
    risky = any(_unmodelled(target, path) for path in leaves(settings.extra))
    return joined(settings.extra, settings.extra_unchecked), not (risky or settings.extra_unchecked)


def _unmodelled(target: Target, path: str) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in target.UNMODELLED)


def _owner(target: Target, path: str, plan: Plan) -> tuple[str, ...]:
    """The plan fields carried by the key of mfc's that this path would write over, or write into."""
    for key in target.KEYS:
        meant = key.name == path or path.startswith(key.name + ".") or key.name.startswith(path + ".")
        if meant and _ours(key, plan):
            return key.fields or ("",)
    return ()


def _ours(key: Key, plan: Plan) -> bool:
    """Whether a plan writes a key, or says by leaving it out what the key is about."""
    if key.when is None or key.when(plan):
        return True
    heads = {field.partition(".")[0] for field in key.fields}
    return any(head in plan.decisions or head in _ALWAYS or head not in BY_NAME for head in heads)


def instead(fields: tuple[str, ...]) -> str:
    """Where in the spec to say it."""
    from mfc.fields import place

    named = list(dict.fromkeys(filter(None, map(place, fields))))
    return f"set {' or '.join(named)} in the spec" if named else "it follows from the rest of the spec"
