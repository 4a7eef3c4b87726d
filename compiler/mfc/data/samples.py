"""What a row says and what is wrong with it: pure functions from a row and its declared layout."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mfc.data.turns import CHAT, Bad, Fault, Turn, kind, order, turns

MISSING = "missing column"
GENERATES = ("ppo", "grpo")  # tasks whose rows are prompts: the answers are made in training


class Layout(NamedTuple):
    """How the rows of one data set are written: columns and roles by their names in the spec (see `mfc.rows`)."""

    form: str
    task: str
    columns: Mapping[str, str]
    roles: Mapping[str, str]
    named: frozenset[str] = frozenset()  # columns that the spec names itself, so that every row has to have them
    system: str | None = None  # begins chats that have none


class Sample(NamedTuple):
    """What one row trains on. A pair has two sequences: the prompt with either answer."""

    sequences: tuple[tuple[Turn, ...] | str, ...] = ()
    tools: Any = None
    images: tuple[Any, ...] = ()
    faults: tuple[Fault, ...] = ()


def sample(row: Any, layout: Layout) -> Sample:
    """The sequences of a row, or what is wrong with it."""
    faults: list[Fault] = []
    try:
        if not isinstance(row, dict):
            raise Bad("wrong type", f"a row is an object with columns, this is {kind(row)}")
        for column in layout.named:
            _column(row, column)
        sequences = tuple(_sequences(row, layout, faults))
        tools = _tools(row.get(layout.columns.get("tools", "tools"))) if layout.roles else None
        images = tuple(_images(row, layout))
    except Bad as bad:
        return Sample(faults=(*faults, bad.fault))
    for text in _texts(sequences):
        faults.extend(_characters(text))
    return Sample(sequences, tools, images, tuple(dict.fromkeys(faults)))


def _sequences(row: dict[str, Any], layout: Layout, faults: list[Fault]) -> Iterator[tuple[Turn, ...] | str]:
    columns, task = layout.columns, layout.task
    if layout.form == "text":
        yield _text(row, columns["text"], faults)
        return
    prompt = list(_prompt(row, layout, faults))
    if prompt and prompt[0].role != "system":
        first = _optional(row, columns.get("system", "system")) or layout.system
        prompt = [Turn("system", first), *prompt] if first else prompt
    answers = [columns[name] for name in ("chosen", "rejected", "response") if name in columns]
    if not answers:
        faults.extend(order(prompt, ends="user" if task in GENERATES else "assistant"))
        yield tuple(prompt)
    elif prompt:
        faults.extend(order(prompt, ends="user"))
    for column in answers:
        yield (*prompt, *_answer(row, column, layout, faults))
    if "label" in columns:
        _label(row, columns["label"])


def _prompt(row: dict[str, Any], layout: Layout, faults: list[Fault]) -> Iterator[Turn]:
    columns = layout.columns
    if "messages" in columns:
        value = _column(row, columns["messages"])
        yield from turns(value, columns["messages"], layout.roles, faults)
        return
    column = columns["prompt"]
    if isinstance(row.get(column), list):
        yield from turns(row[column], column, CHAT, faults)
        return
    if column not in row and {"chosen", "rejected"} <= columns.keys():
        return  # whole conversations, prompt included, in either answer
    query = _optional(row, columns["query"]) if "query" in columns else ""
    text = _text(row, column, [] if query.strip() else faults)  # alpaca's instruction may be empty beside an input
    yield Turn("user", f"{text}\n{query}" if text and query else text or query)


def _answer(row: dict[str, Any], column: str, layout: Layout, faults: list[Fault]) -> Iterator[Turn]:
    value = _column(row, column)
    roles = layout.roles or CHAT
    if isinstance(value, dict):
        yield from turns([value], column, roles, faults)
    elif isinstance(value, list):
        found = list(turns(value, column, roles, faults))
        faults.extend(order(found, ends="assistant", begins=len(found) > 1))
        yield from found
    else:
        yield Turn("assistant", _text(row, column, faults, "empty answer"))


def _column(row: dict[str, Any], column: str) -> Any:
    if column not in row:
        raise Bad(MISSING, f"no column {column}; there are {', '.join(list(row)[:6]) or 'none'}")
    return row[column]


def _text(row: dict[str, Any], column: str, faults: list[Fault], called: str = "empty") -> str:
    value = _column(row, column)
    if not isinstance(value, str):
        raise Bad("wrong type", f"{column} is {kind(value)}, not text")
    if not value.strip():
        faults.append(Fault(called, f"{column} is empty"))
    return value


def _optional(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Bad("wrong type", f"{column} is {kind(value)}, not text")
    return value


def _label(row: dict[str, Any], column: str) -> None:
    value = _column(row, column)
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false", "0", "1")):
        return
    raise Bad("wrong type", f"{column} is {kind(value)}, not true or false")


def _tools(value: Any) -> Any:
    """Tools as a template takes them; they may be JSON in a text."""
    if isinstance(value, str) and value.strip():
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value or None


def _images(row: dict[str, Any], layout: Layout) -> Iterator[Any]:
    column = layout.columns.get("images")
    if column is None:
        return
    value = row.get(column)
    if value is None:
        return
    yield from value if isinstance(value, (list, tuple)) else (value,)


def _texts(sequences: Sequence[tuple[Turn, ...] | str]) -> Iterator[str]:
    for sequence in sequences:
        if isinstance(sequence, str):
            yield sequence
        else:
            yield from (turn.text for turn in sequence)


def _characters(text: str) -> Iterator[Fault]:
    """Characters that tokenizers or loaders choke on."""
    if "\x00" in text:
        yield Fault("NUL character", f"a NUL character, at character {text.index(chr(0)) + 1} of a text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        yield Fault("not UTF-8", f"half of a surrogate pair, at character {error.start + 1} of a text")
