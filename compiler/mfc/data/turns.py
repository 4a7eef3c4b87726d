"""The turns of a conversation: read from a row, and judged by who speaks after whom."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Fault(NamedTuple):
    """Something wrong with a row: of which kind, and what exactly."""

    kind: str
    text: str


class Turn(NamedTuple):
    """One turn of a conversation. `role` is the spec's word: system, user, assistant, tool, function."""

    role: str
    text: str


class Bad(Exception):
    """Ends the reading of a row: there is nothing to count in it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.fault = Fault(kind, text)


CHAT = {"key": "role", "content": "content"} | {
    role: role for role in ("system", "user", "assistant", "tool", "function")
}


def turns(value: Any, column: str, roles: Mapping[str, str], faults: list[Fault]) -> Iterator[Turn]:
    """The turns that a column holds; `roles` as `mfc.rows.roles` has them. Raises Bad where they cannot be read."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)  # a column of a csv file
        except (ValueError, RecursionError):
            raise Bad("wrong type", f"{column} is text that is no JSON, not a list of turns") from None
    if not isinstance(value, (list, tuple)):
        raise Bad("wrong type", f"{column} is {kind(value)}, not a list of turns")
    if not value:
        raise Bad("empty", f"{column} has no turns")
    spoken = {word: role for role, word in roles.items() if role not in ("key", "content")}
    for number, turn in enumerate(value, 1):
        where = f"{column}, turn {number}"
        if not isinstance(turn, dict):
            raise Bad(
                "wrong type", f"{where} is {kind(turn)}, not an object with {roles['key']} and {roles['content']}"
            )
        for key in (roles["key"], roles["content"]):
            if key not in turn and not (key == roles["content"] and turn.get("tool_calls")):
                has = ", ".join(map(str, list(turn)[:4])) or "nothing"
                raise Bad("missing key", f"{where} has no {key}; it has {has}")
        word = turn[roles["key"]]
        role = spoken.get(word) if isinstance(word, str) else None
        if role is None:
            raise Bad("unknown role", f"{where}: {roles['key']} {word!r:.40} is none of {', '.join(spoken)}")
        text = _content(turn.get(roles["content"]), f"{where}: {roles['content']}")
        if calls := turn.get("tool_calls"):
            text += json.dumps(calls, ensure_ascii=False, default=str)
        if not text.strip() and role != "system":
            faults.append(_empty(role, where))
        yield Turn(role, text)


def _empty(role: str, where: str) -> Fault:
    return Fault("empty answer" if role == "assistant" else "empty turn", f"{where}: {role} says nothing")


def _content(value: Any, where: str) -> str:
    """The text of a turn; of one in parts, what is text in it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(part, dict) for part in value):
        parts = [part.get("text") for part in value if part.get("type") in (None, "text")]
        if all(isinstance(part, str) for part in parts):
            return "".join(map(str, parts))
    raise Bad("wrong type", f"{where} is {kind(value)}, not text")


def order(spoken: Sequence[Turn], ends: str, begins: bool = True) -> Iterator[Fault]:
    """What is wrong with who speaks after whom: questions and answers take turns, a system message comes first."""
    asked = not begins
    for number, (role, _) in enumerate(spoken, 1):
        if role == "system":
            if number > 1:
                yield Fault("role order", f"turn {number} is a system message, and only the first can be")
                return
            continue
        if role == "tool" and number > 1 and spoken[number - 2].role in ("assistant", "function", "tool"):
            asked = True
            continue
        asks = role in ("user", "tool")
        if asks == asked:
            before = spoken[number - 2].role if number > 1 else "nobody"
            yield Fault("role order", f"turn {number} is of {role} and follows {before}")
            return
        asked = asks
    if asked != (ends == "user"):
        wanted = "a question for the answer to follow" if ends == "user" else "an answer to learn"
        yield Fault("role order", f"the last turn is of {spoken[-1].role}, and {wanted} is needed there")


def kind(value: Any) -> str:
    """What a value is, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {str: "text", list: "a list", tuple: "a list", dict: "an object", bytes: "bytes"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}")
