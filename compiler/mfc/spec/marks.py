"""Where things stand in a spec, and how an error there is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mfc.errors import SpecError

_SHOWN = 5  # errors shown at once


class Source(NamedTuple):
    """A text that values came from: a file, an override, or a mapping given by a program."""

    label: str
    path: Path | None = None
    lines: Sequence[str] = ()  # empty: the label alone says where


class Mark(NamedTuple):
    """A place in a source. Lines and columns count from 1; `width` is in characters."""

    source: Source
    line: int = 1
    column: int = 1
    width: int = 1

    def __str__(self) -> str:
        label = printable(self.source.label)
        return f"{label}:{self.line}:{self.column}" if self.source.path else label


class Mistake(NamedTuple):
    """One thing that is wrong: where, what, what is allowed instead, what was probably meant, and how to mend it."""

    mark: Mark
    text: str
    allowed: str = ""
    near: str = ""
    hint: str = ""

    def headline(self) -> str:
        """Its first line: where it is and what is wrong."""
        return f"{self.mark}: error: {printable(self.text)}"

    def __str__(self) -> str:
        lines = [self.headline(), *_excerpt(self.mark)]
        if self.allowed:
            lines.append(f"  allowed: {printable(self.allowed)}")
        if self.near:
            lines.append(f"  did you mean {printable(self.near)}?")
        if self.hint:
            lines.append(f"  hint: {printable(self.hint)}")
        return "\n".join(lines)


def refusal(problems: Iterable[Mistake]) -> SpecError:
    """The error to raise: the first problem in full, a line for each of the next few, a count for the rest."""
    first, *rest = problems
    lines = [str(first), *(problem.headline() for problem in rest[: _SHOWN - 1])]
    if (more := len(rest) - _SHOWN + 1) > 0:
        lines.append(f"and {more} more {'error' if more == 1 else 'errors'}")
    return SpecError("\n".join(lines))


def printable(text: str) -> str:
    """The text with everything escaped that could move the cursor, colour the terminal or break the line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show(value: object) -> str:
    """A value as an error quotes it: short, on one line."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items()) + "}"
        return text if len(text) <= 60 else "a mapping"
    if isinstance(value, (list, tuple)):
        text = "[" + ", ".join(map(show, value)) + "]"
        return text if len(text) <= 60 else "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:50]}… ({len(text)} characters)"


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The candidate that the word was probably meant to be, or ""."""
    import difflib  # only errors need it

    names = {_plain(name): name for name in candidates}
    close = difflib.get_close_matches(_plain(word), names, n=1, cutoff=0.6)
    return names[close[0]] if close else ""


def _plain(word: str) -> str:
    return re.sub(r"[\s_-]", "", word.lower())


def _excerpt(mark: Mark) -> list[str]:
    """The source line with a caret below, cut to what a terminal shows."""
    if not mark.source.path or not 0 < mark.line <= len(mark.source.lines):
        return []
    line = mark.source.lines[mark.line - 1].replace("\t", " ")
    start = max(0, mark.column - 80)
    before, marked = line[start : mark.column - 1], line[mark.column - 1 :][: mark.width]
    shown = printable(line[start : start + 110].rstrip())
    number = str(mark.line)
    carets = "^" * max(1, min(_columns(printable(marked)), 110))
    return [f"  {number} | {shown}", f"  {' ' * len(number)} | {' ' * _columns(printable(before))}{carets}"]


def _columns(text: str) -> int:
    """Cells that the text takes on a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata  # only errors on lines with other scripts need it

    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
