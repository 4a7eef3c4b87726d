"""Lists of a YAML text that stand over several lines, changed item by item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mfc.emit import quote
from mfc.errors import SpecError
from mfc.imports.lines import Span
from mfc.spec import yaml12
from mfc.spec.marks import Source


def changed(text: str, at: Span, value: Sequence[Any]) -> str | None:
    """A text whose block list of scalars holds other items: lines of those that stay keep their comments.

    None for a list of anything else, and where items change their order.
    """
    lines = text[at.start : at.end].splitlines(keepends=True)
    lead = text[text.rfind("\n", 0, at.start) + 1 : at.start]
    if lead.strip() or not lines:
        return None
    lines[0] = lead + lines[0]
    items = [_item(line) for line in lines]
    there = [item for item in items if item is not None]
    wanted = [quote.yaml(one) for one in value]
    kept = [item for item in there if item in wanted]
    if not there or kept != [one for one in wanted if one in kept] or any(isinstance(one, dict) for one in value):
        return None
    indent = next(line[: line.index("-")] for line, item in zip(lines, items, strict=True) if item is not None)
    newline = "\r\n" if lines[0].endswith("\r\n") else "\n"
    made = [line for line, item in zip(lines, items, strict=True) if item is None or item in wanted]
    new = [f"{indent}- {one}{newline}" for one in wanted if one not in kept]
    last = max((n for n, line in enumerate(made) if _item(line) is not None), default=-1)
    if made and not made[last].endswith("\n") and new:
        made[last] += newline
        new[-1] = new[-1].removesuffix(newline)
    made[last + 1 : last + 1] = new
    return text[: at.start - len(lead)] + "".join(made) + text[at.end :]


def _item(line: str) -> str | None:
    """The item of a line of a block list as mfc writes it; None for a line that is none."""
    bare = line.strip()
    if not bare.startswith("- ") or bare[2:].lstrip().startswith(("-", "[", "{", "&", "*", "|", ">")):
        return None
    try:
        node = yaml12.parse(bare[2:], Source("item"))
    except SpecError:
        return None
    plain = node.plain() if node else None
    return None if isinstance(plain, dict | list) else quote.yaml(plain)
