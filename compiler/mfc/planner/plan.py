"""A plan: the strategy that won, every decision with its reason, and what else was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.problem import Problem
from mfc.strategy import Strategy

if TYPE_CHECKING:
    from mfc.memory import Memory
    from mfc.profile import Profile
    from mfc.speed import Speed


class Decision(NamedTuple):
    """One value and why it is what it is. `rule` is a rule's id, `spec` for a pin, or `search`.

    Where the search weighed numbers, `gist` says what the choice was about in words that last.
    """

    field: str
    value: Any
    rule: str
    because: str
    source: str
    pinned: bool = False
    gist: str = ""


class Advice(NamedTuple):
    """A warning that changes nothing; `id` is the rule's, `instead` are values of plan fields that would do better."""

    id: str
    message: str
    instead: tuple[tuple[str, Any], ...] = ()


class Alternative(NamedTuple):
    """A strategy that lost. `changes` are the fields in which it differs from the winner."""

    changes: Mapping[str, Any]
    upper_bytes: int
    seconds_per_step: float
    fits: bool
    because: str


class Relaxation(NamedTuple):
    """Spec edits after which a plan fits: `set` maps dotted spec paths to values."""

    set: Mapping[str, Any]
    upper_bytes: int
    seconds_per_step: float
    fits: bool = True


class Plan(NamedTuple):
    """Complete and immutable. `values` holds every decided field by name, the strategy's and the recipe's alike."""

    problem: Problem
    profile: Profile
    fits: bool
    strategy: Strategy
    values: Mapping[str, Any]
    memory: Memory
    speed: Speed
    budget_bytes: int
    trainable_parameters: int
    decisions: Mapping[str, Decision]
    warnings: tuple[Advice, ...] = ()
    needs: tuple[str, ...] = ()  # packages that it rests on and of which the spec says nothing
    alternatives: tuple[Alternative, ...] = ()
    rejected: Mapping[str, str] = {}  # rule id -> the reason it gave, first time
    relaxations: tuple[Relaxation, ...] = ()
    limited_by: str = ""  # gpu, host, load; empty when it fits
    evaluated: int = 0  # strategies whose memory and time were computed
    verified: bool = True  # False: native keys that may change memory were passed through

    def because(self, *fields: str) -> str:
        """The reasons of these fields, in one line, as outputs carry them.

        Of what the search weighed they carry the gist, so that outputs change only when the choice does.
        """
        decided = [self.decisions[name] for name in fields if name in self.decisions]
        return "; ".join(dict.fromkeys(decision.gist or decision.because for decision in decided))
