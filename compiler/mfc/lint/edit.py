"""Native keys changed in a text, with its comments, its order and every other line as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mfc.emit import quote
from mfc.imports.lines import Span, spans
from mfc.lint import blocks, jsons

GONE: Any = object()  # the value of a key that is taken out


def config(text: str, edits: Mapping[str, Any], order: Sequence[str]) -> str | None:
    """A YAML or JSON text with keys set or taken out; None where that cannot be done line by line.

    A key that is not there yet goes behind the nearest that stands before it in `order`, a nested one behind the last
    beside it.
    """
    as_json = text.lstrip("\ufeff \t\r\n").startswith("{")
    for key, value in edits.items():
        known = spans(text)
        if key in known:
            at = known[key]
            if value is GONE:
                made = jsons.without(text, at) if as_json else _without(text, at)
            elif as_json:
                made = f"{text[: at.start]}{quote.json(value)}{text[at.end :]}"
            else:
                made = _set(text, at, value)
        elif value is GONE:
            continue
        else:
            made = _added(text, key, value, known, order, as_json=as_json)
        if made is None:
            return None
        text = made
    return text


def _set(text: str, at: Span, value: Any) -> str | None:
    """A YAML text with another value at a key that is there."""
    old = text[at.start : at.end]
    if at.start == at.end:
        return None
    if "\n" not in old.rstrip() and not old.startswith("- "):
        return f"{text[: at.start]}{quote.yaml(value)}{text[at.end :]}"
    return blocks.changed(text, at, value) if isinstance(value, list | tuple) else None


def _without(text: str, at: Span) -> str | None:
    """A YAML text without a key and its value, which have lines of their own."""
    first = text.rfind("\n", 0, at.key) + 1
    last = at.end if text[at.start : at.end].endswith("\n") else text.find("\n", at.end) + 1 or len(text)
    if text[first : at.key].strip() or ("\n" in text[at.start : at.end].rstrip() and "#" in text[at.start : at.end]):
        return None
    return text[:first] + text[last:]


def _added(
    text: str, key: str, value: Any, known: Mapping[str, Span], order: Sequence[str], *, as_json: bool
) -> str | None:
    """A text with a key that was not there."""
    above, _, name = key.rpartition(".")
    if above and above not in known:  # a section for it first
        return _added(text, above, {name: value}, known, order, as_json=as_json)
    beside = [one for one in known if one.rpartition(".")[0] == above]
    if above:
        before = beside[-1] if beside else None
    else:
        before = (
            next((one for one in reversed(order[: order.index(key)]) if one in known), None) if key in order else None
        )
        before = before or (beside[-1] if as_json and beside else None)
    if before is None:
        return None
    if as_json:
        return jsons.behind(text, known[before], name, value)
    indent = text[text.rfind("\n", 0, known[before].key) + 1 : known[before].key]
    if indent.strip():  # a mapping in braces, or behind a dash
        return None
    return _behind(text, known[before], f"{indent}{quote.yaml(name)}: {quote.yaml(value)}")


def _behind(text: str, at: Span, line: str) -> str:
    """A text with a line behind that of a key; comments at its end stay with it."""
    end = text.find("\n", max(at.start, len(text[: at.end].rstrip()) - 1))
    newline = "\r\n" if "\r\n" in text else "\n"
    if end < 0:
        return f"{text}{newline}{line}"
    return f"{text[: end + 1]}{line}{newline}{text[end + 1 :]}"


def renamed(text: str, old: str, new: str) -> str | None:
    """A YAML or JSON text with another name for a key, which it does not have yet."""
    known = spans(text)
    above = old.rpartition(".")[0]
    if old not in known or (f"{above}.{new}" if above else new) in known:
        return None
    start = known[old].key + (text[known[old].key] in "'\"")
    last = old.rpartition(".")[2]
    return text[:start] + new + text[start + len(last) :] if text.startswith(last, start) else None
