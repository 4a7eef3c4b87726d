"""What a prediction owes a trace: the peak, every moment near it, and the kind of moment that the peak is."""

from __future__ import annotations

import re
from collections.abc import Mapping

PEAK, MOMENT = 0.03, 0.05  # how far the peak may be off, and a moment near it
NEAR = 0.8  # share of the peak from which on a moment is near it

# Of mfc's phases and of traced moments alike, the first that fits.
KINDS = (
    ("optimizer", r"^(optimizer|step)"),
    ("rollout", r"^(rollout|generation)"),
    ("reference", r"^reference"),
    ("forward", r"^forward|forward$|^head gathered"),
    ("tower", r"tower|mining"),
    ("layers", r"layer"),
    ("embedding", r"embedding"),
    ("loss backward", r""),
)


def kind_of(moment: str) -> str:
    """One word for a moment, mfc's or a trace's."""
    return next(kind for kind, pattern in KINDS if re.search(pattern, moment))


def by_kind(moments: Mapping[str, int]) -> dict[str, int]:
    """The most of each kind of moment."""
    made: dict[str, int] = {}
    for name, size in moments.items():
        made[kind_of(name)] = max(made.get(kind_of(name), 0), size)
    return made


def errors(predicted: Mapping[str, int], traced: Mapping[str, int]) -> dict[str, float]:
    """How far mfc is off in percent, of the peak and by kind of moment near it, and of rollouts; both given by kind.

    A kind near the peak that mfc does not know counts as its next lower one: it is -100 % off.
    """
    peak = max(traced.values())
    made = {"peak": max(predicted.values()) / peak - 1}
    for kind, size in traced.items():
        if size >= NEAR * peak or kind == "rollout":
            made[kind] = predicted.get(kind, 0) / size - 1
    return {what: round(100 * error, 1) for what, error in made.items()}


def faults(predicted: Mapping[str, int], traced: Mapping[str, int]) -> dict[str, float]:
    """Of these errors the ones that the law forbids. `kind`: the moment that mfc takes for the peak is far below it."""
    found = errors(predicted, traced)
    made = {what: off for what, off in found.items() if abs(off) > 100 * (PEAK if what == "peak" else MOMENT)}
    peak, named = max(traced.values()), max(predicted, key=lambda kind: predicted[kind])
    below = traced.get(named, 0) / peak - 1
    if below < -PEAK:
        made["kind"] = round(100 * below, 1)
    return made


def on_host(predicted: int, traced: int) -> dict[str, float]:
    """How far mfc is off in percent of what waits in host memory, which has a moment's tolerance."""
    return {"host": round(100 * (predicted / traced - 1), 1)}
