"""Rules: small named functions over plan fields, and the order in which they apply.

A rule reads the fields that its parameters name, as a pytest test names its fixtures. Its first docstring line is its
statement, `source` is where it comes from, and its id is `<module>/<function>`. There are three kinds:

- require: returns the reason why a combination is impossible, or None;
- derive: returns `Value(value, because)` for the one field that it writes;
- advise: returns a message that changes nothing, or None; `Rather` when it would rather have another value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from mfc.profile import Profile
    from mfc.spec.inputs import Section

Blames = Literal["spec", "target"]
Limits = Literal["gpu", "host", "load", "rollout"]


NO_OTHER = "the framework's own code has no other"


class Value(NamedTuple):
    """What a derive rule answers: the value and the numbers behind it.

    `pinned`: the spec itself says it, and the rule passes it on; the rule's source is not the reason then.
    """

    value: Any
    because: str
    pinned: bool = False


def from_spec(value: Any, path: str) -> Value:
    """What the spec says at a dotted path, passed on."""
    return Value(value, f"set in the spec: {path}", pinned=True)


def said(section: Section, field: str, path: str, default: str) -> Value:
    """A field of the section of the spec at `path`: the user's, or the language's default and why it is that."""
    value: Any = getattr(section, field)
    return from_spec(value, f"{path}.{field}") if field in section.model_fields_set else Value(value, default)


def as_profile(profile: Profile, field: str, answer: Value) -> Value:
    """An answer about a field, or what the framework always or usually has there; what the spec says stays."""
    if answer.pinned or answer.value is None:
        return answer
    if field in profile.always:
        return Value(profile.always[field], NO_OTHER)
    return Value(*profile.usual[field]) if field in profile.usual else answer


class Rather(NamedTuple):
    """What an advise rule answers that would rather have other values of plan fields: a fact, and what does better.

    The second half is said only where it is no quarrel with mfc's own choice: where the spec sets such a field and the
    rules allow the other value too. What mfc chose itself it chose knowing the fact.
    """

    fact: str
    better: str
    instead: Mapping[str, Any]  # plan field -> value
    alone: bool = True  # the fact is said without the second half; not where the plan's memory shows it anyway

    def __str__(self) -> str:
        return f"{self.fact}; {self.better}"


@dataclass(frozen=True, slots=True, eq=False)  # a rule is itself: the search hashes tuples of them
class Rule:
    """One rule. `function` takes the fields in `reads`, in that order."""

    id: str
    kind: Literal["require", "derive", "advise"]
    statement: str
    source: str
    reads: tuple[str, ...]
    writes: str  # the field a derive rule decides; empty for the other kinds
    function: Callable[..., Any]
    blames: Blames = "spec"  # whose error it is when a require rule says no
    limits: Limits | None = None  # which memory is too small then
    package: str = ""  # what has to be installed, and declared in the spec, for it to say yes


def require(
    source: str, *, blames: Blames = "spec", limits: Limits | None = None, package: str = ""
) -> Callable[[Callable[..., str | None]], Rule]:
    """Make a rule of a function that returns why its fields cannot go together, or None.

    It `blames` the target where a framework cannot express what others can: the error names those, and the reason goes
    on from the target's name. A rule of memory says what it `limits`, one that wants a package which.
    """
    return lambda function: _rule("require", function, source, "", blames, limits, package)


def derive(writes: str, source: str) -> Callable[[Callable[..., Value]], Rule]:
    """Make a rule of a function that decides the field `writes`; a pin in the spec goes before it."""
    return lambda function: _rule("derive", function, source, writes)


def advise(source: str) -> Callable[[Callable[..., str | Rather | None]], Rule]:
    """Make a rule of a function that returns a warning, with what would do better if that is another value, or None."""
    return lambda function: _rule("advise", function, source, "")


def _rule(
    kind: Literal["require", "derive", "advise"],
    function: Callable[..., Any],
    source: str,
    writes: str,
    blames: Blames = "spec",
    limits: Limits | None = None,
    package: str = "",
) -> Rule:
    code = function.__code__
    module = function.__module__.removesuffix(".rules").rpartition(".")[2]
    return Rule(
        id=f"{module.replace('_', '-')}/{function.__name__.replace('_', '-')}",
        kind=kind,
        statement=(function.__doc__ or "").strip().partition("\n")[0],
        source=source,
        reads=code.co_varnames[: code.co_argcount],
        writes=writes,
        function=function,
        blames=blames,
        limits=limits,
        package=package,
    )


def schedule(rules: Sequence[Rule], stages: Sequence[Sequence[str]]) -> tuple[tuple[Rule, ...], ...]:
    """For each stage, which provides some fields: the rules that can run once those are known, in a sound order.

    A derive rule comes as soon as what it reads is known, a require rule before it, so that the search prunes early.
    Raises ValueError when two rules write one field, or when a rule reads what nothing provides.
    """
    writers: dict[str, Rule] = {}
    for rule in rules:
        if rule.writes and writers.setdefault(rule.writes, rule) is not rule:
            raise ValueError(f"{rule.id} and {writers[rule.writes].id} both write {rule.writes}")
    readers: dict[str, list[int]] = {}
    missing = [len(set(rule.reads)) for rule in rules]
    for number, rule in enumerate(rules):
        for name in set(rule.reads):
            readers.setdefault(name, []).append(number)
    have: set[str] = set()
    free = [number for number, count in enumerate(missing) if count == 0]  # they read nothing
    plan = []
    for provided in stages:
        ready: list[Rule] = []
        runnable, fresh = free, list(provided)
        while runnable or fresh:
            for name in fresh:
                if name not in have:
                    have.add(name)
                    for number in readers.get(name, ()):
                        missing[number] -= 1
                        if missing[number] == 0:
                            runnable.append(number)
            wave = [rules[number] for number in sorted(runnable)]
            ready += sorted(wave, key=lambda rule: rule.kind != "require")
            runnable, fresh = [], [rule.writes for rule in wave if rule.writes]
        free = []
        plan.append(tuple(ready))
    if any(missing):
        late = next(rule for rule, count in zip(rules, missing, strict=True) if count)
        names = sorted(
            {name for rule, count in zip(rules, missing, strict=True) if count for name in rule.reads} - have
        )
        raise ValueError(f"{late.id} reads what nothing provides: {', '.join(names)}")
    return tuple(plan)


def of_kind(rules: Iterable[Rule], kind: str) -> tuple[Rule, ...]:
    """The rules of one kind, in order."""
    return tuple(rule for rule in rules if rule.kind == kind)
