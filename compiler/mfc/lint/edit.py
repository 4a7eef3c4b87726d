"""Native keys changed in a text, with its comments, its order and every other line as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mfc.emit import quote
from mfc.imports.lines import Span, spans

GONE: Any = object()  # the value of a key that is taken out


def config(text: str, edits: Mapping[str, Any], order: Sequence[str]) -> str | None:
    """A YAML or JSON text with keys set or taken out; None where that takes more than changing single lines.

    A key that is not there yet goes behind the nearest that stands before it in `order`.
    """
    for key, value in edits.items():
        known = spans(text)
        json = text.lstrip("\ufeff \t\r\n").startswith("{")
        shown = (quote.json if json else quote.yaml)(None if value is GONE else value)
        at = known.get(key)
        if at and ("\n" in text[at.start : at.end].rstrip() or at.start == at.end):
            return None
        if at and value is GONE:
            first, last = text.rfind("\n", 0, at.key) + 1, text.find("\n", at.end) + 1 or len(text)
            if json or text[first : at.key].strip() or "." in key:
                return None
            text = text[:first] + text[last:]
        elif at:
            text = text[: at.start] + shown + text[at.end :]
        elif value is not GONE:
            before = [name for name in order[: order.index(key)] if name in known] if key in order else []
            if json or "." in key or not before:
                return None
            text = _behind(text, known[before[-1]], f"{key}: {shown}")
    return text


def _behind(text: str, at: Span, line: str) -> str:
    """A text with a line behind that of a key; comments at its end stay with it."""
    end = text.find("\n", max(at.start, at.end - 1))
    newline = "\r\n" if "\r\n" in text else "\n"
    if end < 0:
        return f"{text}{newline}{line}"
    return f"{text[: end + 1]}{line}{newline}{text[end + 1 :]}"


_WORD = r"(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s\\'\"]+)"


def script(text: str, edits: Mapping[str, Any]) -> str | None:
    """A shell script with flags set or taken out; None where it has no flag beside which a new one could stand."""
    for key, value in edits.items():
        flag = re.compile(rf"(?<![\w-])--{re.escape(key)}(?P<by>=|[ \t]+)(?P<value>{_WORD})")
        found = [each for each in flag.finditer(text) if not _in_comment(text, each.start())]
        if len(found) > 1:
            return None
        if found:
            start, end = found[0].span("value") if value is not GONE else found[0].span()
            text = text[:start] + ("" if value is GONE else quote.sh(value)) + text[end:]
        elif value is not GONE:
            first = re.search(r"^(?!\s*#).*?(?<=\s)(?=--\w)", text, re.MULTILINE)
            if first is None or "." in key:
                return None
            text = f"{text[: first.end()]}--{key} {quote.sh(value)} {text[first.end() :]}"
    return text


def _in_comment(text: str, at: int) -> bool:
    return text[text.rfind("\n", 0, at) + 1 : at].lstrip().startswith("#")
