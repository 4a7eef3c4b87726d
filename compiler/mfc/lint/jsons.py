"""Keys of a JSON text put in and taken out, the other lines as they are."""

from __future__ import annotations

from typing import Any

from mfc.emit import quote
from mfc.imports.lines import Span


def without(text: str, at: Span) -> str:
    """A text without a key and its value; where it was the last, the comma before goes too."""
    start, end = at.key, at.end
    rest = text[end:]
    if (after := rest.lstrip()).startswith(","):
        end += len(rest) - len(after) + 1
        line = text[end:].partition("\n")[0]
        if not line.strip() and not text[text.rfind("\n", 0, start) + 1 : start].strip():  # a line of its own
            return text[: text.rfind("\n", 0, start) + 1] + text[end + len(line) + 1 :]
        return text[:start] + text[end:].lstrip(" ")
    before = text[:start].rstrip()
    return before.removesuffix(",") + text[end:]


def behind(text: str, at: Span, name: str, value: Any) -> str:
    """A text with a key behind another, on a line of its own where that has one."""
    lead = text[text.rfind("\n", 0, at.key) + 1 : at.key]
    newline = "\r\n" if "\r\n" in text else "\n"
    gap = f"{newline}{lead}" if "\n" in text[: at.key] and not lead.strip() else " "
    return f"{text[: at.end]},{gap}{quote.json(name)}: {quote.json(value)}{text[at.end :]}"
