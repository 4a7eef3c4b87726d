"""Rows of JSON: one a line, or the values of an array."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

from mfc.data.lines import PIECE, ROW, TOO_LONG, Advance, Row, Unreadable, lines
from mfc.data.turns import Fault

_SPACE = " \t\r\n"


def jsonl(stream: BinaryIO, advance: Advance) -> Iterator[Row]:
    """One JSON value a line; empty lines count as lines alone."""
    for number, line in lines(stream, advance):
        if line is None:
            yield Row(f"line {number}", fault=TOO_LONG)
        elif line.strip():
            yield parsed(line, f"line {number}")


class _Twice(ValueError):
    """An object has a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Twice(f"the key {next(key for key in keys if keys.count(key) > 1)!r:.60} stands twice in one object")
    return made


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def parsed(line: bytes, place: str) -> Row:
    """The row that a line of JSON holds."""
    try:
        return Row(place, _DECODER.decode(line.decode()))
    except UnicodeDecodeError as error:
        return Row(place, fault=Fault("not UTF-8", f"byte {error.start + 1} of the line, 0x{line[error.start]:02x}"))
    except (ValueError, RecursionError) as error:
        return Row(place, fault=_fault(error))


def _fault(error: Exception) -> Fault:
    if isinstance(error, _Twice):
        return Fault("duplicate key", str(error))
    if isinstance(error, RecursionError):
        return Fault("not JSON", "nested too deeply")
    where = f", at character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
    return Fault("not JSON", f"{getattr(error, 'msg', error)}{where}")


def json_file(stream: BinaryIO, advance: Advance) -> Iterator[Row]:
    """A JSON array of rows, or one row a line under the suffix of JSON."""
    start = stream.read(PIECE).removeprefix(codecs.BOM_UTF8).lstrip()
    stream.seek(0)
    yield from (_array if start.startswith(b"[") else jsonl)(stream, advance)


def _array(stream: BinaryIO, advance: Advance) -> Iterator[Row]:
    """The values of a JSON array, each decoded as soon as it is there."""
    text = _Text(stream, advance)
    text.skip(_SPACE + "\ufeff")
    text.take("[")
    text.skip(_SPACE)
    if text.peek() == "]":
        return
    number = 0
    while True:
        text.skip(_SPACE)
        number += 1
        place = f"line {text.line}" if text.line > 1 else f"row {number}"
        try:
            yield Row(place, text.value())
        except _Twice as error:
            raise Unreadable(f"row {number}, {place}: {error}") from None
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"from {place} on: {_fault(error).text}") from None
        text.skip(_SPACE)
        if text.peek() == "]":
            return
        text.take(",")


class _Text:
    """A window on the text of a file, which moves on as its start is used up."""

    def __init__(self, stream: BinaryIO, advance: Advance) -> None:
        self._stream, self._advance = stream, advance
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._held, self._at, self._ended = "", 0, False
        self.line = 1

    def _more(self, size: int = PIECE) -> bool:
        """Read on; False at the end of the file."""
        if self._ended:
            return False
        piece = self._stream.read(size)
        self._advance(len(piece))
        self._ended = not piece
        try:
            text = self._decoder.decode(piece, self._ended)
        except UnicodeDecodeError as error:
            raise Unreadable(f"not UTF-8 behind line {self.line}: {error.reason}") from None
        self._held, self._at = self._held[self._at :] + text, 0
        return True

    def peek(self) -> str:
        """The next character; nothing at the end."""
        while self._at >= len(self._held):
            if not self._more():
                return ""
        return self._held[self._at]

    def skip(self, characters: str) -> None:
        """Move on over some characters."""
        while (char := self.peek()) and char in characters:
            self.line += char == "\n"
            self._at += 1

    def take(self, char: str) -> None:
        """Move on over the one character that has to stand here."""
        if self.peek() != char:
            found = repr(self.peek()) if self.peek() else "the file ends"
            raise Unreadable(f"line {self.line}: {char!r} is missing; {found} stands there")
        self._at += 1

    def value(self) -> Any:
        """The JSON value that begins here, reading on while it may be cut off. Raises ValueError where it is none."""
        size = PIECE
        while True:
            try:
                made, end = _DECODER.raw_decode(self._held, self._at)
            except _Twice:
                raise
            except ValueError:
                if len(self._held) - self._at > ROW or not self._more(size):
                    raise
                size = min(2 * size, ROW)  # so that a long row is tried a few times only
                continue
            if end < len(self._held) or not self._more():  # a number at the end may go on
                self.line += self._held.count("\n", self._at, end)
                self._at = end
                return made
