"""Flags, variables and here-documents of a shell script changed in its text, every other line as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mfc.emit import quote
from mfc.imports.lines import spans
from mfc.lint import edit
from mfc.lint.edit import GONE

_WORD = r"(?:'[^'\n]*'|\"[^\"\n]*\"|\$\(\([^\n]*?\)\)|[^\s\\'\"]+)"
_VARIABLE = re.compile(r"\"?\$(?:\{(?P<braced>\w+)\}|(?P<bare>\w+))\"?")
_OWN = re.compile(r"(?P<lead>\"?\$\{\w+:?[-=])(?P<value>[^}$]*)(?P<end>\}\"?)")  # ${NAME:-8}: the user's, or 8
_DOCUMENT = re.compile(
    r"<<-?[ \t]*(?P<quote>['\"]?)(?P<mark>\w+)(?P=quote)[^\n]*\n(?P<body>.*?)^[ \t]*(?P=mark)[ \t]*\r?$",
    re.DOTALL | re.MULTILINE,
)


def flags(text: str, edits: Mapping[str, Any], there: Iterable[str]) -> str | None:
    """A script with flags set or taken out; None where it has no flag beside which a new one could stand.

    A flag whose value is a variable is changed where the script gives that variable its value. A new one stands before
    the first of those that the run is told already (`there`), for a launcher before it would take it for its own.
    """
    for key, value in edits.items():
        found = _flags(text, key)
        if len(found) > 1 or (found and value is not GONE and found[0]["value"] is None and value is not True):
            return None
        if found and value is GONE:
            text = _shortened(text, found[0])
        elif found and found[0]["value"] is not None:
            held = _VARIABLE.fullmatch(found[0]["value"])
            made = _assigned(text, held["braced"] or held["bare"], value) if held else None
            start, end = found[0].span("value")
            text = made or text[:start] + _shell(value) + text[end:]
        elif not found and value is not GONE:
            places = [one.start() for name in there for one in _flags(text, name)]
            if not places or "." in key:
                return None
            text = f"{text[: min(places)]}--{key} {_shell(value)} {text[min(places) :]}"
    return text


def variables(text: str, edits: Mapping[str, Any]) -> str:
    """A script with variables of the environment set that it sets already; others stay out."""
    for key, value in edits.items():
        text = (_assigned(text, key, value) if value is not GONE and "." not in key else None) or text
    return text


def document(text: str, body: str, edits: Mapping[str, Any], order: Sequence[str]) -> str | None:
    """A script with keys changed in the YAML or JSON that a here-document of it holds; `body` is what that says.

    None where no here-document, or several, have its keys.
    """
    wanted = spans(body).keys()
    found = [one for one in _DOCUMENT.finditer(text) if spans(one["body"]).keys() == wanted]
    if len(found) != 1 or not wanted:
        return None
    start, end = found[0].span("body")
    made = edit.config(text[start:end], edits, order)
    return None if made is None else text[:start] + made + text[end:]


def renamed(text: str, old: str, new: str) -> str | None:
    """A script with another name for a flag, which it does not have yet."""
    found = _flags(text, old)
    if len(found) != 1 or _flags(text, new):
        return None
    start, end = found[0].span("name")
    return text[:start] + new + text[end:]


def _flags(text: str, key: str) -> list[re.Match[str]]:
    """The places of a flag of a script, however its words are joined, that are no comments."""
    name = re.escape(key).replace("_", "[-_]")
    flag = re.compile(rf"(?<![\w-])--(?P<name>{name})(?![\w.-])(?:(?P<by>=|[ \t]+(?!--|\\|\n))(?P<value>{_WORD}))?")
    return [one for one in flag.finditer(text) if not _in_comment(text, one.start())]


def _assigned(text: str, name: str, value: Any) -> str | None:
    """A script with another value of a variable that it sets once; its `${NAME:-8}` keeps the user's own value."""
    one = re.compile(rf"(?<![\w$\{{-]){re.escape(name)}=(?P<value>{_WORD})")
    found = [each for each in one.finditer(text) if not _in_comment(text, each.start())]
    if len(found) != 1:
        return None
    start, end = found[0].span("value")
    own = _OWN.fullmatch(text[start:end])
    new = f"{own['lead']}{_shell(value)}{own['end']}" if own else _shell(value)
    return text[:start] + new + text[end:]


def _shell(value: Any) -> str:
    return " ".join(map(quote.sh, value)) if isinstance(value, list | tuple) else quote.sh(value)


def _shortened(text: str, flag: re.Match[str]) -> str:
    """A script without a flag; a line that held it alone goes with it, unless it is the last of its command."""
    start, end = flag.span()
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end) + 1 or len(text)
    if not text[first:start].strip() and re.fullmatch(r"[ \t]*\\\r?\n", text[end:last]):
        return text[:first] + text[last:]
    return text[:start] + text[end:]


def _in_comment(text: str, at: int) -> bool:
    return re.search(r"(?:^|\s)#", text[text.rfind("\n", 0, at) + 1 : at]) is not None
