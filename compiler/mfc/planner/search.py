"""The search: of all strategies that the rules allow and that fit, the fastest; of those that the model of time cannot
tell apart, the simplest.

Fields that can change the result of training come first and in a fixed order: the most faithful method, the largest
rank and the longest length of the ranges that the user gave, then the standard optimizer. Speed decides among the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from mfc import memory, speed
from mfc.fields import CHOICES, FIELDS, simplicity
from mfc.memory.costs import Costs, fixed_costs
from mfc.planner.space import BoundRule, Rejections, Walk, domain, facts, pruning
from mfc.problem import Problem
from mfc.profile import Profile
from mfc.rules.engine import Rule
from mfc.strategy import Strategy

# Of times that differ by less, the model of time cannot say which is shorter, and the strategy with the least machinery
# wins: its median error over published throughputs, mean over their sources (docs/speed-model.md; a test holds it).
SPEED_ERROR = 0.08
# Offload hangs on the host: published runs that offload take up to so much longer than predicted, as against runs of
# the same source that do not (benchmarks.score.throughput, `doubt`; a test holds it). A strategy that offloads has to
# promise that much more.
OFFLOAD_DOUBT = 1.34
*_SAID, _UNSAID = Strategy._fields  # the last is what no spec can say: it keeps its default
assert _UNSAID == "trained_blocks"
_STRATEGY = itemgetter(*_SAID)
_REST = frozenset(Costs._fields)  # what a run takes besides its peak
_OFFLOADED = itemgetter("offload_optimizer", "offload_parameters", "offload_activations")
_MACHINERY = tuple((field.name, field.machinery) for field in FIELDS if field.machinery)


class Candidate(NamedTuple):
    """One evaluated strategy: its fields, what it costs, and why it does not fit (empty when it does)."""

    env: Mapping[str, Any]
    upper_bytes: float  # the bound on what tensors need
    seconds_per_step: float
    refused: tuple[Rule, str] | None  # and the reason that it gave

    @property
    def fits(self) -> bool:
        """No rule about memory refuses it."""
        return self.refused is None


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

    def firsts(self, name: str) -> dict[Any, int]:
        """Where the best candidate with each value of a field stands, the best of all first."""
        last = len(self.candidates) - 1
        found = {each.env[name]: last - at for at, each in enumerate(reversed(self.candidates))}
        return dict(sorted(found.items(), key=itemgetter(1)))


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
    candidates = []
    for combination in walk:
        timed: speed.StepTime | None = None  # the same for all that differ by the micro-batch alone
        for strategy, env, refused in costing.judged(combination, walk.micro_batches(combination)):
            timed = timed or costing.clock.prepare(strategy)
            seconds = timed.at(env["micro_batch"], env["gradient_accumulation"])
            candidates.append(Candidate(env, env["upper_bytes"], seconds, refused))
    return candidates


class Costing:
    """What the strategies of one problem take on one target; what they share is computed once."""

    def __init__(self, problem: Problem, profile: Profile, rules: tuple[Rule, ...]) -> None:
        self.clock = speed.clock(problem, profile.stack)
        self._memory = preparer(problem, profile)
        self._fit = [step for step in pruning(rules)[len(CHOICES) + 1] if step[0].kind == "require"]
        self._of_tensors = [step for step in self._fit if not _REST.intersection(step[0].reads)]

    def judged(
        self, combination: Mapping[str, Any], sizes: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[Strategy, dict[str, Any], tuple[Rule, str] | None]]:
        """A combination with each of its micro-batches: what it needs, and the rule about memory that refuses it."""
        held: dict[bool, tuple[Strategy, memory.Prepared, dict[str, Any]]] = {}
        for size in sizes:
            accumulates = size["gradient_accumulation"] > 1  # of the sizes all that memory and time do not vary with
            if accumulates not in held:
                strategy, prepared = self._prepared({**combination, **size})
                held[accumulates] = (strategy, prepared, {**combination, **fixed_costs(prepared)._asdict()})
            strategy, prepared, rest = held[accumulates]
            env = {**rest, **size}
            env["upper_bytes"], env["held_bytes"] = prepared.bounds(size["micro_batch"])
            _wait(env, prepared)
            yield strategy, env, _refused(self._fit, env)

    def fits(self, combination: Mapping[str, Any], sizes: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a combination fits with any of its micro-batches.

        Of those that accumulate the smallest alone is asked, as the others need no less; and what tensors need before
        the rest is worked out.
        """
        smallest: dict[bool, Mapping[str, Any]] = {}
        for size in sizes:
            smallest.setdefault(size["gradient_accumulation"] > 1, size)
        return any(self._fits({**combination, **size}) for size in smallest.values())

    def _fits(self, env: dict[str, Any]) -> bool:
        _, prepared = self._prepared(env)
        env["upper_bytes"], env["held_bytes"] = prepared.bounds(env["micro_batch"])
        if _refused(self._of_tensors, env):
            return False
        env.update(fixed_costs(prepared)._asdict())
        _wait(env, prepared)
        return _refused(self._fit, env) is None

    def _prepared(self, env: Mapping[str, Any]) -> tuple[Strategy, memory.Prepared]:
        strategy = strategy_of(env)
        return strategy, self._memory.prepare(strategy)


