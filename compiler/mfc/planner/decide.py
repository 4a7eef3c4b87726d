"""From the winner of a search to a plan: every field with the rule that chose it and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mfc.planner.plan import Advice, Alternative, Decision
from mfc.planner.search import Candidate, Outcome
from mfc.planner.space import CHOICES, stages
from mfc.problem import SPEC_PATHS, Problem
from mfc.rules.engine import Rule

GIB = 2**30
SEARCH = "the search over all strategies that the rules allow"
SPEC = "the spec"


def finish(problem: Problem, env: dict[str, Any], rules: tuple[Rule, ...]) -> dict[str, Decision]:
    """Run every derive rule on the winner, filling `env`, and say why each field is what it is."""
    decisions = {}
    for stage in stages(rules):
        for rule, read in stage:
            if rule.kind == "derive":
                answer = None if rule.writes in problem.pins else rule.function(*read(env))
                env[rule.writes] = problem.pins[rule.writes] if answer is None else answer.value
                decisions[rule.writes] = (
                    pinned(problem, rule.writes, env[rule.writes])
                    if answer is None
                    else Decision(rule.writes, answer.value, rule.id, answer.because, rule.source)
                )
    return decisions


def advice(env: Mapping[str, Any], rules: tuple[Rule, ...]) -> tuple[Advice, ...]:
    """What the advise rules say of the finished plan."""
    said = []
    for stage in stages(rules):
        for rule, read in stage:
            if rule.kind == "advise" and (message := rule.function(*read(env))):
                said.append(Advice(rule.id, message))
    return tuple(said)


def choices(problem: Problem, outcome: Outcome) -> dict[str, Decision]:
    """Why each searched field has its value: a pin, the rules that left nothing else, or the search."""
    best = outcome.candidates[0]
    decisions = {}
    for name in CHOICES:
        value = best.env[name]
        if name in problem.pins:
            decisions[name] = pinned(problem, name, value)
            continue
        rivals = [candidate for candidate in outcome.candidates if candidate.env[name] != value]
        ruled_out = [
            (rule, reason)
            for (field, other), (rule, reason) in outcome.rejections.by_value.items()
            if field == name and other != value and not any(rival.env[name] == other for rival in rivals)
        ]
        if rivals:
            decisions[name] = Decision(name, value, "search", _against(name, best, rivals[0]), SEARCH)
        elif ruled_out:
            rule, reason = ruled_out[0]
            decisions[name] = Decision(name, value, rule.id, reason, rule.source)
        elif name in problem.ranges:
            low, high = problem.ranges[name]
            said = f"the largest that fits between {low} and {high}"
            decisions[name] = Decision(name, value, "search", said, SEARCH)
        else:
            decisions[name] = Decision(name, value, "search", "the only candidate", SEARCH)
    return decisions


def pinned(problem: Problem, name: str, value: Any) -> Decision:
    """The decision of a field that the spec sets, or that has a default in the language."""
    if name in problem.origin:
        return Decision(name, value, "spec", f"set in the spec: {SPEC_PATHS[name]}", SPEC, pinned=True)
    return Decision(name, value, "default", f"the default of {SPEC_PATHS[name]}", SPEC)


def alternatives(outcome: Outcome, limit: int = 8) -> tuple[Alternative, ...]:
    """The best strategy with another value, for each field and value that was open."""
    best = outcome.candidates[0]
    found: dict[int, Alternative] = {}
    for name in CHOICES:
        seen = {best.env[name]}
        for index, rival in enumerate(outcome.candidates):
            if rival.env[name] in seen:
                continue
            seen.add(rival.env[name])
            changes = {field: rival.env[field] for field in CHOICES if rival.env[field] != best.env[field]}
            because = "slower or less simple" if rival.refused is None else rival.refused[1]
            if index not in found:
                found[index] = Alternative(changes, int(rival.upper_bytes), rival.seconds_per_step, rival.fits, because)
    return tuple(found[index] for index in sorted(found))[:limit]


def _against(name: str, best: Candidate, rival: Candidate) -> str:
    """Why the best candidate won over the best one with another value of a field."""
    other = f"{name} {str(rival.env[name]).lower()}"
    if not best.fits:
        return f"nearest to fitting; with {other} the bound is {rival.upper_bytes / GIB:.2f} GiB"
    if not rival.fits:
        return f"the fastest that fits; with {other} nothing does: {(rival.refused or ('', ''))[1]}"
    gain = rival.seconds_per_step / best.seconds_per_step - 1
    if name == "optimizer":
        return f"it fits, so {other}, which may train differently, is not needed"
    if gain < 0.01:
        faster = "as fast as" if gain > -0.01 else f"within {-gain:.0%} of"
        return f"{faster} {other} by the speed model, and simpler or smaller"
    return f"the fastest that fits: {best.seconds_per_step:.3g} s a step, with {other} {gain:.0%} slower"


def results_that_may_change(decisions: Mapping[str, Decision]) -> Sequence[Decision]:
    """What mfc chose that can change the outcome of training, so that the user sees it at a glance."""
    fields = ("method", "precision", "max_length", "packing", "optimizer", "batch_size", "learning_rate", "schedule")
    fields = (*fields, "warmup", "template")
    if decisions["method"].value in ("lora", "qlora"):
        fields = (*fields, "lora_rank", "lora_alpha", "lora_targets", "quantization")
    return [decisions[name] for name in fields if name in decisions and not decisions[name].pinned]
