"""The rows of a file, one after the other: gigabytes pass through, and no more than one row is held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from mfc.data.jsons import json_file, jsonl
from mfc.data.lines import Advance, Row, Unreadable, open_file, refuse, texts
from mfc.data.tables import csv_file, parquet_file
from mfc.data.turns import Fault
from mfc.errors import SpecError

READERS: dict[str, Callable[[BinaryIO, Advance], Iterator[Row]]] = {
    ".jsonl": jsonl,
    ".json": json_file,
    ".csv": csv_file,
    ".parquet": parquet_file,
    ".txt": texts,
}


def rows(path: Path, advance: Advance) -> Iterator[Row]:
    """The rows of a file by its suffix. Raises SpecError where it cannot be opened or its kind is not known."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SpecError(f"{path}: error: data of this kind is not read: {', '.join(READERS)} are")
    with open_file(path) as stream:
        try:
            yield from reader(stream, advance)
        except Unreadable as end:
            yield Row("file", fault=Fault("unreadable", str(end)))
        except OSError as error:
            refuse(path, error.strerror or str(error))
