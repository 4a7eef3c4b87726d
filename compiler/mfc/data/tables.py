"""Rows of tables: csv and parquet."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from mfc.data.lines import ROW, Advance, Row, Unreadable, lines
from mfc.data.turns import Fault
from mfc.errors import SpecError


def csv_file(stream: BinaryIO, advance: Advance) -> Iterator[Row]:
    """Rows under a header; every value is text."""
    csv.field_size_limit(min(ROW, sys.maxsize))
    reader = csv.reader(_decoded(stream, advance), strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return
        if double := [name for name in header if header.count(name) > 1]:
            raise Unreadable(f"the header has the column {double[0]!r:.60} twice")
        for cells in reader:
            place = f"line {reader.line_num}"
            if not cells:
                continue
            if len(cells) == len(header):
                yield Row(place, dict(zip(header, cells, strict=True)))
            else:
                text = f"{len(cells)} values, and the header has {len(header)} columns"
                yield Row(place, fault=Fault("not CSV", text))
    except csv.Error as error:
        raise Unreadable(f"not CSV from line {reader.line_num} on: {error}") from None


def _decoded(stream: BinaryIO, advance: Advance) -> Iterator[str]:
    for number, line in lines(stream, advance):
        if line is None:
            raise Unreadable(f"line {number} is longer than {ROW >> 20} MiB")
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise Unreadable(f"line {number} is not UTF-8: byte {error.start + 1}") from None


def parquet_file(stream: BinaryIO, advance: Advance) -> Iterator[Row]:
    """The rows of a parquet file, a batch at a time."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise SpecError(
            f"{stream.name}: error: parquet is read by pyarrow, which is not installed: "
            "pip install 'mfc-compiler[data]'"
        ) from None
    size, number = os.fstat(stream.fileno()).st_size, 0
    try:
        table = parquet.ParquetFile(stream)
        for batch in table.iter_batches(batch_size=256):
            for value in batch.to_pylist():
                number += 1
                yield Row(f"row {number}", value)
            advance(size * batch.num_rows // max(table.metadata.num_rows, 1))
    except (ArrowException, ValueError) as error:
        raise Unreadable(f"not parquet behind row {number}: {str(error).partition(chr(10))[0]:.200}") from None
