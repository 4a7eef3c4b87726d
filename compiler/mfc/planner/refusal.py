"""When the rules leave nothing at all: which pins cannot go together, in one clear error."""

from __future__ import annotations

import re
from typing import Any

from mfc.errors import CannotExpress, MfcError, Refused
from mfc.fields import CANDIDATES, RELAXED, SECTIONS, SPEC_PATHS
from mfc.planner.space import Rejections
from mfc.problem import Problem
from mfc.profile import Profile
from mfc.rules import packages

NOTHING = "nothing is possible here: "


def refusal(problem: Problem, profile: Profile, rejections: Rejections, cure: str = "") -> MfcError:
    """The error for a problem of which the rules allow no strategy. `cure` is a package that, once declared, mends it.

    The place in the spec is that of a choice of the user's, the hint what would change the answer.
    """
    asked = {*problem.pins, *problem.origin}
    every = [
        (rule, reason, tuple(name for name in read if name in CANDIDATES or name in problem.origin))
        for rule, reason, read in rejections.by_rule.values()
    ]
    blamed = [entry for entry in every if asked.issuperset(entry[2])] or every
    # The rule that reads the most choices of the user's tells most.
    blamed.sort(key=lambda entry: (-sum(name in problem.origin for name in entry[2]), len(entry[2])))
    rule, reason, names = blamed[0]
    if rule.blames == "target":
        hint = f"\n  hint: {_declare(profile, cure)}" if cure else ""
        return CannotExpress(f"{profile.target} {profile.version} {reason}{hint}")
    pins = [name for name in names if name in problem.origin]
    said = " and ".join(f"{problem.place(name)}: {_asked(problem, name)}" for name in pins)
    named = _FIELD.search(reason)
    reason = f"{reason} [{rule.id}]"
    if len(pins) > 1:
        places = ", ".join(f"{problem.place(name)} at {problem.origin[name]}" for name in pins)
        text = f"{said} cannot go together: {reason} ({places})"
    else:
        text = f"{said} is impossible here: {reason}" if pins else f"{NOTHING}{reason}"
    loose = " or ".join(f"{SPEC_PATHS[name]}: auto" for name in pins if name in (*RELAXED, "precision", "batch_size"))
    path = problem.place(pins[-1]) if pins else named[0] if named else "hardware"
    hints = [_declare(profile, cure)] if cure else []
    hints += [f"{loose} lets mfc choose"] if loose else []
    return Refused(path, text, "; or ".join(hints))


def _declare(profile: Profile, package: str) -> str:
    return f"if {package} is installed, say so: {packages.declaration(profile, package)}"


def _asked(problem: Problem, name: str) -> str:
    """What the spec says of a field: its pin, or what it sets in the section that the field is made of."""
    if name in problem.pins:
        return written(problem.pins[name])
    section: Any = problem.spec
    for part in SECTIONS[name].split("."):
        section = getattr(section, part)
    given = ", ".join(f"{key}: {written(getattr(section, key))}" for key in sorted(section.model_fields_set))
    return f"{{{given}}}"


def written(value: object) -> str:
    """A value as the spec would have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_FIELD = re.compile(r"\b(?:model|hardware|data|train|strategy|run)(?:\.[a-z_]+)+")  # a reason may say where to look
