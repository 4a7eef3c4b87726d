"""The search finds what brute force finds, on problems drawn at random: all that there is, judged and ranked anew."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

import pytest
from mfc import memory, speed
from mfc.api import load
from mfc.fields import CANDIDATES, CHOICES, EVERYTHING, FIELDS
from mfc.memory.costs import fixed_costs
from mfc.memory.stack import Stack
from mfc.planner import layouts
from mfc.planner.costing import run_of, strategy_of
from mfc.planner.search import fits, search
from mfc.planner.space import COSTS, Rejections, apply, domain, facts, stages
from mfc.problem import Problem
from mfc.profile import Profile
from mfc.resolve import resolve
from mfc.rules import RULES

PROFILE = Profile("", "", Stack(), EVERYTHING)
MODELS = ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-7B", "meta-llama/Llama-3.1-8B", "mistralai/Mixtral-8x7B-v0.1")
GPUS = ("GTX 1080 Ti", "T4", "RTX 3090", "RTX 4090", "A100 SXM 80GB")
PINS: dict[str, tuple[Any, ...]] = {
    "strategy.sharding": ("auto", "ddp", "zero2", "zero3"),
    "strategy.attention": ("sdpa", "eager"),
    "strategy.gradient_checkpointing": ("auto", "true"),
    "strategy.loss": ("auto", "plain"),
    "strategy.optimizer": ("adamw", "auto"),
    "strategy.sequence_parallel": (1, 1, "auto"),
    "strategy.offload.parameters": ("none", "auto"),
    "train.precision": ("auto", "auto", "fp32"),
    "train.method": ("full", "lora", "qlora", "auto"),
    "data.max_length": (512, 2048, "{min: 512, max: 1280}"),
}


RANKS: dict[str, tuple[Any, ...]] = {
    **PINS,
    "train.method": ("lora", "qlora"),
    "train.lora.rank": ("{min: 8, max: 24}", "{min: 16, max: 256}"),
    "strategy.sharding": ("ddp", "zero2", "zero3"),
    "data.max_length": (512, 8192),
}
OFFLOAD: dict[str, tuple[Any, ...]] = {
    **PINS,
    "strategy.sharding": ("zero2", "zero3", "fsdp2"),
    "strategy.offload.optimizer": ("auto", "cpu", "none"),
    "strategy.offload.parameters": ("auto",),
    "strategy.offload.activations": ("auto", "cpu"),
    "strategy.gradient_checkpointing": ("true",),
    "train.method": ("full", "lora"),
    "data.max_length": (2048,),
}
ROLLOUTS: dict[str, tuple[Any, ...]] = {
    **PINS,
    "train.task": ("grpo",),
    "train.rollout.rewards": ("[accuracy]",),
    "train.rollout.max_completion_length": (256, 1024),
    "train.rollout.mode": ("auto", "auto", "colocate", "server"),
    "train.method": ("full", "lora", "auto"),
    "strategy.gradient_checkpointing": ("true",),
    "strategy.sharding": ("zero2", "zero3"),
    "strategy.sequence_parallel": (1,),
    "data.max_length": (2048,),
}
KINDS = {"plain": PINS, "ranks": RANKS, "offload": OFFLOAD, "rollouts": ROLLOUTS}
OPTIMIZERS = ("adamw", "adamw_8bit")
METHODS = ("full", "lora", "qlora")


class Judged(NamedTuple):
    """One assignment as a whole."""

    env: Mapping[str, Any]
    upper: float
    held: float
    seconds: float
    fits: bool

    @property
    def time(self) -> float:
        """A step that offloads may take a third longer than predicted."""
        offloads = {self.env[f"offload_{what}"] for what in ("optimizer", "parameters", "activations")} != {"none"}
        return self.seconds * 1.34 if offloads else self.seconds

    @property
    def machinery(self) -> int:
        """What it needs beyond plain training, an allocator that gives blocks back included."""
        needs = sum(field.machinery.get(self.env[field.name], 1) for field in FIELDS if field.machinery)
        return int(needs + (self.held > self.env["budget_bytes"]))

    @property
    def beyond(self) -> float:
        """What it takes beyond what there is, in shares of that."""
        room, budget = self.env["hardware"].usable_host_bytes, self.env["budget_bytes"]
        gpu = max(self.upper, self.env["load_gpu_bytes"]) / budget
        host = max(self.env["save_host_bytes"], self.env["load_host_bytes"]) / room if room else 0.0
        return float(max(gpu - 1, 0.0) + max(host - 1, 0.0))


def draw(seed: int, kind: str = "plain") -> Problem:
    rng = random.Random(seed)
    hardware = {"gpu": rng.choice(GPUS), "count": rng.choice((1, 2, 4) if kind != "rollouts" else (2, 4))}
    if rng.random() < 0.5 or kind == "offload":
        hardware["host_memory"] = rng.choice(("64GiB", "512GiB"))
    spec = {"model": rng.choice(MODELS), "hardware": hardware, "train": {"batch_size": rng.choice((8, 16))}}
    loaded = load(spec, [f"{path}={rng.choice(values)}" for path, values in KINDS[kind].items()])
    return resolve(loaded, hub_cache=False)


def winner(found: list[Judged]) -> Judged:
    """Of what fits the standard optimizer's, of these the fastest, of those about as fast the simplest."""
    fitting = [one for one in found if one.fits]
    if not fitting:
        return min(found, key=lambda one: (one.beyond, one.time))
    standard = min((one.env["optimizer"] for one in fitting), key=OPTIMIZERS.index)
    fitting = [one for one in fitting if one.env["optimizer"] == standard]
    fastest = min(one.time for one in fitting)
    near = [one for one in fitting if one.time <= fastest * 1.08]
    return min(near, key=lambda one: (one.machinery, one.time, one.upper))


