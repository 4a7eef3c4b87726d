"""From the winner of a search to a plan: every field with the rule that chose it and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mfc.fields import CHOICES, RESULTS, SPEC_PATHS, field
from mfc.planner.costing import Candidate, at_the_limit
from mfc.planner.plan import Advice, Alternative, Decision
from mfc.planner.search import Outcome, evaluate
from mfc.planner.space import Rejections, facts, stages
from mfc.planner.weigh import SEARCH, Weighing
from mfc.problem import Problem
from mfc.rules.engine import Rather, Rule, Value, as_profile

SPEC = "the spec"
PROFILE = "the target's profile"


def finish(problem: Problem, env: dict[str, Any], rules: tuple[Rule, ...]) -> dict[str, Decision]:
    """Run every derive rule on the winner, filling `env`, and say why each field is what it is."""
    decisions = {}
    for stage in stages(rules):
        for rule, read in stage:
            if rule.kind == "derive":
                said: Value | None = None if rule.writes in problem.pins else rule.function(*read(env))
                answer = None if said is None else as_profile(env["profile"], rule.writes, said)
                env[rule.writes] = problem.pins[rule.writes] if answer is None else answer.value
                if answer is None:
                    decisions[rule.writes] = pinned(problem, rule.writes, env[rule.writes])
                elif answer.pinned:
                    decisions[rule.writes] = Decision(rule.writes, answer.value, "spec", answer.because, SPEC, True)
                elif answer is not said:
                    which = "always" if rule.writes in env["profile"].always else "usual"
                    decisions[rule.writes] = Decision(rule.writes, answer.value, which, answer.because, PROFILE)
                else:
                    decisions[rule.writes] = Decision(rule.writes, answer.value, rule.id, answer.because, rule.source)
    return decisions


def advice(
    problem: Problem, env: Mapping[str, Any], decisions: Mapping[str, Decision], rules: tuple[Rule, ...]
) -> tuple[Advice, ...]:
    """What the advise rules say of the finished plan; none of it argues with what mfc itself decided."""
    said = []
    for stage in stages(rules):
        for rule, read in stage:
            if rule.kind != "advise" or not (answer := rule.function(*read(env))):
                continue
            if isinstance(answer, Rather) and not all(
                _can_be_had(problem, env, decisions, rules, name, value) for name, value in answer.instead.items()
            ):
                if not answer.alone:
                    continue
                answer = answer.fact
            better = answer.instead if isinstance(answer, Rather) else {}
            said.append(Advice(rule.id, str(answer), tuple(better.items())))
    return tuple(said)


def _can_be_had(
    problem: Problem,
    env: Mapping[str, Any],
    decisions: Mapping[str, Decision],
    rules: tuple[Rule, ...],
    name: str,
    value: Any,
) -> bool:
    """Whether another value of a field is the user's to take: mfc did not decide on this one, and that one may be.

    What the user does not mean by it has to fit as well.
    """
    decision = decisions.get(name)
    if decision is None or not (decision.pinned or decision.rule == "default"):
        return False
    if name not in CHOICES:
        return True
    kept = {choice: env[choice] for choice in CHOICES if choice not in (name, "micro_batch")}
    found = evaluate(problem, facts(problem, env["profile"]), rules, {**kept, name: value}, Rejections())
    return any(one.fits or field(name).meaning for one in found)


def choices(problem: Problem, outcome: Outcome, rules: tuple[Rule, ...]) -> dict[str, Decision]:
    """Why each searched field has its value: a pin, the rules that left nothing else, or the search."""
    weighing = Weighing(problem, outcome, rules)
    best = outcome.candidates[0].env
    return {
        name: pinned(problem, name, best[name]) if name in problem.pins else weighing.decision(name) for name in CHOICES
    }


def pinned(problem: Problem, name: str, value: Any) -> Decision:
    """The decision of a field that the spec sets, or that has a default in the language."""
    if name in problem.origin:
        return Decision(name, value, "spec", f"set in the spec: {problem.place(name)}", SPEC, pinned=True)
    if name in problem.agreed:
        return Decision(name, value, "targets", "what fits on every target that the spec names", SEARCH)
    return Decision(name, value, "default", f"the default of {SPEC_PATHS[name]}", SPEC)


def alternatives(outcome: Outcome, limit: int = 8) -> tuple[Alternative, ...]:
    """The best strategy with another value, for each field and value that was open."""
    best = outcome.candidates[0]
    firsts = outcome.firsts(name for name in CHOICES if name not in best.common.env["problem"].pins)
    found = sorted({at for places in firsts.values() for at in places.values()} - {0})[:limit]
    return tuple(_alternative(best, outcome.candidates[at]) for at in found)


def _alternative(best: Candidate, rival: Candidate) -> Alternative:
    changes = {choice: value for choice in CHOICES if (value := rival.value(choice)) != best.value(choice)}
    because = _worse(best, rival) if rival.refused is None else rival.refused[1]
    return Alternative(changes, int(rival.upper_bytes), rival.seconds_per_step, rival.fits, because)


def _worse(best: Candidate, rival: Candidate) -> str:
    """Why a rival that fits did not win."""
    if (optimizer := rival.value("optimizer")) != best.value("optimizer"):
        return f"{optimizer} may train differently"
    gain = 1 - rival.seconds_per_step / best.seconds_per_step
    if gain < 0.01:
        return "slower or less simple"
    if rival.common.offloads and not best.common.offloads:
        return f"{gain:.0%} faster, if offload is as quick as estimated, which no published run confirms"
    price = "at the limit of the budget" if at_the_limit(rival) and not at_the_limit(best) else "less simple"
    return f"{gain:.0%} faster, less than the estimate errs by, and {price}"


def results_that_may_change(decisions: Mapping[str, Decision]) -> Sequence[Decision]:
    """What mfc chose that can change the outcome of training, so that the user sees it at a glance."""
    return [decisions[name] for name in RESULTS if name in decisions and not decisions[name].pinned]
