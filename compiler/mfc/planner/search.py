"""The search: of all strategies that the rules allow and that fit, the fastest; of those that the model of time cannot
tell apart, the simplest.

Fields that can change the result of training come first and in a fixed order: the most faithful method, the largest
rank and the longest length of the ranges that the user gave, then the standard optimizer. Speed decides among the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from mfc.planner.costing import Candidate, Costing, at_the_limit
from mfc.planner.space import Rejections, Walk, domain, facts
from mfc.problem import Problem
from mfc.profile import Profile
from mfc.rules.engine import Rule

# Of times that differ by less, the model of time cannot say which is shorter, and the strategy with the least machinery
# wins: its median error over published throughputs, mean over their sources (docs/speed-model.md; a test holds it).
SPEED_ERROR = 0.08
# Offload hangs on the host: published runs that offload take up to so much longer than predicted, as against runs of
# the same source that do not (benchmarks.score.throughput, `doubt`; a test holds it). A strategy that offloads has to
# promise that much more.
OFFLOAD_DOUBT = 1.34


class Outcome(NamedTuple):
    """All that was evaluated at the winning quality, best first, with what the rules refused on the way."""

    candidates: tuple[Candidate, ...]
    rejections: Rejections
    evaluated: int
    passed_over: tuple[Candidate, ...] = ()  # the nearest to fitting of each more faithful choice of which none fits

    @property
    def best(self) -> Candidate | None:
        """The winner, or the candidate nearest to fitting; None when the rules allow nothing at all."""
        return self.candidates[0] if self.candidates else None

    def firsts(self, names: Iterable[str]) -> dict[str, dict[Any, int]]:
        """For each of some searched fields, where the best candidate with each value stands, the best of all first."""
        last = len(self.candidates) - 1
        # Of candidates that only the micro-batch tells apart, where the best stands.
        alike = {id(each.common): last - at for at, each in enumerate(reversed(self.candidates))}
        places = sorted(alike.values(), reverse=True)
        envs = [self.candidates[at].common.env for at in places]
        found = {}
        for name in names:
            if name == "micro_batch":
                firsts = {each.size[name]: last - at for at, each in enumerate(reversed(self.candidates))}
            else:
                firsts = dict(zip([env[name] for env in envs], places, strict=True))
            found[name] = dict(sorted(firsts.items(), key=itemgetter(1)))
        return found


def search(problem: Problem, profile: Profile, rules: tuple[Rule, ...]) -> Outcome:
    """Find the best strategy for a problem on one target."""
    return _Search(problem, facts(problem, profile), rules).outcome()


def fits(problem: Problem, profile: Profile, rules: tuple[Rule, ...]) -> bool:
    """Whether the best that `search` finds fits: told sooner, from the leanest strategy to the first that fits."""
    costing = Costing(problem, profile, rules)
    walks = _leanest_first(problem, profile, rules)
    return any(costing.fits(one, walk.micro_batches(one)) for walk in walks for one in walk)


def allowed(problem: Problem, profile: Profile, rules: tuple[Rule, ...]) -> bool:
    """Whether `search` finds anything at all, fitting or not: the rules allow some strategy."""
    return any(walk.finds() for walk in _leanest_first(problem, profile, rules))


def _leanest_first(problem: Problem, profile: Profile, rules: tuple[Rule, ...]) -> Iterator[Walk]:
    """Walks at both ends of the ranges: what fits between them, the least fits as well."""
    start = facts(problem, profile)

    def ends(name: str) -> tuple[Any, ...]:
        values = domain(name, problem, start)
        return tuple(dict.fromkeys((values[-1], values[0])))

    for method in domain("method", problem, start):
        for rank in ends("lora_rank") if method != "full" else domain("lora_rank", problem, start)[:1]:
            for length in ends("max_length"):
                fixed = {"method": method, "lora_rank": rank, "max_length": length}
                yield Walk(problem, start, rules, fixed, Rejections(), backwards=True)


class _Search:
    """One search: what is looked for, and what was met on the way."""

    def __init__(self, problem: Problem, start: Mapping[str, Any], rules: tuple[Rule, ...]) -> None:
        self.problem, self.start, self.rules = problem, start, rules
        self.rejections, self.evaluated = Rejections(), 0

    def outcome(self) -> Outcome:
        """The best at the most faithful method that fits, or at the least faithful one when none does."""
        last: tuple[Candidate, ...] = ()
        nearest: list[Candidate] = []
        for method in domain("method", self.problem, self.start):
            found = self.with_method(method)
            if found and found[0].fits:
                return Outcome(found, self.rejections, self.evaluated, tuple(nearest))
            nearest += found[:1]
            last = found or last
        return Outcome(last, self.rejections, self.evaluated, tuple(nearest))

    def with_method(self, method: str) -> tuple[Candidate, ...]:
        """The candidates at the greatest rank that fits, and of it the greatest length."""
        ranks = domain("lora_rank", self.problem, self.start)
        return longest(ranks if method != "full" else ranks[:1], partial(self.with_rank, method))

    def with_rank(self, method: str, rank: int) -> tuple[Candidate, ...]:
        """The candidates at the greatest length that fits."""
        return longest(domain("max_length", self.problem, self.start), partial(self.with_length, method, rank))

    def with_length(self, method: str, rank: int, length: int) -> tuple[Candidate, ...]:
        """The candidates at one length, best first."""
        fixed = {"method": method, "lora_rank": rank, "max_length": length}
        found = evaluate(self.problem, self.start, self.rules, fixed, self.rejections)
        self.evaluated += len(found)
        return rank_candidates(found, self.problem.spec.objective)


def longest(lengths: Sequence[int], at: Callable[[int], tuple[Candidate, ...]]) -> tuple[Candidate, ...]:
    """The candidates at the greatest length (or rank) that has one which fits, at the least when none does.

    `lengths` fall; what fits at one length fits at every shorter one, so the place is found by halving.
    """
    low, high = 0, len(lengths) - 1
    found = at(lengths[0])
    if high == 0 or (found and found[0].fits):
        return found
    best = at(lengths[high])
    if not (best and best[0].fits):
        return best
    while high - low > 1:
        middle = (low + high) // 2
        found = at(lengths[middle])
        if found and found[0].fits:
            best, high = found, middle
        else:
            low = middle
    return best


def evaluate(
    problem: Problem,
    start: Mapping[str, Any],
    rules: tuple[Rule, ...],
    fixed: Mapping[str, Any],
    rejections: Rejections,
) -> list[Candidate]:
    """Memory and time of every strategy that the rules allow, given the `fixed` fields."""
    walk = Walk(problem, start, rules, fixed, rejections)
    costing = Costing(problem, start["profile"], rules)
    return [one for each in walk for one in costing.candidates(each, walk.micro_batches(each))]


def rank_candidates(candidates: Sequence[Candidate], objective: str) -> tuple[Candidate, ...]:
    """Best first: those that fit before those that do not, then by what the user asked for."""
    fastest: dict[int, float] = {}
    for candidate in candidates:
        if candidate.fits:
            faithful = candidate.common.faithful
            fastest[faithful] = min(fastest.get(faithful, math.inf), trusted_seconds(candidate))

    def order(candidate: Candidate) -> tuple[Any, ...]:
        time = trusted_seconds(candidate)
        if not candidate.fits:
            return (1, _overshoot(candidate), time)
        faithful = candidate.common.faithful
        if objective == "memory":
            return (0, faithful, candidate.upper_bytes, time)
        slow = time > (1 + SPEED_ERROR) * fastest[faithful]
        return (0, faithful, slow, 0 if slow else _machinery(candidate), time, candidate.upper_bytes)

    return tuple(sorted(candidates, key=order))


def trusted_seconds(candidate: Candidate) -> float:
    """Seconds per step as the ranking takes them."""
    return candidate.seconds_per_step * (OFFLOAD_DOUBT if candidate.common.offloads else 1.0)


def _machinery(candidate: Candidate) -> int:
    """What decides a tie: values beyond plain training, and an allocator at its limit."""
    return candidate.common.machinery + at_the_limit(candidate)


def _overshoot(candidate: Candidate) -> float:
    """What one takes beyond what there is, as shares of a GPU's budget and of host memory, added up."""
    env = candidate.common.env
    over: float = max(max(candidate.upper_bytes, env["load_gpu_bytes"]) / env["budget_bytes"] - 1, 0.0)
    room: int = env["hardware"].usable_host_bytes
    host = max(candidate.value("save_host_bytes"), env["load_host_bytes"])
    return over + max(host / room - 1, 0.0) if room else over
