"""The sizes of pictures, from the first bytes of their files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mfc.data.lines import open_file
from mfc.errors import SpecError

_HEAD = 2**16  # bytes that are looked at: what stands before a JPEG's size may be long
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's markers of a frame, which hold its size

Sight = Callable[[Any, tuple[Path, ...]], int]  # a row's image, and the folders it may lie in, to its tokens


def pixels(head: bytes) -> int | None:
    """Width times height of a PNG, GIF, WebP or JPEG that begins like this; None where that cannot be told."""
    try:
        width, height = _size(head)
    except (struct.error, ValueError, IndexError):
        return None
    return width * height if width > 0 and height > 0 else None


def _size(head: bytes) -> tuple[int, int]:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack(">II", head[16:24])
    elif head[:6] in (b"GIF87a", b"GIF89a"):
        width, height = struct.unpack("<HH", head[6:10])
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp(head)
    elif head.startswith(b"\xff\xd8"):
        return _jpeg(head)
    else:
        raise ValueError
    return width, height


def _webp(head: bytes) -> tuple[int, int]:
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", head[21:25])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _jpeg(head: bytes) -> tuple[int, int]:
    at = 2
    while head[at] == 0xFF:
        if head[at + 1] in _FRAMES:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        (size,) = struct.unpack(">H", head[at + 2 : at + 4])
        at += 2 + size
    raise ValueError


def head_of(image: Any, folders: tuple[Path, ...]) -> bytes:
    """The first bytes of a row's image: a path, or an object with bytes or a path. Empty where there are none."""
    if isinstance(image, dict):
        image = image.get("bytes") or image.get("path")
    if isinstance(image, bytes):
        return image[:_HEAD]
    if not isinstance(image, str) or image.startswith(("http://", "https://", "data:")):
        return b""
    for folder in folders:
        try:
            with open_file(folder / image) as stream:
                return stream.read(_HEAD)
        except (SpecError, OSError):
            continue
    return b""
