"""The memory of a GPU as a bar: what fills it by component, the doubt of the prediction, the budget.

Every cell is a letter, so a bar reads the same in a pipe; a terminal colours it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import click

GIB = 2**30
REST, DOUBT, FREE, BUDGET = "+", "-", ".", "|"
# Component -> its letter and its colour.
KINDS: Mapping[str, tuple[str, str]] = {
    "weights": ("W", "blue"),
    "optimizer": ("O", "magenta"),
    "gradients": ("G", "cyan"),
    "optimizer step": ("S", "magenta"),
    "activations": ("A", "yellow"),
    "logits": ("L", "yellow"),
    "gathered": ("P", "cyan"),
    "adapters": ("D", "blue"),
    "scratch": ("X", "yellow"),
    "buffers": ("B", "cyan"),
    "fragmentation": ("F", "bright_black"),
    "context": ("C", "bright_black"),
}
_SHOWN = 0.02  # of the card: smaller components are part of the rest
_NAMED = 0.05 * GIB  # a smaller rest is left out of the legend


def legend(components: Mapping[str, int], card: int) -> list[tuple[str, str, int]]:
    """Letter, name and bytes of what the bar shows, the largest first; all that is small together at the end."""
    large = {name: size for name, size in components.items() if size >= _SHOWN * card and name in KINDS}
    rows = [(KINDS[name][0], name, size) for name, size in sorted(large.items(), key=lambda item: -item[1])]
    rest = sum(components.values()) - sum(large.values())
    return [*rows, (REST, "other", rest)] if rest >= _NAMED else rows


def bar(components: Mapping[str, int], upper: int, budget: int, card: int, width: int) -> str:
    """A bar of `width` characters, brackets included, as wide as the card, or as the need where that is more.

    All sizes are bytes. `upper` bounds the need, the components add up to what is likely, `|` stands at the budget.
    """
    cells = width - 2
    parts = [(letter, size) for letter, _, size in legend(components, card)]
    likely = sum(components.values())
    whole = max(card, upper, likely)
    parts += [(DOUBT, max(upper - likely, 0)), (FREE, max(budget - max(upper, likely), 0))]
    ends = [round(end / whole * cells) for end in accumulate(size for _, size in parts)]
    drawn = "".join(letter * (end - begin) for (letter, _), begin, end in zip(parts, [0, *ends], ends, strict=False))
    drawn = drawn.ljust(cells)
    at = min(round(budget / whole * cells), cells - 1)
    drawn = drawn[:at] + BUDGET + drawn[at + 1 :]
    return f"[{''.join(map(paint, drawn))}]"


def paint(letter: str) -> str:
    """One cell in the colour of what it stands for."""
    colours = dict(KINDS.values()) | {REST: "bright_black", BUDGET: "red"}
    return click.style(letter, fg=colours[letter], bold=letter == BUDGET) if letter in colours else letter
