"""The search finds what brute force finds, on problems drawn at random."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest
from mfc import memory, speed
from mfc.api import load
from mfc.fields import CANDIDATES, CHOICES, EVERYTHING
from mfc.memory.costs import fixed_costs
from mfc.memory.stack import Stack
from mfc.planner.search import Candidate, fits, rank_candidates, run_of, search, strategy_of
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


def draw(seed: int) -> Problem:
    rng = random.Random(seed)
    hardware = {"gpu": rng.choice(GPUS), "count": rng.choice((1, 2, 4))}
    if rng.random() < 0.5:
        hardware["host_memory"] = rng.choice(("64GiB", "512GiB"))
    spec = {"model": rng.choice(MODELS), "hardware": hardware, "train": {"batch_size": rng.choice((8, 16))}}
    loaded = load(spec, [f"{path}={rng.choice(values)}" for path, values in PINS.items()])
    return resolve(loaded, hub_cache=False)


def brute_force(problem: Problem) -> tuple[Candidate, ...]:
    """Every assignment in the table, each judged as a whole; quality by quality as the search promises."""
    start = facts(problem, PROFILE)
    lengths = domain("max_length", problem, start)
    found: tuple[Candidate, ...] = ()
    for method in domain("method", problem, start):
        for length in lengths:
            here = rank_candidates(list(everything(problem, start, method, length)), "speed")
            if here and here[0].fits:
                return here
            found = here or found
    return found


def everything(problem: Problem, start: dict[str, Any], method: str, length: int) -> Any:
    steps = stages(RULES)
    free = [name for name in CHOICES if name not in ("method", "max_length", "micro_batch")]
    for values in product(*(domain(name, problem, start) for name in free)):
        chosen = dict(zip(free, values, strict=True)) | {"method": method, "max_length": length}
        env, allowed = dict(start), apply(steps[0], start_env := dict(start), problem.pins, Rejections())
        env = start_env
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


def judged(problem: Problem, env: dict[str, Any]) -> Candidate:
    strategy = strategy_of(env)
    run = run_of(strategy, problem, PROFILE)
    prepared, upper = memory.prepare(run, every=True), memory.predict(run).upper_bytes
    costs, waiting = fixed_costs(prepared)._asdict(), prepared.waiting(strategy.micro_batch)
    costs["host_bytes"] += waiting
    costs["save_host_bytes"] = max(costs["save_host_bytes"], costs["host_bytes"])
    env.update(costs, upper_bytes=upper, held_bytes=prepared.held(strategy.micro_batch))
    assert set(COSTS) <= set(env)
    reasons = (
        (rule, rule.function(*read(env))) for rule, read in stages(RULES)[len(CHOICES) + 1] if rule.kind == "require"
    )
    refused = next(((rule, why) for rule, why in reasons if why), None)
    return Candidate(env, upper, speed.predict(strategy, problem, run.stack).seconds_per_step, refused)


@pytest.mark.parametrize("seed", range(24))
def test_the_search_equals_brute_force(seed: int) -> None:
    problem = draw(seed)
    best, truth = search(problem, PROFILE, RULES).best, brute_force(problem)
    assert fits(problem, PROFILE, RULES) == bool(truth and truth[0].fits)
    assert best is not None, "the rules allow nothing: what is drawn would show nothing"
    assert best.fits == truth[0].fits
    assert {name: best.env[name] for name in CANDIDATES} == {name: truth[0].env[name] for name in CANDIDATES}
