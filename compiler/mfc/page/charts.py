"""Where everything lies in the charts of a page. Places across are percent of the width, so that text never scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

GIB = 2**30
_ROOM = 1.04  # of the width, over what is drawn largest
_SHOWN = 0.004  # of the width: thinner segments join the rest
_WIDEST = 2.5  # cards: what is larger is drawn cut


class Segment(NamedTuple):
    """A part of a bar."""

    kind: str
    size: int  # bytes
    x: float
    width: float


class Bar(NamedTuple):
    """One moment; `peak` is it where nothing takes more."""

    name: str
    size: int  # bytes
    segments: tuple[Segment, ...]
    peak: bool


class Bars(NamedTuple):
    """Bars below each other, and where the budget and the card end."""

    bars: tuple[Bar, ...]
    budget: float
    card: float
    kinds: tuple[str, ...]  # of all components, the largest first, free blocks last
    shown: tuple[str, ...]  # those that have a segment of their own, and the rest


class Tick(NamedTuple):
    """A line of the grid."""

    at: float
    value: float


class Dot(NamedTuple):
    """A point of the frontier: x in percent, y in pixels; `number` is that of its row."""

    number: int
    x: float
    y: float
    fits: bool
    chosen: bool


class Plot(NamedTuple):
    """Memory to the right, time upwards."""

    dots: tuple[Dot, ...]
    budget: float
    across: tuple[Tick, ...]
    upwards: tuple[Tick, ...]


class Span(NamedTuple):
    """A signed number as a bar from the middle of its cell, in percent of the cell."""

    x: float
    width: float


def stacked(moments: Mapping[str, Mapping[str, int]], peak: str, budget: int, card: int) -> Bars:
    """A bar for each moment. Sizes are bytes; those of a bar far beyond the card are drawn to its edge."""
    sizes = {name: sum(parts.values()) for name, parts in moments.items()}
    whole = min(max(card, *sizes.values()), _WIDEST * card) * _ROOM
    order: dict[str, int] = {}
    for parts in moments.values():
        for kind, size in parts.items():
            order[kind] = max(order.get(kind, 0), size)
    kinds = sorted(order, key=lambda kind: (kind == "fragmentation", -order[kind]))
    bars = tuple(
        Bar(name, sizes[name], tuple(_segments(parts, kinds, whole)), name == peak) for name, parts in moments.items()
    )
    drawn = {segment.kind for bar in bars for segment in bar.segments}
    shown = tuple(kind for kind in (*kinds, "other") if kind in drawn)
    return Bars(bars, _percent(budget, whole), _percent(card, whole), tuple(kinds), shown)


def _segments(parts: Mapping[str, int], kinds: Sequence[str], whole: float) -> Iterator[Segment]:
    """The parts of one bar in the order of all, those too thin to see as one at the end."""
    shown = [(kind, parts[kind]) for kind in kinds if parts.get(kind, 0) >= _SHOWN * whole]
    rest = sum(parts.values()) - sum(size for _, size in shown)
    if rest >= _SHOWN * whole:
        shown.append(("other", rest))
    ends = list(accumulate(size for _, size in shown))
    for (kind, size), begin, end in zip(shown, [0, *ends], ends, strict=False):
        x = _percent(begin, whole)
        if (width := round(_percent(end, whole) - x, 2)) > 0:
            yield Segment(kind, size, x, width)


def plot(points: Sequence[tuple[float, float, bool, bool]], budget: int, height: int) -> Plot:
    """Points of bytes, seconds, whether they fit and are the plan, in a plot `height` pixels high."""
    most = max([budget, *(size for size, *_ in points)]) * 1.08
    slowest = max(time for _, time, *_ in points) * 1.12
    dots = tuple(
        Dot(number, _percent(size, most), round(height * (1 - time / slowest), 1), fits, chosen)
        for number, (size, time, fits, chosen) in enumerate(points, 1)
    )
    return Plot(
        dots,
        _percent(budget, most),
        tuple(Tick(_percent(value * GIB, most), value) for value in ticks(most / GIB)),
        tuple(Tick(round(height * (1 - value / slowest), 1), value) for value in ticks(slowest)),
    )


def ticks(most: float, number: int = 5) -> list[float]:
    """Round values from 0 up to `most`, at most `number` above 0."""
    steps = (factor * 10.0**power for power in range(-9, 16) for factor in (1, 2, 5))
    step = next(each for each in steps if most <= number * each)
    return [round(step * at, 9) for at in range(int(most / step) + 1)]


def spans(values: Sequence[float]) -> list[Span]:
    """Signed numbers to one scale, zero in the middle: negative ones to the left."""
    most = max((abs(value) for value in values), default=0) or 1
    lengths = [round(50 * abs(value) / most, 2) for value in values]
    return [
        Span(round(50 - length, 2) if value < 0 else 50, length) for value, length in zip(values, lengths, strict=True)
    ]


def _percent(size: float, whole: float) -> float:
    return round(min(100 * size / whole, 100.0), 2)
