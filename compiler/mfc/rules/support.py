"""What a framework can say at all. A target states it in its profile; these rules hold a plan to that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.rules.engine import Rule
from mfc.rules.words import listed

if TYPE_CHECKING:
    from mfc.profile import Profile

FIELDS = (
    "task",
    "schedule",
    "preference_loss",
    "method",
    "lora_variant",
    "precision",
    "quantization",
    "sharding",
    "offload_optimizer",
    "offload_parameters",
    "sequence_parallel",
    "attention",
    "loss",
    "optimizer",
    "gradient_checkpointing",
    "packing",
    "overlong",
    "report_to",
    "existing",
)


def supported(field: str) -> Rule:
    """The rule that the value of `field` is one that the framework can express."""

    def check(profile: Profile, value: Any) -> str | None:
        known = profile.supports.get(field)
        said = getattr(value, "kind", value)  # a quantization is known by its number format
        if known is None or said is None or said in known:
            return None
        note = profile.notes.get(field, "")
        value = str(said).lower() if isinstance(said, bool) else said  # as the spec would have it
        return f"has no {field} {value}; it knows {listed(known, 'and')}" + (f" ({note})" if note else "")

    return Rule(
        id=f"support/{field.replace('_', '-')}",
        kind="require",
        statement=f"The framework can express the plan's {field}.",
        source="the target's profile, by framework version",
        reads=("profile", field),
        writes="",
        function=check,
    )


RULES = tuple(supported(field) for field in FIELDS)
