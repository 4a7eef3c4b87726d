"""Files of rows: every kind gives the same rows, and whatever else lies there is one clear fault."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from mfc.data import lines
from mfc.data.reading import READERS, rows
from mfc.errors import SpecError

from tests.data import optional

ROWS = [{"text": "a"}, {"text": "b\nc"}, {"text": "长 😀"}]


def read(path: Path) -> list[Any]:
    """Values of rows, or the kinds of their faults."""
    return [row.fault.kind if row.fault else row.value for row in rows(path, lambda _: None)]


def text(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_every_kind_gives_the_same_rows(tmp_path: Path) -> None:
    pyarrow, parquet = optional("pyarrow"), optional("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    jsonl = "\n".join(json.dumps(row) for row in ROWS)
    made = {
        "lines.jsonl": jsonl,
        "bom.jsonl": "\ufeff" + jsonl + "\n\n",
        "lines.json": jsonl.replace("\n", "\r\n"),
        "array.json": json.dumps(ROWS),
        "pretty.json": "\ufeff\n" + json.dumps(ROWS, indent=2, ensure_ascii=False) + "\n",
        "table.csv": 'text\na\n"b\nc"\n长 😀\n',
    }
    for name, content in made.items():
        assert read(text(tmp_path / name, content)) == ROWS, name
    assert read(tmp_path / "a.parquet") == ROWS
    assert {Path(name).suffix for name in made} | {".parquet", ".txt"} == READERS.keys()
    assert read(text(tmp_path / "a.txt", "a\n\nb\n")) == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize(
    ("name", "content", "kinds"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": 1, "a": 2}\n', [{"a": 1}, "duplicate key"]),
        ("a.jsonl", '{"a": {"b": 1, "b": 1}}', ["duplicate key"]),
        ("a.jsonl", '{"a": NaN}\n{"a"\n\x00\n[]', ["not JSON", "not JSON", "not JSON", []]),
        ("a.jsonl", b'{"a": "\xff"}\n{}', ["not UTF-8", {}]),
        ("a.jsonl", "[" * 100_000, ["not JSON"]),
        ("a.jsonl", "1" * 10_000, ["not JSON"]),
        ("a.json", "[" * 100_000, ["unreadable"]),
        ("a.json", '[{"a": 1}, {"a": 1, "a": 1}, {}]', [{"a": 1}, "unreadable"]),
        ("a.json", '[{"a": 1} {}]', [{"a": 1}, "unreadable"]),
        ("a.json", '[{"a": 1},', [{"a": 1}, "unreadable"]),
        ("a.json", '[{"a": "', ["unreadable"]),
        ("a.json", b'[{"a": "\xff"}]', ["unreadable"]),
        ("a.json", "[]", []),
        ("a.json", "", []),
        ("a.json", "[12, 3.5]", [12, 3.5]),
        ("a.csv", "", []),
        ("a.csv", "a,b\n1\n1,2\n", ["not CSV", {"a": "1", "b": "2"}]),
        ("a.csv", "a,a\n1,2\n", ["unreadable"]),
        ("a.csv", 'a\n"b', ["unreadable"]),
        ("a.csv", b"a\n\xff\n", ["unreadable"]),
        ("a.csv", "a\n\x00\n", [{"a": "\x00"}]),
        ("a.txt", b"a\n\xff", [{"text": "a"}, "not UTF-8"]),
        ("a.parquet", "PAR1 it is not", ["unreadable"]),
        ("a.parquet", "", ["unreadable"]),
    ],
)
def test_what_is_broken_is_a_fault(tmp_path: Path, name: str, content: str | bytes, kinds: list[Any]) -> None:
    if name.endswith("parquet"):
        optional("pyarrow")
    assert read(text(tmp_path / name, content)) == kinds


def test_a_giant_line_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "ROW", 100)
    monkeypatch.setattr(lines, "PIECE", 7)
    path = text(tmp_path / "a.jsonl", '{"a": "' + "x" * 1000 + '"}\n{"a": 1}\n' + " " * 99 + "\n" + "1" * 100)
    seen: list[int] = []
    assert [row.fault.kind if row.fault else row.value for row in rows(path, seen.append)] == [
        "too long",
        {"a": 1},
        int("1" * 100),
    ]
    assert sum(seen) == path.stat().st_size


def test_arrays_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a piece of the file ends, the rows are the same."""
    from mfc.data import jsons

    random_ = random.Random(3)
    for piece in (1, 2, 3, 7, 64):
        monkeypatch.setattr(jsons, "PIECE", piece)
        made = [{"a": '长\n"😀' * random_.randrange(5), "b": random_.randrange(10**6)} for _ in range(5)]
        assert read(text(tmp_path / "a.json", json.dumps(made, ensure_ascii=False, indent=1))) == made


def test_pipes_folders_and_unknown_kinds(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    for name in ("pipe.jsonl", "folder.jsonl", "none.jsonl", "a.exe", "a"):
        with pytest.raises(SpecError, match=r"cannot be read|not read"):
            read(tmp_path / name)


def test_any_bytes_are_read_or_refused(tmp_path: Path) -> None:
    random_ = random.Random(11)
    pieces = [b"[", b"]", b"{", b"}", b'"a"', b":", b",", b"\n", b"\xff", b"\x00", b"1", b"null", b" ", b'"', b"\\"]
    for number in range(300):
        content = b"".join(random_.choice(pieces) for _ in range(random_.randrange(30)))
        for suffix in (".jsonl", ".json", ".csv", ".txt"):
            read(text(tmp_path / f"{number}{suffix}", content))
