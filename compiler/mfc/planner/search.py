"""The search: of all strategies that the rules allow and that fit, the fastest; of equals, the simplest.

Fields that can change the result of training come first and in a fixed order: the most faithful method, the largest
rank and the longest length of the ranges that the user gave, then the standard optimizer. Speed decides among the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mfc import memory, speed
from mfc.memory.costs import fixed_costs
from mfc.planner.space import (
    CANDIDATES,
    CHOICES,
    COSTS,
    BoundRule,
    Rejections,
    domain,
    facts,
    micro_batches,
    pruning,
    walk,
)
from mfc.problem import Problem
from mfc.profile import Profile
from mfc.rules.engine import Rule
from mfc.strategy import Strategy

# Times this close to the fastest are a tie, and the strategy with the least machinery wins: the speed model, whose
# median error is more than this, cannot promise that the others are any faster.
TIE = 1.10
# No published run tests the times of offload, which hang on the host: one that offloads must promise this much more.
OFFLOAD_DOUBT = 1.5
# How much machinery a value needs beyond plain training, for ties. Offload counts most: it costs host memory, CPU time
# and a compiler on the machine; gradient checkpointing is a flag.
MACHINERY: Mapping[str, Mapping[Any, int]] = {
    "sharding": {"ddp": 0, "zero1": 1, "zero2": 1, "zero3": 2, "fsdp2": 2},
    "offload_optimizer": {"none": 0, "cpu": 4, "nvme": 6},
    "offload_parameters": {"none": 0, "cpu": 4, "nvme": 6},
    "sequence_parallel": {1: 0, 2: 2, 4: 2, 8: 2},
    "attention": {"sdpa": 0, "flash": 1, "eager": 1},
    "loss": {"plain": 0, "fused": 1},
}


class Candidate(NamedTuple):
    """One evaluated strategy: its fields, what it costs, and why it does not fit (empty when it does)."""

    env: Mapping[str, Any]
    upper_bytes: float
    seconds_per_step: float
    refused: tuple[str, str] | None  # (rule id, reason)

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


def search(problem: Problem, profile: Profile, rules: tuple[Rule, ...]) -> Outcome:
    """Find the best strategy for a problem on one target."""
    start = facts(problem, profile)
    rejections, evaluated = Rejections(), 0
    last: tuple[Candidate, ...] = ()
    nearest: list[Candidate] = []
    for method in domain("method", problem, start):

        def at(rank: int, method: str = method) -> tuple[Candidate, ...]:
            def with_length(length: int) -> tuple[Candidate, ...]:
                nonlocal evaluated
                fixed = {"method": method, "lora_rank": rank, "max_length": length}
                found = evaluate(problem, start, rules, fixed, rejections)
                evaluated += len(found)
                return rank_candidates(found, problem.spec.objective)

            return longest(domain("max_length", problem, start), with_length)

        ranks = domain("lora_rank", problem, start)
        found = longest(ranks if method != "full" else ranks[:1], at)
        if found and found[0].fits:
            return Outcome(found, rejections, evaluated, tuple(nearest))
        nearest += found[:1]
        last = found or last
    return Outcome(last, rejections, evaluated, tuple(nearest))


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
    fit = [step for step in pruning(rules)[len(CHOICES) + 1] if step[0].kind == "require"]
    candidates = []
    for combination in walk(problem, start, rules, fixed, rejections):
        timed: speed.StepTime | None = None
        held: dict[bool, tuple[memory.Prepared, dict[str, int]]] = {}
        for env in micro_batches(problem, combination, rules, rejections):
            accumulates = env["gradient_accumulation"] > 1  # all of the two sizes that memory and time do not vary with
            if accumulates not in held:
                strategy = strategy_of(env)
                timed = timed or speed.prepare(strategy, problem, env["profile"].stack)
                prepared = memory.prepare(run_of(strategy, problem, env["profile"]))
                held[accumulates] = (prepared, dict(zip(COSTS[1:], fixed_costs(prepared), strict=True)))
            prepared, rest = held[accumulates]
            assert timed is not None
            upper = env["upper_bytes"] = prepared.upper(env["micro_batch"])
            env.update(rest)
            seconds = timed.at(env["micro_batch"], env["gradient_accumulation"])
            candidates.append(Candidate(env, upper, seconds, _refused(fit, env)))
    return candidates


def _refused(fit: Sequence[BoundRule], env: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first rule that says no, and why."""
    for rule, read in fit:
        if why := rule.function(*read(env)):
            return rule.id, why
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
            return (1, candidate.upper_bytes, time)
        faithful = simplicity("optimizer", env["optimizer"])
        if objective == "memory":
            return (0, faithful, candidate.upper_bytes, time)
        slow = time > TIE * fastest[faithful]
        return (0, faithful, slow, 0 if slow else _machinery(candidate), time, candidate.upper_bytes)

    return tuple(sorted(candidates, key=order))


def _time(candidate: Candidate) -> float:
    """Seconds per step as the ranking takes them."""
    env = candidate.env
    offloads = env["offload_optimizer"] != "none" or env["offload_parameters"] != "none"
    return candidate.seconds_per_step * (OFFLOAD_DOUBT if offloads else 1.0)


def strategy_of(env: Mapping[str, Any]) -> Strategy:
    """The neutral strategy that a complete assignment stands for."""
    return Strategy(
        task=env["task"],
        method=env["method"],
        precision=env["precision"],
        sharding=env["sharding"],
        world_size=env["world_size"],
        max_length=env["max_length"],
        micro_batch=env["micro_batch"],
        gradient_accumulation=env["gradient_accumulation"],
        gradient_checkpointing=env["gradient_checkpointing"],
        attention=env["attention"],
        loss=env["loss"],
        optimizer=env["optimizer"],
        offload_optimizer=env["offload_optimizer"],
        offload_parameters=env["offload_parameters"],
        sequence_parallel=env["sequence_parallel"],
        packing=env["packing"],
        lora=env["lora"],
        quantization=env["quantization"],
        freeze_parts=env["freeze_parts"],
        trainable_layers=env["trainable_layers"],
        reference_model=env["reference_model"],
        rollout=env["rollout"],
    )


def run_of(strategy: Strategy, problem: Problem, profile: Profile) -> memory.Run:
    """What the memory model needs to know of a strategy on a target."""
    hardware = problem.hardware
    return memory.Run(
        architecture=problem.model.architecture,
        strategy=strategy,
        gpu=hardware.gpu,
        gpus_per_node=hardware.gpus_per_node,
        stack=profile.stack,
        limit_bytes=int(hardware.memory_bytes * (1 - problem.spec.strategy.headroom)),  # the budget
    )


def _machinery(candidate: Candidate) -> int:
    """What decides a tie: values beyond plain training, and a bound at the limit."""
    env = candidate.env
    return at_the_limit(candidate) + sum(weights.get(env[name], 1) for name, weights in MACHINERY.items())


def at_the_limit(candidate: Candidate) -> bool:
    """Whether the bound is cut off at the budget: there the allocator has to give free blocks back and ask anew, which
    costs time that no prediction counts.
    """
    return bool(candidate.upper_bytes > candidate.env["budget_bytes"] - 1)  # bytes; the bound is not rounded


def simplicity(name: str, value: Any) -> int:
    """How far a value is from the simplest one of its field."""
    values = CANDIDATES[name]
    return values.index(value) if value in values else len(values)
