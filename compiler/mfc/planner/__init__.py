"""Planning: a problem and a target's profile in, a plan out. `plan` is the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mfc import memory, speed
from mfc.catalog.parameters import trainable
from mfc.planner import decide, relax
from mfc.planner.plan import Plan
from mfc.planner.refusal import refusal
from mfc.planner.search import Candidate, run_of, search, strategy_of
from mfc.problem import Problem
from mfc.rules.engine import Rule
from mfc.target import Profile

Edited = Callable[[Mapping[str, Any]], Problem | None]


def plan(problem: Problem, profile: Profile, rules: tuple[Rule, ...], edited: Edited) -> Plan:
    """The plan for a problem on one target; `fits` is false when no strategy fits.

    `edited` gives the problem after some spec edits, or None when they make no sense; it serves the search for the
    smallest changes that would fit. Raises SpecError when pins cannot go together, CannotExpress when the target has
    no way to say them.
    """
    outcome = search(problem, profile, rules)
    best = outcome.best
    if best is None:
        raise refusal(problem, profile, outcome.rejections)
    strategy = strategy_of(best.env)
    run = run_of(strategy, problem, profile)
    predicted = memory.predict(run)
    timed = speed.predict(strategy, problem)
    env = {**best.env, "strategy": strategy, "memory": predicted, "speed": timed}
    decisions = decide.choices(problem, outcome) | decide.finish(problem, env, rules)

    def attempt(edit: Mapping[str, Any]) -> Candidate | None:
        changed = edited(edit)
        return search(changed, profile, rules).best if changed else None

    return Plan(
        problem=problem,
        profile=profile,
        fits=best.fits,
        strategy=strategy,
        values={name: value for name, value in env.items() if name in decisions},
        memory=predicted,
        speed=timed,
        budget_bytes=env["budget_bytes"],
        trainable_parameters=trainable(problem.model.architecture, strategy),
        decisions=decisions,
        warnings=decide.advice(env, rules),
        alternatives=decide.alternatives(outcome),
        rejected={rule: reason for rule, (reason, _) in outcome.rejections.by_rule.items()},
        relaxations=() if best.fits else relax.relaxations(problem, strategy.max_length, attempt),
        limited_by="" if best.refused is None else _LIMITS.get(best.refused[0], "gpu"),
        evaluated=outcome.evaluated,
    )


_LIMITS = {"memory/fits-device": "gpu", "memory/fits-host": "host", "memory/fits-loading": "load"}