def _wait(env: dict[str, Any], prepared: memory.Prepared) -> None:
    """Add to host memory what waits there for the backward pass."""
    if waiting := prepared.waiting(env["micro_batch"]):
        env["host_bytes"] += waiting
        env["save_host_bytes"] = max(env["save_host_bytes"], env["host_bytes"])


def _refused(fit: Sequence[BoundRule], env: Mapping[str, Any]) -> tuple[Rule, str] | None:
    """The first rule that says no, and why."""
    for rule, read in fit:
        if why := rule.function(*read(env)):
            return rule, why
    return None


def rank_candidates(candidates: Sequence[Candidate], objective: str) -> tuple[Candidate, ...]:
    """Best first: those that fit before those that do not, then by what the user asked for."""
    fastest: dict[int, float] = {}
    for candidate in candidates:
        if candidate.fits:
            group = simplicity("optimizer", candidate.env["optimizer"])
            fastest[group] = min(fastest.get(group, math.inf), _time(candidate))

    def order(candidate: Candidate) -> tuple[Any, ...]:
        env, time = candidate.env, _time(candidate)
        if not candidate.fits:
            return (1, _overshoot(candidate), time)
        faithful = simplicity("optimizer", env["optimizer"])
        if objective == "memory":
            return (0, faithful, candidate.upper_bytes, time)
        slow = time > (1 + SPEED_ERROR) * fastest[faithful]
        return (0, faithful, slow, 0 if slow else _machinery(candidate), time, candidate.upper_bytes)

    return tuple(sorted(candidates, key=order))


def _time(candidate: Candidate) -> float:
    """Seconds per step as the ranking takes them."""
    return candidate.seconds_per_step * (OFFLOAD_DOUBT if offloads(candidate) else 1.0)


def offloads(candidate: Candidate) -> bool:
    """Whether the host holds a part of the states, or what waits for the backward pass."""
    return bool(_OFFLOADED(candidate.env) != ("none", "none", "none"))


def _overshoot(candidate: Candidate) -> float:
    """What one takes beyond what there is, as shares of a GPU's budget and of host memory, added up."""
    env = candidate.env
    over: float = max(max(candidate.upper_bytes, env["load_gpu_bytes"]) / env["budget_bytes"] - 1, 0.0)
    room: int = env["hardware"].usable_host_bytes
    host = max(env["save_host_bytes"], env["load_host_bytes"])
    return over + max(host / room - 1, 0.0) if room else over


def strategy_of(env: Mapping[str, Any]) -> Strategy:
    """The neutral strategy that a complete assignment stands for."""
    return Strategy(*_STRATEGY(env))


def run_of(strategy: Strategy, problem: Problem, profile: Profile) -> memory.Run:
    """What the memory model needs to know of a strategy on a target."""
    return preparer(problem, profile).run(strategy)


def preparer(problem: Problem, profile: Profile) -> memory.Preparer:
    """The memory model of the strategies of a problem on a target."""
    hardware = problem.hardware
    return memory.Preparer(
        architecture=problem.model.architecture,
        gpu=hardware.gpu,
        gpus_per_node=hardware.gpus_per_node,
        stack=stack_of(problem, profile),
        limit_bytes=int(hardware.memory_bytes * (1 - problem.spec.strategy.headroom)),  # the budget
    )


# What the spec may pin of a runtime's numbers, and what the memory model calls it.
_PINNED = {
    "reduce_bucket_elements": "reduce_bucket_elements",
    "prefetch_bucket_elements": "prefetch_bucket_elements",
    "persistence_threshold_elements": "persistence_threshold_elements",
    "max_live_elements": "max_live_parameters",
    "overlap_comm": "overlap_comm",
}


def stack_of(problem: Problem, profile: Profile) -> memory.Stack:
    """How the target uses memory, with what the spec pins of it."""
    pinned = {there: problem.pins[name] for name, there in _PINNED.items() if name in problem.pins}
    return profile.stack._replace(**pinned) if pinned else profile.stack


def _machinery(candidate: Candidate) -> int:
    """What decides a tie: values beyond plain training, and an allocator at its limit."""
    env = candidate.env
    return at_the_limit(candidate) + sum(weights.get(env[name], 1) for name, weights in _MACHINERY)


def at_the_limit(candidate: Candidate) -> bool:
    """Whether the allocator would like more than the budget: it has to give free blocks back and ask anew, which costs
    time that no prediction counts.
    """
    return bool(candidate.env["held_bytes"] > candidate.env["budget_bytes"])
