"""Rows of every layout for the tiny models, of unlike lengths, with pictures and without."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS = 48
SIDE = 56  # of a picture, in pixels: four tokens after merging


def picture() -> bytes:
    """A PNG file, grey in the one corner and white in the other."""
    lines = b"".join(bytes([0, *(byte for x in range(SIDE) for byte in (2 * (x + y),) * 3)]) for y in range(SIDE))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    )
    said = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(said)


def rows(number: int, images: list[str] | None) -> dict[str, dict[str, Any]]:
    """One row of each layout, by the name of its file; `images` is None where rows have no such column."""
    ask, answer = "one and one is", " the model learns" * (1 + number % 5)
    shown = {} if images is None else {"images": images}
    turns = [{"role": "user", "content": "<image>" * len(images or ()) + ask}, {"role": "assistant", "content": answer}]
    empty: dict[str, Any] = {} if images is None else {"images": []}
    return {
        "messages": {"messages": turns, **shown},
        "text": {"text": "the model learns to answer a short question" + answer * 2, **empty},
        "preference": {"prompt": ask, "chosen": answer, "rejected": "two", **empty},
        "rewards": {"system": "", "input": ask, "chosen": answer, "rejected": "two", **empty},
        "kto": {"prompt": ask, "completion": f"{answer} {number}", "label": number % 2 == 0, **empty},  # none twice
        "prompt": {"prompt": ask, **empty},
        "turns": {"prompt": [{"role": "user", "content": ask}], **empty},
    }


def make(folder: Path) -> None:
    """`FOLDER/text`, `FOLDER/vision` (a picture in each row of messages) and `FOLDER/mixed` (in every other)."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / "picture.png"
    image.write_bytes(picture())
    shown: dict[str, Callable[[int], list[str] | None]] = {
        "text": lambda number: None,
        "vision": lambda number: [str(image)],
        "mixed": lambda number: [str(image)] * (number % 2),
    }
    for name, images in shown.items():
        (folder / name).mkdir(exist_ok=True)
        made = [rows(number, images(number)) for number in range(ROWS)]
        for layout in made[0]:
            text = "".join(f"{json.dumps(row[layout])}\n" for row in made)
            (folder / name / f"{layout}.jsonl").write_text(text, encoding="utf-8")
