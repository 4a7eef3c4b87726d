"""What strategies take: memory and time of each, and the rule about memory that refuses it.

Everything that strategies have in common is worked out once: what only the micro-batch changes is a line in it, and
where states lie decides neither what layers keep nor how long they compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from mfc import memory, speed
from mfc.fields import CHOICES, FIELDS, simplicity
from mfc.memory.costs import Costs, fixed_costs
from mfc.planner.space import BoundRule, Getter, pruning
from mfc.problem import Problem
from mfc.profile import Profile
from mfc.rules.engine import Rule
from mfc.strategy import Strategy

*_SAID, _UNSAID = Strategy._fields  # the last is what no spec can say: it keeps its default
assert _UNSAID == "trained_blocks"
_STRATEGY = itemgetter(*_SAID)
_REST = frozenset(Costs._fields)  # what a run takes besides its peak
_PEAK = frozenset(("upper_bytes", "held_bytes"))
_OFFLOADED = itemgetter("offload_optimizer", "offload_parameters", "offload_activations")
_MACHINES = itemgetter(*(field.name for field in FIELDS if field.machinery))
_WEIGHTS = tuple(field.machinery for field in FIELDS if field.machinery)


class Common(NamedTuple):
    """What strategies have in common that only the micro-batch tells apart, all or none of which accumulate."""

    env: Mapping[str, Any]  # their fields, and what they cost whatever the micro-batch
    faithful: int  # of the optimizer: 0 is the standard one
    offloads: bool  # the host holds a part of the states, or what waits for the backward pass
    machinery: int  # values beyond plain training


def _common(env: Mapping[str, Any]) -> tuple[int, bool, int]:
    """What `Common` says of the fields of a combination."""
    return (
        simplicity("optimizer", env["optimizer"]),
        _OFFLOADED(env) != ("none", "none", "none"),
        sum([weights.get(value, 1) for value, weights in zip(_MACHINES(env), _WEIGHTS, strict=True)]),
    )


class Candidate(NamedTuple):
    """One evaluated strategy: its fields, what it costs, and which rule about memory refuses it, if any does."""

    common: Common
    size: Mapping[str, Any]  # its own fields: the micro-batch and what follows from it
    upper_bytes: float  # the bound on what tensors need
    held_bytes: float
    seconds_per_step: float
    refuser: Rule | None

    @property
    def env(self) -> dict[str, Any]:
        """All fields."""
        return {**self.common.env, **self.size, "upper_bytes": self.upper_bytes, "held_bytes": self.held_bytes}

    @property
    def fits(self) -> bool:
        """No rule about memory refuses it."""
        return self.refuser is None

    @property
    def refused(self) -> tuple[Rule, str] | None:
        """The rule that refuses it, and its reason; None when it fits."""
        if self.refuser is None:
            return None
        env = self.env
        return self.refuser, self.refuser.function(*[env[name] for name in self.refuser.reads])

    def value(self, name: str) -> Any:
        """One field."""
        return self.size[name] if name in self.size else self.common.env[name]


def at_the_limit(candidate: Candidate) -> bool:
    """Whether the allocator would like more than the budget: it has to give free blocks back and ask anew, which costs
    time that no prediction counts.
    """
    return bool(candidate.held_bytes > candidate.common.env["budget_bytes"])


Placed = tuple[int, Rule, Getter]  # a rule's place among all, and what it reads


class _Held(NamedTuple):
    """A combination that accumulates gradients, or one that does not."""

    prepared: memory.Prepared
    common: Common
    scratch: dict[str, Any]  # the fields, those of one size after the other with them
    standing: tuple[int, Rule | None]  # the first rule that refuses it whatever the size, and its place
    varying: Sequence[Placed]  # rules that hang on the size


class Costing:
    """What the strategies of one problem take on one target."""

    def __init__(self, problem: Problem, profile: Profile, rules: tuple[Rule, ...]) -> None:
        self._clock = speed.clock(problem, profile.stack)
        self._memory = preparer(problem, profile)
        self._fit = [step for step in pruning(rules)[len(CHOICES) + 1] if step[0].kind == "require"]
        self._of_tensors = [step for step in self._fit if not _REST.intersection(step[0].reads)]
        self._costs: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._parts: dict[tuple[str, ...], tuple[Sequence[Placed], Sequence[Placed]]] = {}

    def candidates(self, combination: dict[str, Any], sizes: Sequence[Mapping[str, Any]]) -> Iterator[Candidate]:
        """A combination with each of its micro-batches; `combination` is used up."""
        held: dict[bool, _Held] = {}
        timed: speed.StepTime | None = None  # the same for all that differ by the micro-batch alone
        common = _common(combination)
        for size in sizes:
            micro_batch, accumulation = size["micro_batch"], size["gradient_accumulation"]
            accumulates = accumulation > 1  # all of it that memory varies with
            if accumulates not in held:
                combination.update(size)
                strategy = strategy_of(combination)
                timed = timed or self._clock.prepare(strategy)
                held[accumulates] = self._held(combination, size, strategy, common)
            assert timed is not None
            prepared, shared, scratch, standing, varying = held[accumulates]
            upper, most = prepared.bounds(micro_batch)
            waiting = prepared.waiting(micro_batch)
            own = {**size, **_waits(shared.env, waiting)} if waiting else size
            scratch.update(own)
            scratch["upper_bytes"], scratch["held_bytes"] = upper, most
            refuser = _first(self._fit, scratch) if waiting else _refuser(varying, standing, scratch)
            yield Candidate(shared, own, upper, most, timed.at(micro_batch, accumulation), refuser)

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
        prepared = self._memory.prepare(strategy_of(env))
        env["upper_bytes"], env["held_bytes"] = prepared.bounds(env["micro_batch"])
        if _first(self._of_tensors, env):
            return False
        env.update(self._fixed(prepared))
        if waiting := prepared.waiting(env["micro_batch"]):
            env.update(_waits(env, waiting))
        return _first(self._fit, env) is None

    def _held(
        self, combination: Mapping[str, Any], size: Mapping[str, Any], strategy: Strategy, common: tuple[int, bool, int]
    ) -> _Held:
        prepared = self._memory.prepare(strategy)
        env = {**combination, **self._fixed(prepared)}
        fixed, varying = self._parted(tuple(size))
        standing: tuple[int, Rule | None] = len(self._fit), None
        for place, rule, read in fixed:
            if rule.function(*read(env)):
                standing = place, rule
                break
        return _Held(prepared, Common(env, *common), dict(env), standing, varying)

    def _parted(self, sized: tuple[str, ...]) -> tuple[Sequence[Placed], Sequence[Placed]]:
        """The rules that say the same of every size, and the others; `sized` are the fields that a size sets."""
        if sized not in self._parts:
            every = [(place, rule, read) for place, (rule, read) in enumerate(self._fit)]
            varies = _PEAK.union(sized)
            fixed = [each for each in every if varies.isdisjoint(each[1].reads)]
            self._parts[sized] = fixed, [each for each in every if each not in fixed]
        return self._parts[sized]

    def _fixed(self, prepared: memory.Prepared) -> dict[str, Any]:
        """What a run takes besides its peak: it hangs on where states lie, and on how the base is stored and read."""
        strategy = prepared.run.strategy
        at = id(prepared.placement), strategy.method, strategy.precision, strategy.quantization, prepared.factor
        if at not in self._costs:
            self._costs[at] = fixed_costs(prepared)._asdict()
        return self._costs[at]


def _waits(env: Mapping[str, Any], waiting: int) -> dict[str, Any]:
    """Host memory with what waits there for the backward pass."""
    kept = env["host_bytes"] + waiting
    return {"host_bytes": kept, "save_host_bytes": max(env["save_host_bytes"], kept)}


def _first(fit: Sequence[BoundRule], env: Mapping[str, Any]) -> Rule | None:
    """The first rule that says no."""
    return next((rule for rule, read in fit if rule.function(*read(env))), None)


def _refuser(varying: Sequence[Placed], standing: tuple[int, Rule | None], env: Mapping[str, Any]) -> Rule | None:
    """The same, when it is known which is the first of those that no size changes."""
    for place, rule, read in varying:
        if place > standing[0]:
            break
        if rule.function(*read(env)):
            return rule
    return standing[1]


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
