"""When nothing fits: the mildest changes to the spec that would, one at a time, then together.

Edits of one kind are ordered, so the mildest that fits is found by halving; that a stronger one fits where a milder one
does is held by a test, which tries them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple

from mfc.planner.changes import Change, Edit, changes, freed, smaller_models, with_batch
from mfc.planner.costing import Candidate
from mfc.planner.plan import Plan, Relaxation
from mfc.problem import Problem

SHOWN = 6


class Attempt(NamedTuple):
    """What comes of an edited spec. Whether it fits is told much sooner than by what, so halving asks that alone."""

    fits: Callable[[Edit], bool]  # False also where the edit makes no sense
    best: Callable[[Edit], Candidate | None]


def relaxations(problem: Problem, plan: Plan, packages: Sequence[str], attempt: Attempt) -> tuple[Relaxation, ...]:
    """Edits after which a plan fits; none when nothing that may be changed is enough, even together.

    Single changes come first, those that ask for no other machines before those that do. Where no single change of the
    spec alone is enough, several of them and a smaller model are looked for.
    """
    search = _Search(problem, attempt)
    kinds = changes(problem, plan, packages)
    free = [kind for kind in kinds if kind.free]
    found = _knobs(problem, search)
    found += [one for kind in free if (one := search.mildest(kind))]
    knobs = [Change((together,))] if (together := freed(problem)) else []
    if not found:
        found += [one for one in (search.together([*knobs, *free]), search.mildest(smaller_models(problem))) if one]
    for kind in kinds:
        if not kind.free and len(found) < SHOWN and (one := search.mildest(kind)):
            found.append(one)
    if not found and (one := search.together([*knobs, *kinds, smaller_models(problem)])):
        found.append(one)
    return tuple(found[:SHOWN])


def _knobs(problem: Problem, search: _Search) -> list[Relaxation]:
    """Pinned knobs that cost no result: each alone, else all of them."""
    together = freed(problem)
    alone = [one for path in together if (one := search.mildest(Change(({path: together[path]},))))]
    if alone or len(together) < 2:
        return alone
    return [one] if (one := search.mildest(Change((together,)))) else []


class _Search:
    """Edits that were tried, and what came of them."""

    def __init__(self, problem: Problem, attempt: Attempt) -> None:
        self.problem, self.attempt = problem, attempt
        self.known: dict[frozenset[tuple[str, Any]], bool] = {}

    def enough(self, edit: Edit) -> bool:
        """Whether the edited spec fits."""
        edit = with_batch(self.problem, edit)
        key = frozenset(edit.items())
        if key not in self.known:
            self.known[key] = self.attempt.fits(edit)
        return self.known[key]

    def relaxation(self, edit: Edit) -> Relaxation | None:
        """What an edit that is enough leads to."""
        edit = with_batch(self.problem, edit)
        best = self.attempt.best(edit)
        return Relaxation(dict(edit), int(best.upper_bytes), best.seconds_per_step) if best and best.fits else None

    def mildest(self, change: Change) -> Relaxation | None:
        """The mildest edit of a kind that is enough; None when its strongest is not."""
        if len(change.edits) == 1:
            return self.relaxation(change.edits[0])
        edit = self.least(change, {})
        return self.relaxation(edit) if edit is not None else None

    def least(self, change: Change, beside: Edit) -> Edit | None:
        """The mildest edit of a kind that is enough beside other edits, with those; None when its strongest is not."""
        edits = [{**beside, **edit} for edit in change.edits]
        if not edits or not self.enough(edits[-1]):
            return None
        low, high = 0, len(edits) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.enough(edits[middle]) else (middle + 1, high)
        return edits[low]

    def together(self, kinds: Sequence[Change]) -> Relaxation | None:
        """Changes that are enough together and of which none can be left out, each as mild as the others allow."""
        kept = [kind for kind in kinds if kind.edits]
        if not self.enough(_merged(kind.edits[-1] for kind in kept)):
            return None
        for kind in reversed(kept):
            rest = [other for other in kept if other is not kind]
            if rest and self.enough(_merged(other.edits[-1] for other in rest)):
                kept = rest
        for place, kind in reversed(list(enumerate(kept))):
            others = _merged(other.edits[-1] for other in kept if other is not kind)
            if mild := self.least(kind, others):
                kept[place] = Change(({path: mild[path] for path in kind.edits[-1]},))
        return self.relaxation(_merged(kind.edits[-1] for kind in kept))


def _merged(edits: Iterable[Edit]) -> Edit:
    return reduce(lambda made, edit: {**made, **edit}, edits, {})
