"""Rows of data that fill a batch: one longer than what is cut off, one a little shorter, so that it is padded."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

ROWS = 48
LENGTH = 512  # tokens
SIDE = 280  # of a picture, in pixels: 400 patches, 100 tokens
LONG, SHORTER, SHORT = LENGTH + 200, LENGTH - 110, LENGTH // 4
PROMPT = LENGTH - 64  # beside an answer of 64 tokens; a template adds 72 or 16 of them


def digits(tokens: int) -> str:
    """A text of that many tokens: the tiny models' tokenizer has never seen two digits together."""
    return ("7" * tokens)[:tokens]


def picture() -> bytes:
    """A PNG file of grey squares."""
    lines = b"".join(bytes([0, *(byte for x in range(SIDE) for byte in ((x + y) % 256,) * 3)]) for y in range(SIDE))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    )
    said = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(said)


def row(number: int, tokens: int, image: Path | None) -> dict[str, dict[str, Any]]:
    """One row of each layout, by the name of its file."""
    ask = ("<image>" if image else "") + digits(20)
    shown = {"images": [str(image)]} if image else {}
    answer = f"{number:02}" + digits(tokens - (100 if image else 0))
    turns = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
    return {
        "messages": {"messages": turns, **shown},
        "text": {"text": answer},
        "preference": {"prompt": ask, "chosen": f"{number:02}{digits(LONG)}", "rejected": digits(SHORTER), **shown},
        "kto": {"prompt": ask, "completion": answer, "label": number % 4 < 2},
        "prompt": {"prompt": digits(PROMPT - 72)},
        "turns": {"prompt": [{"role": "user", "content": digits(PROMPT - 16)}]},
    }


def make(folder: Path) -> None:
    """`FOLDER/text`, `FOLDER/pictures` (one in each row), and `FOLDER/short`, of which several fit in one length."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / "picture.png"
    image.write_bytes(picture())
    for name, lengths, shown in (
        # One of each in every two that follow each other, and in every two of every other row.
        ("text", (LONG, SHORTER, SHORTER, LONG), None),
        ("pictures", (LONG, SHORTER, SHORTER, LONG), image),
        ("short", (SHORT,), None),
    ):
        (folder / name).mkdir(exist_ok=True)
        made = [row(number, lengths[number % len(lengths)], shown) for number in range(ROWS)]
        for layout in made[0]:
            text = "".join(f"{json.dumps(one[layout])}\n" for one in made)
            (folder / name / f"{layout}.jsonl").write_text(text, encoding="utf-8")
