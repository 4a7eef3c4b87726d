"""Planning: a problem and a target's profile in, a plan out. `plan` is the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mfc import memory, speed
from mfc.catalog.parameters import trainable
from mfc.errors import MfcError
from mfc.fields import decided
from mfc.memory.rollout import with_share
from mfc.planner import decide, layouts, relax
from mfc.planner.costing import Candidate, run_of, strategy_of
from mfc.planner.plan import Plan
from mfc.planner.refusal import refusal
from mfc.planner.search import allowed, fits, search
from mfc.planner.space import Rejections, needed, wanted
from mfc.problem import Problem
from mfc.profile import Profile
from mfc.rules.engine import Rule
from mfc.rules.packages import with_package

Edited = Callable[[Mapping[str, Any]], tuple[Problem, Profile] | None]


def plan(problem: Problem, profile: Profile, rules: tuple[Rule, ...], edited: Edited | None) -> Plan:
    """The plan for a problem on one target; `fits` is false when no strategy fits.

    `edited` gives the problem and the profile after some spec edits, or None when they make no sense; it serves the
    search for the smallest changes that would fit, which is left out without it. Raises SpecError when pins cannot go
    together, CannotExpress when the target has no way to say them.
    """
    planned = layouts.plan_all(problem, profile, lambda layout: search(layout, profile, rules))
    chosen = layouts.best(planned)
    whole, problem, outcome = problem, chosen.problem, chosen.outcome
    best = outcome.best
    if best is None:
        raise refusal(problem, profile, outcome.rejections, _cure(problem, profile, rules, outcome.rejections))
    strategy = strategy_of(best.env)
    run = run_of(strategy, problem, profile)
    predicted = memory.predict(run)
    timed = layouts.with_rollouts(speed.predict(strategy, problem, profile.stack), chosen.generated)
    env = {**best.env, "strategy": strategy, "memory": predicted, "speed": timed}
    decisions = decide.choices(problem, outcome, rules) | decide.finish(problem, env, rules)
    decisions = layouts.decisions(decisions, chosen, planned)
    if env["rollout_share"] is not None:
        predicted = with_share(predicted, env["rollout_share"])

    made = Plan(
        problem=problem,
        profile=profile,
        fits=best.fits,
        strategy=strategy,
        values={name: value for name, value in env.items() if name in decisions},
        memory=predicted,
        speed=timed,
        budget_bytes=env["budget_bytes"],
        trainable_parameters=trainable(
            problem.model.architecture,
            strategy,
            fused_experts=profile.stack.fused_experts,
            expert_adapters=profile.stack.expert_adapters,
        ),
        decisions={name: one for name, one in decisions.items() if decided(name, env)},
        warnings=decide.advice(problem, env, decisions, rules),
        needs=needed(env, rules),
        alternatives=(
            *layouts.alternatives(chosen, planned),
            *layouts.beside_rollouts(chosen, decide.alternatives(outcome)),
        ),
        rejected={rule: reason for rule, (_, reason, _) in outcome.rejections.by_rule.items()},
        limited_by="" if best.refused is None else best.refused[0].limits or "",
        evaluated=sum(one.outcome.evaluated for one in planned),
    )
    if best.fits or edited is None:
        return made
    packages = wanted(profile, outcome.rejections)
    return made._replace(relaxations=relax.relaxations(whole, made, packages, attempt(edited, rules)))


def possible(problem: Problem, profile: Profile, rules: tuple[Rule, ...]) -> bool:
    """Whether `plan` makes one, fitting or not; asked of targets that the spec only might be planned for."""
    return any(allowed(layout, profile, rules) for layout in layouts.layouts(problem, profile))


def _cure(problem: Problem, profile: Profile, rules: tuple[Rule, ...], rejections: Rejections) -> str:
    """The package that the spec says nothing of, and with which the rules would allow something; or empty."""
    for package in wanted(profile, rejections):
        if allowed(problem, with_package(profile, package), rules):
            return package
    return ""


def attempt(edited: Edited, rules: tuple[Rule, ...]) -> relax.Attempt:
    """What the search finds after spec edits, rollouts included; nothing when they lead nowhere."""

    def enough(edit: Mapping[str, Any]) -> bool:
        changed = edited(edit)
        if changed is None:
            return False
        try:
            return any(fits(layout, changed[1], rules) for layout in layouts.layouts(*changed))
        except MfcError:
            return False  # GPUs that cannot be split so, or a mode that the target has not

    def best(edit: Mapping[str, Any]) -> Candidate | None:
        changed = edited(edit)
        if changed is None:
            return None
        try:
            planned = layouts.plan_all(*changed, lambda layout: search(layout, changed[1], rules))
        except MfcError:
            return None
        return layouts.best(planned).whole

    return relax.Attempt(enough, best)
