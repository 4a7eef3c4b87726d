"""Sizes of pictures from their first bytes: files that the formats' own specifications describe, and any others."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from mfc.data.pictures import head_of, pixels

HEADS = {
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (30).to_bytes(4, "big") + (20).to_bytes(4, "big"),
    "gif": b"GIF89a" + (30).to_bytes(2, "little") + (20).to_bytes(2, "little"),
    "jpeg": b"\xff\xd8\xff\xe0\0\x10" + b"JFIF" + bytes(10) + b"\xff\xc0\0\x11\x08\0\x14\0\x1e",
    "webp": b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\x30\x01\0\x9d\x01\x2a\x1e\0\x14\0",
    "webp, extended": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + bytes([29, 0, 0, 19, 0, 0]),
    "webp, lossless": b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + (29 | 19 << 14).to_bytes(4, "little"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_sizes(kind: str) -> None:
    assert pixels(HEADS[kind] + bytes(100)) == 600


def test_any_bytes_have_a_size_or_none() -> None:
    random_ = random.Random(5)
    for _ in range(2000):
        head = random_.choice(list(HEADS.values()))
        head = head[: random_.randrange(len(head))] + random_.randbytes(random_.randrange(20))
        found = pixels(head)
        assert found is None or found > 0
    assert pixels(b"") is None


def test_where_an_image_lies(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(HEADS["png"])
    folders = (tmp_path / "none", tmp_path)
    found: tuple[Any, ...] = ("a.png", {"path": "a.png"}, {"bytes": HEADS["png"], "path": None}, HEADS["png"])
    for image in found:
        assert pixels(head_of(image, folders)) == 600
    absent: tuple[Any, ...] = ("b.png", "https://a/b.png", "data:image/png;base64,x", None, {}, 3, "\0")
    for image in absent:
        assert head_of(image, folders) == b""
