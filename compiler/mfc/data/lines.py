"""Files of data, a line at a time."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from mfc.data.turns import Fault
from mfc.errors import SpecError

ROW = 2**26  # bytes of one row: what is longer is a fault, and is not held
PIECE = 2**20  # bytes that are read at once

Advance = Callable[[int], None]  # told how many bytes have been read since it was last called


class Row(NamedTuple):
    """One row and where it stands; `fault` where it could not be read."""

    place: str  # line 12, row 3
    value: Any = None
    fault: Fault | None = None


class Unreadable(Exception):
    """Nothing more can be read of a file, and why."""


def open_file(path: Path) -> BinaryIO:
    """A regular file for reading. Raises SpecError for what is none, without waiting for pipes."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        refuse(path, getattr(error, "strerror", None) or str(error))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        refuse(path, "a folder, a pipe or a device, and a regular file is needed there")
    return os.fdopen(handle, "rb")


def refuse(path: Path, why: str) -> NoReturn:
    """Raise the error of a file that cannot be read."""
    raise SpecError(f"{path}: error: the data cannot be read: {why}") from None


def lines(stream: BinaryIO, advance: Advance) -> Iterator[tuple[int, bytes | None]]:
    """The lines of a file with their numbers; None for one that is too long to hold."""
    number = 0
    while line := stream.readline(ROW):
        number += 1
        size = len(line)
        if size == ROW and not line.endswith(b"\n"):
            rest = stream.readline(PIECE)
            whole = not rest
            while rest:
                size += len(rest)
                rest = b"" if rest.endswith(b"\n") else stream.readline(PIECE)
            yield number, line if whole else None
        else:
            yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        advance(size)


TOO_LONG = Fault("too long", f"longer than {ROW >> 20} MiB")


def texts(stream: BinaryIO, advance: Advance) -> Iterator[Row]:
    """Plain text: a row a line, as the datasets library has it."""
    for number, line in lines(stream, advance):
        place = f"line {number}"
        if line is None:
            yield Row(place, fault=TOO_LONG)
        elif line.strip():
            try:
                yield Row(place, {"text": line.decode().rstrip("\r\n")})
            except UnicodeDecodeError as error:
                yield Row(place, fault=Fault("not UTF-8", f"byte {error.start + 1} of the line"))
