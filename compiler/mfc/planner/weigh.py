"""Why the winner has its value of a searched field: what was weighed, in numbers and in words that last.

Seconds and GiB move a little with every better model, so they are for `mfc explain`; what outputs carry is the gist,
which changes only when the choice, or what it was about, does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfc.fields import CANDIDATES, CHOICES, SPEC_PATHS, field, simplicity
from mfc.planner.costing import Candidate, at_the_limit
from mfc.planner.plan import Decision
from mfc.planner.search import Outcome
from mfc.planner.space import Rejections, Walk, domain, facts
from mfc.problem import Problem
from mfc.rules.engine import NO_OTHER, Rule

GIB = 2**30
SEARCH = "the search over all strategies that the rules allow"
_SHOWN = 4  # rivals in one reason
_SAME = 0.01  # times that differ by less are the same to a reader


class Weighing:
    """The winner of a search against the best strategies with other values of one field."""

    def __init__(self, problem: Problem, outcome: Outcome, rules: tuple[Rule, ...]) -> None:
        self.problem, self.outcome, self.rules = problem, outcome, rules
        self.best = outcome.candidates[0]
        self.env = self.best.env
        self._firsts = outcome.firsts(name for name in CHOICES if name not in problem.pins)

    def decision(self, name: str) -> Decision:
        """Why the winner has its value of a field that no pin decides."""
        value = self.env[name]
        if name == "method":
            return self._method(value)
        if rivals := self._rivals(name):
            numbers = "; ".join(_beside(name, self.best, other, one) for other, one in list(rivals.items())[:_SHOWN])
            return Decision(name, value, "search", f"{self._head()}; {numbers}", SEARCH, gist=self._gist(name, rivals))
        if name in self.problem.ranges:
            return Decision(name, value, "search", self._of_range(name), SEARCH)
        others = [other for other in domain(name, self.problem, self.env) if other != value]
        for other in sorted(others, key=lambda other: simplicity(name, other)):
            if refused := self._refused(name, other):
                rule, reason = refused
                who = f"{self.env['profile'].target} " if rule.blames == "target" else ""
                return Decision(name, value, rule.id, who + reason, rule.source)
        if name in self.env["profile"].always:
            return Decision(name, value, "always", NO_OTHER, "the target's profile")
        if CANDIDATES[name] == (value,):
            return Decision(name, value, "default", f"the default of {SPEC_PATHS[name]}", "the spec")
        if name == "max_length" and (longest := self.problem.spec.data.lengths):
            return Decision(name, value, "search", f"the longest row has {longest.quantiles[-1]:,} tokens", SEARCH)
        return Decision(name, value, "search", "the only candidate", SEARCH)

    def _rivals(self, name: str) -> dict[Any, Candidate]:
        """The best candidate with each other value."""
        found = self._firsts[name]
        return {value: self.outcome.candidates[at] for value, at in found.items() if value != self.env[name]}

    def _refused(self, name: str, other: Any) -> tuple[Rule, str] | None:
        """The rule that forbids another value in this very plan, all other choices being the winner's."""
        kept = {choice: self.env[choice] for choice in CHOICES if choice not in (name, "micro_batch")}
        rejections = Rejections()
        start = facts(self.problem, self.env["profile"])
        if Walk(self.problem, start, self.rules, {**kept, name: other}, rejections).finds():
            return None
        rule, reason, _ = next(iter(rejections.by_rule.values()))
        return rule, reason

    def _method(self, value: Any) -> Decision:
        """Methods are tried one after the other, the most faithful first."""
        head = "the most faithful that fits" if self.best.fits else "the nearest to fitting"
        failed = {one.value("method"): one for one in self.outcome.passed_over if one.value("method") != value}
        numbers = [_beside("method", self.best, other, one) for other, one in failed.items()]
        return Decision("method", value, "search", "; ".join([head, *numbers]), SEARCH, gist=head)

    def _of_range(self, name: str) -> str:
        low, high = self.problem.ranges[name]
        return f"the largest that fits between {low} and {high}" if self.best.fits else f"the least of {low} to {high}"

    def _head(self) -> str:
        return f"the best at {self.best.seconds_per_step:.3g} s a step" if self.best.fits else "the nearest to fitting"

    def _gist(self, name: str, rivals: Mapping[Any, Candidate]) -> str:
        """What the choice was about."""
        best, value = self.best, self.env[name]
        fitting = {other: rival for other, rival in rivals.items() if rival.fits}
        if not best.fits:
            return "nothing fits: this comes nearest"
        if name == "micro_batch":
            larger = [other for other in rivals if other > value]
            if not larger:
                return "all that one GPU has of the batch"
            faster = [_gain(best, fitting[other]) < -_SAME for other in larger if other in fitting]
            if not faster:
                return "the largest that fits"
            return "larger ones are not clearly faster" if any(faster) else "larger ones are no faster"
        if not fitting:
            return "the others do not fit" if simplicity(name, value) == 0 else "without it nothing fits"
        if name == "optimizer":
            return "the standard one, and there is room"
        simpler = [other for other in fitting if simplicity(name, other) < simplicity(name, value)]
        if not simpler:
            slower = all(_gain(best, rival) > _SAME for rival in fitting.values())
            return "the others are slower" if slower else "the simplest, and none is clearly faster"
        if all(_gain(best, fitting[other]) > _SAME for other in simpler):
            return "faster, and there is room"
        if any(at_the_limit(fitting[other]) for other in simpler):
            return "about as fast, and further from the limit of memory"
        return "about as fast, with the least machinery over all"


def _gain(best: Candidate, rival: Candidate) -> float:
    """By how much slower a rival is, as a share."""
    return rival.seconds_per_step / best.seconds_per_step - 1


def _beside(name: str, best: Candidate, value: Any, rival: Candidate) -> str:
    """One rival in numbers."""
    other = str(value).lower() if field(name).speaks else f"{name} {value}".lower()
    if not best.fits:
        return f"{other} needs up to {rival.upper_bytes / GIB:.2f} GiB"
    if rival.refused is not None:
        return f"{other} {rival.refused[1]}"
    gain = _gain(best, rival)
    if name == "optimizer":
        return f"{other}, which may train differently, is not needed"
    if gain <= -_SAME and rival.common.offloads and not best.common.offloads:
        return f"{other} would gain {-gain:.0%}, were offload as quick as estimated"
    if gain <= -_SAME:
        return f"{other} would gain {-gain:.0%}, less than the estimate errs by, by more machinery or memory"
    return f"{other} is as fast" if gain < _SAME else f"{other} is {gain:.0%} slower"
