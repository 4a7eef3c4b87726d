"""Two runs held against each other: what differs, what that changes, and what it alone would cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.diff import effects
from mfc.diff.alike import alike
from mfc.diff.words import Kind, effect, turn
from mfc.errors import FileInTheWay
from mfc.target.values import equal

if TYPE_CHECKING:
    from mfc.diff.effects import Cost
    from mfc.diff.side import Side, Stated

_WORDS = frozenset({"template", "model_type"})  # a framework's own words for what all of them have
_KINDS: tuple[Kind, ...] = ("result", "cost", "run")


class Difference(NamedTuple):
    """A field on which two runs differ. `cost` is what it alone would change of the first run."""

    field: str
    kind: Kind
    a: Stated
    b: Stated
    why: str
    cost: Cost | None = None


class Own(NamedTuple):
    """A key of a framework's own, which no field says, and what the other run does."""

    key: str
    a: Stated
    b: Stated


class Compared(NamedTuple):
    """Two runs side by side. `only` are fields that one of them alone has, and which."""

    a: Side
    b: Side
    differences: tuple[Difference, ...]
    own: tuple[Own, ...]
    only: Mapping[str, tuple[str, Any]]  # field -> "a" or "b", and the value
    same: Mapping[str, Any]  # field -> value

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.differences or self.own)

    @property
    def exit_code(self) -> int:
        """1 where they differ, else 0, as diff has it."""
        return 0 if self.equal else FileInTheWay.exit_code


def compare(a: Side, b: Side) -> Compared:
    """Hold two runs against each other."""
    both = [name for name in a.values if name in b.values and (name not in _WORDS or a.target == b.target)]
    unlike = [name for name in both if not alike(name, a, b) or _cuts(name, a) != _cuts(name, b)]
    keys = (Own(key, a.own.get(key) or a.without(key), b.own.get(key) or b.without(key)) for key in {**a.own, **b.own})
    return Compared(
        a,
        b,
        differences=tuple(sorted((_difference(name, a, b) for name in unlike), key=_telling)),
        own=tuple(one for one in keys if not equal(one.a.value, one.b.value)),
        only={**_only("a", a, b), **_only("b", b, a)} if a.plan and b.plan else {},
        same={name: a.values[name].value for name in both if name not in unlike},
    )


def _cuts(field: str, side: Side) -> bool:
    """Whether nothing said of a field is something else than any value: without a length nothing is cut.

    Where answers are generated, the length of a row is that of prompt and answer.
    """
    return field == "max_length" and field in side.unsaid and "max_completion_length" not in side.values


def _only(name: str, side: Side, other: Side) -> dict[str, tuple[str, Any]]:
    """The fields that one run alone has."""
    alone = (field for field in side.values if field not in other.values and field not in _WORDS | {*side.unsaid})
    return {field: (name, side.values[field].value) for field in alone}


def _difference(field: str, a: Side, b: Side) -> Difference:
    what = effect(field)
    return Difference(field, what.kind, a.values[field], b.values[field], what.why, effects.cost(field, a, b))


def _telling(one: Difference) -> tuple[int, float, int]:
    """What changes results first; of what costs, what costs most."""
    weight = one.cost.share if one.kind == "cost" and one.cost else 0.0
    return _KINDS.index(one.kind), -weight, turn(one.field)
