"""The space of strategies: one table of candidates, pruned by rules alone.

Fields are chosen one after the other; as soon as the fields that a rule reads are known it is applied, so an impossible
combination costs nothing further down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any

from mfc.fields import CANDIDATES, CHOICES, SECTIONS, SPEC_PATHS
from mfc.memory.costs import Costs
from mfc.problem import Problem
from mfc.profile import Profile
from mfc.rules.batch import divisors
from mfc.rules.engine import Rule, as_profile, schedule
from mfc.rules.packages import undeclared, without_package
from mfc.strategy import Strategy

_ASKED = {*CANDIDATES, *SPEC_PATHS, *SECTIONS}
FACTS = ("problem", "spec", "hardware", "gpu", "model", "architecture", "profile", "task", "world_size", "budget_bytes")
COSTS = ("upper_bytes", "held_bytes", *Costs._fields)
ANSWER = ("strategy", "memory", "speed")
# What the planner itself reads of an assignment.
_READ = {*Strategy._fields, *COSTS, "batch_size", "max_completion_length", "num_generations", "iterations"}

BoundRule = tuple[Rule, Callable[[Mapping[str, Any]], tuple[Any, ...]]]


@dataclass(slots=True)
class Rejections:
    """What the rules said no to while a space was walked, first reason of each."""

    # id -> the rule, its reason, what it read that a spec can set
    by_rule: dict[str, tuple[Rule, str, dict[str, Any]]] = field(default_factory=dict)
    by_value: dict[tuple[str, Any], tuple[Rule, str]] = field(default_factory=dict)

    def add(self, rule: Rule, reason: str, choice: str, env: Mapping[str, Any]) -> None:
        """Note one refusal; the first of each kind is kept."""
        if rule.id not in self.by_rule:
            self.by_rule[rule.id] = (rule, reason, {name: env[name] for name in rule.reads if name in _ASKED})
        if choice:
            self.by_value.setdefault((choice, env[choice]), (rule, reason))


def wanted(profile: Profile, rejections: Rejections) -> tuple[str, ...]:
    """Packages for want of which a rule said no, and of which the target's settings say nothing."""
    asked = dict.fromkeys(rule.package for rule, _, _ in rejections.by_rule.values() if rule.package)
    return tuple(package for package in asked if profile.target and undeclared(profile, package))