def brute_force(problem: Problem) -> Judged | None:
    """Every assignment in the table; the most faithful method, of it the largest rank, of it the longest sequence."""
    start = facts(problem, PROFILE)
    best: Judged | None = None
    for method in domain("method", problem, start):
        ranks = domain("lora_rank", problem, start)
        least: Judged | None = None
        for rank in ranks[:1] if method == "full" else ranks:
            for length in domain("max_length", problem, start):
                fixed = {"method": method, "lora_rank": rank, "max_length": length}
                if found := list(everything(problem, start, fixed)):
                    least = winner(found)
                    if least.fits:
                        return least
        best = least or best
    return best


def everything(problem: Problem, start: dict[str, Any], fixed: dict[str, Any]) -> Iterator[Judged]:
    steps = stages(RULES)
    free = [name for name in CHOICES if name not in (*fixed, "micro_batch")]
    for values in product(*(domain(name, problem, start) for name in free)):
        chosen, env = dict(zip(free, values, strict=True)) | fixed, dict(start)
        allowed = apply(steps[0], env, problem.pins, Rejections())
        for depth, name in enumerate(CHOICES[:-1], 1):
            env[name] = chosen[name]
            allowed = allowed and apply(steps[depth], env, problem.pins, Rejections())
            if not allowed:
                break
        if not allowed:
            continue
        for micro_batch in domain("micro_batch", problem, env):
            full = {**env, "micro_batch": micro_batch}
            if apply(steps[len(CHOICES)], full, problem.pins, Rejections()):
                yield judged(problem, full)


def judged(problem: Problem, env: dict[str, Any]) -> Judged:
    strategy = strategy_of(env)
    run = run_of(strategy, problem, PROFILE)
    prepared, upper = memory.prepare(run, every=True), memory.predict(run).upper_bytes
    costs, waiting = fixed_costs(prepared)._asdict(), prepared.waiting(strategy.micro_batch)
    costs["host_bytes"] += waiting
    costs["save_host_bytes"] = max(costs["save_host_bytes"], costs["host_bytes"])
    env.update(costs, upper_bytes=upper, held_bytes=prepared.held(strategy.micro_batch))
    assert set(COSTS) <= set(env)
    refused = any(rule.function(*read(env)) for rule, read in stages(RULES)[len(CHOICES) + 1] if rule.kind == "require")
    seconds = speed.predict(strategy, problem, run.stack).seconds_per_step
    return Judged(env, upper, env["held_bytes"], seconds, not refused)


@pytest.mark.parametrize(
    ("kind", "seed"), [(kind, seed) for kind in KINDS for seed in range(24 if kind == "plain" else 6)]
)
def test_the_search_equals_brute_force(kind: str, seed: int) -> None:
    problem = draw(seed, kind)
    planned = layouts.plan_all(problem, PROFILE, lambda layout: search(layout, PROFILE, RULES))
    every = []
    for one in planned:
        found, truth = one.outcome.best, brute_force(one.problem)
        assert fits(one.problem, PROFILE, RULES) == bool(truth and truth.fits)
        assert (found is None) == (truth is None)
        if found and truth:
            assert found.fits == truth.fits
            assert {name: found.value(name) for name in CANDIDATES} == {name: truth.env[name] for name in CANDIDATES}
            every.append((truth, one))
    assert every, "the rules allow nothing: what is drawn would show nothing"
    assert layouts.best(planned) is min(every, key=lambda each: wins(*each))[1]


def wins(truth: Judged, one: layouts.Planned) -> tuple[Any, ...]:
    """What speaks for a layout: that it fits, how faithful it is, then the time that an answer takes."""
    env, made = truth.env, one.generated.seconds if one.generated else 0.0
    faithful = METHODS.index(env["method"]), -env["lora_rank"], -env["max_length"], OPTIMIZERS.index(env["optimizer"])
    return not truth.fits, faithful, (truth.seconds + made) / env["batch_size"], truth.upper
