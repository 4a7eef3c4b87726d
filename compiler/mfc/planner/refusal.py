"""When the rules leave nothing at all: which pins cannot go together, in one clear error."""

from __future__ import annotations

from mfc.errors import CannotExpress, MfcError, SpecError
from mfc.planner.space import Rejections
from mfc.problem import SPEC_PATHS, Problem
from mfc.target import Profile

UNSUPPORTED = "support/"  # rules about what a framework can say: the error is that target's, not the spec's


def refusal(problem: Problem, profile: Profile, rejections: Rejections) -> MfcError:
    """The error for a problem of which the rules allow no strategy."""
    blamed = [
        (rule, reason, tuple(choices))
        for rule, (reason, choices) in rejections.by_rule.items()
        if all(name in problem.pins for name in choices)
    ] or [(rule, reason, tuple(choices)) for rule, (reason, choices) in rejections.by_rule.items()]
    # The rule that reads the most choices of the user's tells most.
    blamed.sort(key=lambda entry: (-sum(name in problem.origin for name in entry[2]), len(entry[2])))
    rule, reason, names = blamed[0]
    if rule.startswith(UNSUPPORTED):
        return CannotExpress(f"{profile.target} {profile.version} {reason}")
    pins = [name for name in names if name in problem.origin]
    where = problem.origin[pins[0]] + ": " if pins else ""
    said = " and ".join(f"{SPEC_PATHS[name]}: {written(problem.pins[name])}" for name in pins)
    if len(pins) > 1:
        places = ", ".join(f"{SPEC_PATHS[name]} is set at {problem.origin[name]}" for name in pins)
        text = f"{where}error: {said} cannot go together: {reason} [{rule}]\n  {places}"
    elif pins:
        text = f"{where}error: {said} is impossible here: {reason} [{rule}]"
    else:
        text = f"error: nothing is possible here: {reason} [{rule}]"
    loose = [f"  {SPEC_PATHS[name]}: auto would let mfc choose" for name in pins if name in _FREE]
    others = [f"  also: {why} [{other}]" for other, why, _ in blamed[1:4] if other != rule and not pins]
    return SpecError("\n".join([text, *others, *loose]))


def written(value: object) -> str:
    """A value as the spec would have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_FREE = {
    "precision",
    "sharding",
    "offload_optimizer",
    "offload_parameters",
    "micro_batch",
    "batch_size",
    "gradient_checkpointing",
    "attention",
    "loss",
    "optimizer",
    "sequence_parallel",
}
