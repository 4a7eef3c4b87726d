"""What a framework can say at all. A target states it in its profile; these rules hold a plan to that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.fields import FIELDS, place
from mfc.rules.engine import Rule, require
from mfc.rules.words import listed

if TYPE_CHECKING:
    from mfc.catalog.gpu import Gpu
    from mfc.profile import Profile
    from mfc.spec.models import Spec


_LONG = 40  # characters of a value that an error shows
# What helps wherever a framework lacks something, for targets that say nothing better.
_INSTEAD = {"hub": "download the model first (modelscope download), then model: {id: its folder, like: its id}"}


def supported(field: str) -> Rule:
    """The rule that the value of `field` is one that the framework can express."""

    def check(profile: Profile, value: Any) -> str | None:
        known = profile.can(field)
        said = getattr(value, "kind", value)  # a quantization is known by its number format
        if said is None or said in known:
            return None
        note = profile.notes.get(field) or _INSTEAD.get(field)
        text = f"has no {field} {_spelt(said)}"
        text += f"; it knows {listed(map(_spelt, known), 'and')}" if known else ""
        return text + (f" ({note})" if note else "")

    return Rule(
        id=f"support/{field.replace('_', '-')}",
        kind="require",
        statement=f"The framework can express the plan's {field}.",
        source="the target's profile, by framework version",
        reads=("profile", field),
        writes="",
        function=check,
        blames="target",
    )


@require("the target's profile, by framework version", blames="target")
def vendor(profile: Profile, gpu: Gpu) -> str | None:
    """The framework runs on accelerators of this vendor."""
    known = profile.can("vendor")
    return None if gpu.vendor in known else f"runs on no {gpu.name}; it knows GPUs of {listed(known, 'and')}"


@require("the target's profile, by framework version", blames="target")
def always(profile: Profile, spec: Spec) -> str | None:
    """Where the framework's own code has one value alone, the spec asks for no other."""
    from mfc.spec.values import Range

    for name, value in profile.always.items():
        said = _said(spec, name)
        if isinstance(said, Range):
            said = value if said.min <= value <= said.max else f"from {said.min} to {said.max}"
        if said not in (None, "auto", value):
            return f"has no {name} {_spelt(said)}: it is always {_spelt(value)}; leave {place(name)} out"
    return None


def _said(spec: Spec, name: str) -> Any:
    """What the spec itself says of a field, as a plan has it; None where it leaves it at the language's default."""
    section: Any = spec
    *sections, last = place(name).split(".")
    for part in sections:
        section = getattr(section, part)
    if last not in section.model_fields_set:
        return None
    said = getattr(section, last)
    if last == "betas":  # two fields
        return said[("adam_beta1", "adam_beta2").index(name)]
    return ",".join(said) if type(said) is tuple else said


def _spelt(value: object) -> str:
    """A value as the spec would have it."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    text = str(value).lower() if isinstance(value, bool) else " ".join(str(value).split()).rstrip(".")
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


RULES = (*(supported(field.name) for field in FIELDS if field.neutral is not None and field.decided), vendor, always)
