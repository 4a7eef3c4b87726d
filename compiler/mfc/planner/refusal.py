"""When the rules leave nothing at all: which pins cannot go together, in one clear error."""

from __future__ import annotations

from mfc.errors import CannotExpress, MfcError, SpecError
from mfc.planner.space import Rejections
from mfc.problem import SPEC_PATHS, Problem
from mfc.target import Profile

NOTHING = "nothing is possible here: "
UNSUPPORTED = "support/"  # rules about what a framework can say: the error is that target's, not the spec's


class Refused(SpecError):
    """Pins that cannot go together, or one that is impossible here. `path` is the spec field to point at."""

    def __init__(self, path: str, text: str, allowed: str) -> None:
        super().__init__(text)
        self.path, self.text, self.allowed = path, text, allowed


def refusal(problem: Problem, profile: Profile, rejections: Rejections) -> MfcError:
    """The error for a problem of which the rules allow no strategy."""
    every = [(rule, reason, tuple(choices)) for rule, (reason, choices) in rejections.by_rule.items()]
    blamed = [entry for entry in every if all(name in problem.pins for name in entry[2])] or every
    # The rule that reads the most choices of the user's tells most.
    blamed.sort(key=lambda entry: (-sum(name in problem.origin for name in entry[2]), len(entry[2])))
    rule, reason, names = blamed[0]
    if rule.startswith(UNSUPPORTED):
        return CannotExpress(f"{profile.target} {profile.version} {reason}")
    pins = [name for name in names if name in problem.origin]
    said = " and ".join(f"{SPEC_PATHS[name]}: {written(problem.pins[name])}" for name in pins)
    reason = f"{reason} [{rule}]"
    if len(pins) > 1:
        places = ", ".join(f"{SPEC_PATHS[name]} at {problem.origin[name]}" for name in pins)
        text = f"{said} cannot go together: {reason} ({places})"
    else:
        text = f"{said} is impossible here: {reason}" if pins else f"{NOTHING}{reason}"
    loose = " or ".join(f"{SPEC_PATHS[name]}: auto" for name in pins if name in _FREE)
    return Refused(SPEC_PATHS[pins[-1]] if pins else "hardware", text, f"{loose} lets mfc choose" if loose else "")


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
