"""The space of strategies: one table of candidates, pruned by rules alone.

Fields are chosen one after the other; as soon as the fields that a rule reads are known it is applied, so an impossible
combination costs nothing further down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, overload

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
_READ = {
    *(*Strategy._fields, *COSTS, "batch_size"),
    *("max_prompt_length", "max_completion_length", "num_generations", "iterations"),
}

Getter = Callable[[Mapping[str, Any]], tuple[Any, ...]]
BoundRule = tuple[Rule, Getter]
Stage = tuple[tuple[BoundRule, ...], tuple[str, ...], Getter]  # rules, fields that they write, choices they hang on


@dataclass(slots=True)
class Rejections:
    """What the rules said no to while a space was walked, first reason of each."""

    # id -> the rule, its reason, what it read that a spec can set
    by_rule: dict[str, tuple[Rule, str, dict[str, Any]]] = field(default_factory=dict)

    def add(self, rule: Rule, reason: str, env: Mapping[str, Any]) -> None:
        """Note one refusal; the first of each rule is kept."""
        if rule.id not in self.by_rule:
            self.by_rule[rule.id] = (rule, reason, {name: env[name] for name in rule.reads if name in _ASKED})


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


@lru_cache(maxsize=1024)
def shared(
    rules: tuple[Rule, ...], order: tuple[str, ...], open_: tuple[str, ...], pins: frozenset[str]
) -> tuple[Stage, ...]:
    """The stages of `pruning` after each open choice and after the micro-batch, with what each writes and hangs on.

    A rule is a pure function: with the facts and all other choices fixed, what a stage says hangs on the open choices
    alone from which its rules' fields come, and on its own.
    """
    steps = pruning(rules, order)
    hangs: dict[str, frozenset[str]] = {name: frozenset((name,)) for name in open_}
    nothing: frozenset[str] = frozenset()
    found: list[Stage] = []
    names = ("", *order)
    for name, stage in zip(names, steps[: len(names)], strict=True):
        on = hangs.get(name, nothing)
        if name == "micro_batch":  # which may be as many as the batch has divisors
            on = on.union(*(hangs.get(read, nothing) for read in ("batch_size", "sequence_parallel")))
        for rule, _ in stage:
            came = nothing.union(*(hangs.get(read, nothing) for read in rule.reads))
            on |= came
            if rule.writes and rule.writes not in pins:
                hangs[rule.writes] = came
        if name in open_ or name == "micro_batch":
            writes = tuple(rule.writes for rule, _ in stage if rule.writes)
            found.append((stage, writes, _getter(tuple(each for each in open_ if each in on))))
    return tuple(found)


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


class Falling(Sequence[int]):
    """What a range lets the search try, the greatest first: multiples of `step` between its ends, and these.

    A range may be as wide as it likes: its values are made when they are asked for.
    """

    def __init__(self, low: int, high: int, step: int) -> None:
        self._ends: tuple[int, ...] = (high, low) if low < high else (high,)
        self._between = range((high - 1) // step * step, low, -step)

    def __len__(self) -> int:
        return len(self._ends) + len(self._between)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        if place == 0:
            return self._ends[0]
        return self._between[place - 1] if place <= len(self._between) else self._ends[1]


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
        return Falling(low, high, 256 if name == "max_length" else 8)
    if name == "max_length" and (longest := longest_row(problem)):
        return (min(longest, *CANDIDATES[name]),)
    return CANDIDATES[name]


def longest_row(problem: Problem) -> int | None:
    """The length above which no row of the data would gain anything; None where nothing was counted."""
    return None if problem.spec.train.task in ("ppo", "grpo") else problem.spec.data.longest


class _Stage:
    """The rules after one choice. What they say is worked out once for all assignments that agree in `key`."""

    def __init__(self, stage: Stage, pins: Mapping[str, Any], out: Rejections) -> None:
        self._steps, self._writes, self._key = stage
        self._pins, self._out = pins, out
        self._known: dict[Any, dict[str, Any] | None] = {}  # what they derive; None where one refuses

    def allows(self, env: dict[str, Any]) -> bool:
        """Whether no rule refuses `env`, which is given what they derive."""
        key = self._key(env)
        if key in self._known:
            written = self._known[key]
            if written:
                env.update(written)
            return written is not None
        allowed = apply(self._steps, env, self._pins, self._out)
        self._known[key] = {name: env[name] for name in self._writes} if allowed else None
        return allowed


class Walk:
    """Every assignment of all choices but micro_batch that the rules allow, given the facts in `start`.

    `fixed` narrows single fields to one value. What the rules refuse is noted in `out`. Candidates go from plain
    training to what saves memory, or `backwards`.
    """

    def __init__(
        self,
        problem: Problem,
        start: Mapping[str, Any],
        rules: tuple[Rule, ...],
        fixed: Mapping[str, Any],
        out: Rejections,
        *,
        backwards: bool = False,
    ) -> None:
        self._problem, self._start, self._out = problem, start, out
        domains = {
            name: (fixed[name],) if name in fixed else domain(name, problem, start)
            for name in CHOICES
            if name != "micro_batch"
        }
        self._open = [(name, values[:: -1 if backwards else 1]) for name, values in domains.items() if len(values) > 1]
        self._single = [(name, values[0]) for name, values in domains.items() if len(values) == 1]
        open_ = tuple(name for name, _ in self._open)
        order = (*(name for name, _ in self._single), *open_, "micro_batch")
        self._first = pruning(rules, order)[: len(self._single) + 1]
        *stages, (self._last, writes, self._batch_key) = shared(rules, order, open_, frozenset(problem.pins))
        self._sized = ("micro_batch", *writes)
        self._stages = [_Stage(stage, problem.pins, out) for stage in stages]
        self._tried = (fixed["micro_batch"],) if "micro_batch" in fixed else ()
        self._sizes: dict[Any, list[dict[str, Any]]] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        env = dict(self._start)
        for steps, (name, value) in zip(self._first, (("", None), *self._single), strict=True):
            if name:
                env[name] = value
            if not apply(steps, env, self._problem.pins, self._out):
                return
        if not self._open:
            yield env
            return
        tried: list[Iterator[Any]] = [iter(self._open[0][1])]
        while tried:  # the open choices, one within the other; what `env` has of the inner ones is left over
            depth = len(tried) - 1
            name, stage = self._open[depth][0], self._stages[depth]
            for value in tried[depth]:
                env[name] = value
                if stage.allows(env):
                    break
            else:
                tried.pop()
                continue
            if depth + 1 == len(self._open):
                yield dict(env)
            else:
                tried.append(iter(self._open[depth + 1][1]))

    def finds(self) -> bool:
        """Whether the rules allow any assignment, completed by a micro-batch."""
        return any(self.micro_batches(combination) for combination in self)

    def micro_batches(self, env: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """What completes an assignment: each micro-batch that the rules allow, with what they derive of it."""
        key = self._batch_key(env)
        if key not in self._sizes:
            found = []
            for size in self._tried or domain("micro_batch", self._problem, env):
                child = {**env, "micro_batch": size}
                if apply(self._last, child, self._problem.pins, self._out):
                    found.append({name: child[name] for name in self._sized})
            self._sizes[key] = found
        return self._sizes[key]


def apply(steps: Sequence[BoundRule], env: dict[str, Any], pins: Mapping[str, Any], out: Rejections) -> bool:
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
                out.add(rule, reason, env)
                return False
    return True


def _getter(names: tuple[str, ...]) -> Getter:
    if len(names) == 1:
        (name,) = names
        return lambda env: (env[name],)
    return itemgetter(*names) if names else lambda _: ()
