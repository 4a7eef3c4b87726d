"""The engine: a rule is its function, and the order of rules follows from what they read and write."""

import pytest
from mfc.rules.engine import Rule, Value, advise, derive, of_kind, require, schedule


@derive("area", "geometry")
def area(width: int, height: int) -> Value:
    """A rectangle's area is width times height."""
    return Value(width * height, f"{width} x {height}")


@require("geometry")
def area_is_small(area: int) -> str | None:
    """Areas end at ten."""
    return f"{area} is above 10" if area > 10 else None


@require("geometry")
def width_is_even(width: int) -> str | None:
    """Widths are even."""
    return "odd" if width % 2 else None


@advise("geometry")
def square(width: int, height: int) -> str | None:
    """Squares are told of."""
    return "a square" if width == height else None


RULES = (square, area_is_small, area, width_is_even)


def ids(rules: tuple[Rule, ...]) -> list[str]:
    return [rule.id for rule in rules]


def test_a_rule_is_read_off_its_function() -> None:
    assert area.id.endswith("/area")
    assert area_is_small.id.endswith("/area-is-small")
    assert (area.kind, area.writes, area.reads) == ("derive", "area", ("width", "height"))
    assert (square.kind, square.writes, square.statement) == ("advise", "", "Squares are told of.")
    assert area.source == "geometry"


def test_rules_run_as_soon_as_they_can_and_refusals_first() -> None:
    first, second = schedule(RULES, [("width",), ("height",)])
    assert ids(first) == [width_is_even.id]
    assert ids(second)[-1] == area_is_small.id
    assert set(ids(second)) == {square.id, area.id, area_is_small.id}


def test_two_writers_of_one_field_are_refused() -> None:
    other = derive("area", "geometry")(lambda width: Value(width, ""))
    with pytest.raises(ValueError, match="both write area"):
        schedule((*RULES, other), [("width", "height")])


def test_a_rule_whose_fields_nothing_provides_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reads what nothing provides: .*height"):
        schedule(RULES, [("width",)])


def test_kinds() -> None:
    assert of_kind(RULES, "require") == (area_is_small, width_is_even)