def needed(env: Mapping[str, Any], rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """Packages without which a rule would say no to these choices, and of which the target's settings say nothing."""
    profile: Profile = env["profile"]
    found = dict.fromkeys(
        rule.package
        for rule in rules
        if rule.package and undeclared(profile, rule.package)
        for without in [{**env, "profile": without_package(profile, rule.package)}]
        if rule.function(*(without[name] for name in rule.reads))
    )
    return tuple(found) if profile.target else ()


@lru_cache(maxsize=256)
def stages(rules: tuple[Rule, ...], order: tuple[str, ...] = CHOICES) -> tuple[tuple[BoundRule, ...], ...]:
    """The steps after the facts, after each choice, after the costs and after the answer."""
    provided = (FACTS, *((name,) for name in order), COSTS, ANSWER)
    return tuple(tuple((rule, _getter(rule.reads)) for rule in stage) for stage in schedule(rules, provided))


@lru_cache(maxsize=256)
def pruning(rules: tuple[Rule, ...], order: tuple[str, ...] = CHOICES) -> tuple[tuple[BoundRule, ...], ...]:
    """The stages as the search walks them: rules that refuse, and rules that derive what those or the planner read.

    The others wait for the winner.
    """
    needed = set(_READ)
    kept: list[tuple[BoundRule, ...]] = []
    for stage in reversed(stages(rules, order)):
        steps = []
        for rule, read in reversed(stage):
            if rule.kind == "require" or rule.writes in needed:
                needed.update(rule.reads)
                steps.append((rule, read))
        kept.append(tuple(reversed(steps)))
    return tuple(reversed(kept))


def facts(problem: Problem, profile: Profile) -> dict[str, Any]:
    """The fields that are known before anything is chosen."""
    hardware, spec = problem.hardware, problem.spec
    return {
        "problem": problem,
        "spec": spec,
        "hardware": hardware,
        "gpu": hardware.gpu,
        "model": problem.model,
        "architecture": problem.model.architecture,
        "profile": profile,
        "task": spec.train.task,
        "world_size": hardware.world_size,
        "budget_bytes": int(hardware.memory_bytes * (1 - spec.strategy.headroom)),
    }


def domain(name: str, problem: Problem, env: Mapping[str, Any]) -> Sequence[Any]:
    """The candidates of one field: its pin, what the target always has, its range's (greatest first) or the table's."""
    if name in problem.pins:
        return (problem.pins[name],)
    if name == "micro_batch":
        low, high = problem.ranges.get(name, (1, env["batch_size"]))
        share = max(env["batch_size"] * env["sequence_parallel"] // env["world_size"], 1)
        return [size for size in divisors(share) if low <= size <= high]
    if name in env["profile"].always:
        return (env["profile"].always[name],)
    if name in problem.ranges:
        low, high = problem.ranges[name]
        if name == "lora_rank":
            high = max(low, min(high, problem.model.architecture.hidden))
        if name == "max_length" and (longest := longest_row(problem)):
            high = max(low, min(high, longest))
        step = 256 if name == "max_length" else 8
        return [high, *range((high - 1) // step * step, low, -step), *((low,) if low < high else ())]
    if name == "max_length" and (longest := longest_row(problem)):
        return (min(longest, *CANDIDATES[name]),)
    return CANDIDATES[name]


def longest_row(problem: Problem) -> int | None:
    """The length above which no row of the data would gain anything; None where nothing was counted."""
    return None if problem.spec.train.task in ("ppo", "grpo") else problem.spec.data.longest


def walk(
    problem: Problem,
    start: Mapping[str, Any],
    rules: tuple[Rule, ...],
    fixed: Mapping[str, Any],
    out: Rejections,
    *,
    backwards: bool = False,
) -> Iterator[dict[str, Any]]:
    """Every assignment of all choices but micro_batch that the rules allow, given the facts in `start`.

    `fixed` narrows single fields to one value. What the rules refuse is noted in `out`. Candidates go from plain
    training to what saves memory, or `backwards`.
    """
    domains = {name: domain(name, problem, start) for name in CHOICES if name != "micro_batch"}
    domains.update((name, (value,)) for name, value in fixed.items())
    open_ = [name for name, values in domains.items() if len(values) > 1]
    single = [name for name in domains if name not in open_]
    steps = pruning(rules, (*single, *open_, "micro_batch"))
    env = dict(start)
    for depth, name in enumerate(("", *single)):
        if name:
            (env[name],) = domains[name]
        if not apply(steps[depth], env, problem.pins, name, out):
            return
    values = [(name, domains[name][::-1] if backwards else domains[name]) for name in open_]
    yield from _expand(problem.pins, steps[len(single) + 1 :], values, env, out)


def micro_batches(
    problem: Problem, env: Mapping[str, Any], rules: tuple[Rule, ...], out: Rejections
) -> Iterator[dict[str, Any]]:
    """The assignment completed by each micro-batch that the rules allow."""
    steps = pruning(rules)[len(CHOICES)]
    for size in domain("micro_batch", problem, env):
        child = {**env, "micro_batch": size}
        if apply(steps, child, problem.pins, "micro_batch", out):
            yield child


def apply(
    steps: Sequence[BoundRule], env: dict[str, Any], pins: Mapping[str, Any], choice: str, out: Rejections
) -> bool:
    """Run the rules of one stage on `env`, filling what they derive. False when one refuses."""
    profile = env["profile"]
    for rule, read in steps:
        if written := rule.writes:
            if written in pins:
                env[written] = pins[written]
            else:
                answer = rule.function(*read(env))
                settled = written in profile.always or written in profile.usual
                env[written] = (as_profile(profile, written, answer) if settled else answer).value
        elif rule.kind == "require":
            reason = rule.function(*read(env))
            if reason is not None:
                out.add(rule, reason, choice, env)
                return False
    return True


def _expand(
    pins: Mapping[str, Any],
    steps: Sequence[Sequence[BoundRule]],
    open_: Sequence[tuple[str, Sequence[Any]]],
    env: dict[str, Any],
    out: Rejections,
) -> Iterator[dict[str, Any]]:
    """What becomes of an assignment of all choices but these, with the steps after each."""
    if not open_:
        yield env
        return
    name, values = open_[0]
    for value in values:
        child = {**env, name: value}
        if apply(steps[0], child, pins, name, out):
            yield from _expand(pins, steps[1:], open_[1:], child, out)


def _getter(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) == 1:
        (name,) = names
        return lambda env: (env[name],)
    return itemgetter(*names) if names else lambda _: ()
