"""From the winner of a search to a plan: every field with the rule that chose it and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mfc.planner.plan import Advice, Alternative, Decision
from mfc.planner.refusal import UNSUPPORTED
from mfc.planner.search import Candidate, Outcome, at_the_limit, simplicity
from mfc.planner.space import CANDIDATES, CHOICES, stages
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


def choices(problem: Problem, outcome: Outcome, rules: tuple[Rule, ...]) -> dict[str, Decision]:
    """Why each searched field has its value: a pin, the rules that left nothing else, or the search."""
    best = outcome.candidates[0]
    decisions = {}
    for name in CHOICES:
        value = best.env[name]
        if name in problem.pins:
            decisions[name] = pinned(problem, name, value)
            continue
        rivals: dict[Any, Candidate] = {}  # the best candidate with each other value
        for candidate in outcome.candidates:
            if candidate.env[name] != value:
                rivals.setdefault(candidate.env[name], candidate)
        met = {other: why for (field, other), why in outcome.rejections.by_value.items() if field == name}
        ruled_out = [
            _forbids(rules, best.env, name, other) or met[other]
            for other in sorted(met, key=lambda other: simplicity(name, other))
            if other != value and other not in rivals
        ]
        failed = {one.env[name]: one for one in outcome.passed_over if one.env[name] != value}
        if name == "method":
            head = "the most faithful that fits" if best.fits else "the nearest to fitting"
            said = "; ".join([head, *(_beside(name, best, other, one) for other, one in failed.items())])
            decisions[name] = Decision(name, value, "search", said, SEARCH)
        elif rivals:
            decisions[name] = Decision(name, value, "search", _against(name, best, rivals), SEARCH)
        elif ruled_out:
            rule, reason = ruled_out[0]  # of the simplest other value
            who = f"{best.env['profile'].target or 'a plain trainer'} " if rule.id.startswith(UNSUPPORTED) else ""
            decisions[name] = Decision(name, value, rule.id, who + reason, rule.source)
        elif reasons := [
            (rule, reason)
            for rule, (reason, read) in outcome.rejections.by_rule.items()
            if name in read and read[name] != value
        ]:
            rule_id, reason = reasons[0]
            decisions[name] = Decision(name, value, rule_id, reason, SEARCH)
        elif name in problem.ranges:
            low, high = problem.ranges[name]
            said = f"the largest that fits between {low} and {high}" if best.fits else f"the least of {low} to {high}"
            decisions[name] = Decision(name, value, "search", said, SEARCH)
        elif CANDIDATES[name] == (value,):
            decisions[name] = Decision(name, value, "default", f"the default of {SPEC_PATHS[name]}", SPEC)
        else:
            decisions[name] = Decision(name, value, "search", "the only candidate", SEARCH)
    return decisions


def _forbids(rules: tuple[Rule, ...], env: Mapping[str, Any], name: str, other: Any) -> tuple[Rule, str] | None:
    """What forbids the winner with another value of one field; the walk may have met that value beside others."""
    changed = {**env, name: other}
    for rule in rules:
        known = rule.kind == "require" and name in rule.reads and changed.keys() >= {*rule.reads}
        if known and (why := rule.function(*(changed[read] for read in rule.reads))):
            return rule, why
    return None


def pinned(problem: Problem, name: str, value: Any) -> Decision:
    """The decision of a field that the spec sets, or that has a default in the language."""
    if name in problem.origin:
        return Decision(name, value, "spec", f"set in the spec: {SPEC_PATHS[name]}", SPEC, pinned=True)
    if name in problem.agreed:
        return Decision(name, value, "targets", "what fits on every target that the spec names", SEARCH)
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
            because = _worse(best, rival) if rival.refused is None else rival.refused[1]
            if index not in found:
                found[index] = Alternative(changes, int(rival.upper_bytes), rival.seconds_per_step, rival.fits, because)
    return tuple(found[index] for index in sorted(found))[:limit]


def _worse(best: Candidate, rival: Candidate) -> str:
    """Why a rival that fits did not win."""
    if rival.env["optimizer"] != best.env["optimizer"]:
        return f"{rival.env['optimizer']} may train differently"
    gain = 1 - rival.seconds_per_step / best.seconds_per_step
    if gain < 0.01:
        return "slower or less simple"
    price = "at the limit of the budget" if at_the_limit(rival) and not at_the_limit(best) else "less simple"
    return f"{gain:.0%} faster, if the estimate is that good, but {price}"


def _against(name: str, best: Candidate, rivals: Mapping[Any, Candidate]) -> str:
    """Why the best candidate won over the best ones with other values of a field."""
    head = f"the best at {best.seconds_per_step:.3g} s a step" if best.fits else "the nearest to fitting"
    return f"{head}; " + "; ".join(_beside(name, best, value, rival) for value, rival in list(rivals.items())[:4])


def _beside(name: str, best: Candidate, value: Any, rival: Candidate) -> str:
    other = str(value).lower() if name in _SPEAKING else f"{name} {value}".lower()
    if not best.fits:
        return f"{other} needs up to {rival.upper_bytes / GIB:.2f} GiB"
    if rival.refused is not None:
        return f"{other} {rival.refused[1]}"
    gain = rival.seconds_per_step / best.seconds_per_step - 1
    if name == "optimizer":
        return f"{other}, which may train differently, is not needed"
    if gain <= -0.01:
        return f"{other} would gain {-gain:.0%} by more machinery or memory"
    return f"{other} is as fast" if gain < 0.01 else f"{other} is {gain:.0%} slower"


_SPEAKING = ("sharding", "optimizer", "method")  # fields whose values say what they are


def results_that_may_change(decisions: Mapping[str, Decision]) -> Sequence[Decision]:
    """What mfc chose that can change the outcome of training, so that the user sees it at a glance."""
    fields: tuple[str, ...] = (
        "method",
        "precision",
        "max_length",
        "packing",
        "optimizer",
        "batch_size",
        "learning_rate",
        "schedule",
    )
    fields = (*fields, "warmup", "template")
    if decisions["method"].value in ("lora", "qlora"):
        fields = (*fields, "lora_rank", "lora_alpha", "lora_targets", "quantization")
    return [decisions[name] for name in fields if name in decisions and not decisions[name].pinned]
