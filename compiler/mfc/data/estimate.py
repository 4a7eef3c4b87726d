"""Tokens of a text without its tokenizer: characters by script, at rates measured on real vocabularies.

Measured by `benchmarks/measure/tokens.py`: the mean over Qwen (151,643 entries), Llama 3 (128,000), Llama 4 (200,000)
and DeepSeek (129,280), and over Mistral v1 and v3 (32,000 and 32,768), which stand for all of their size. English is
Python's reference: formal prose has 7 to 23 % fewer tokens than estimated, text full of figures and markup up to 25 %
more (docs/data.md). One large vocabulary has up to 27 % more or fewer characters to a token than their mean, most in
Cyrillic.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SMALL = 65_536  # vocabularies of at most so many entries count as small. An assumption: none was measured in between

# What a chat template lays around each turn: <|im_start|>, the role, a line break, <|im_end|>, a line break in ChatML;
# <|start_header_id|>, the role, <|end_header_id|>, an empty line, <|eot_id|> in Llama 3.
TURN = 5


class Rates(NamedTuple):
    """Characters per token, by script."""

    ascii: float
    latin: float  # texts in Latin letters of which some have marks
    cyrillic: float
    han: float
    kana: float
    hangul: float
    other: float  # measured on Arabic, Hebrew, Hindi, Thai and Greek: 1.0 to 3.1 characters, whichever vocabulary


_LARGE_RATES = Rates(ascii=4.36, latin=3.57, cyrillic=3.26, han=1.43, kana=1.58, hangul=1.76, other=2.18)
_SMALL_RATES = Rates(ascii=3.79, latin=2.84, cyrillic=2.61, han=0.86, kana=0.88, hangul=0.95, other=1.01)

_MARKED = re.compile("[\u00c0-\u024f\u1e00-\u1eff]")
_SCRIPTS = {
    "latin": re.compile("[\\x00-\u024f\u1e00-\u1eff\u2000-\u206f]+"),
    "cyrillic": re.compile("[\u0400-\u052f]+"),
    "han": re.compile("[\u3000-\u303f\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]+"),
    "kana": re.compile("[\u3040-\u30ff]+"),
    "hangul": re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]+"),
}


def rates(vocabulary: int) -> Rates:
    """The rates for a vocabulary of so many entries."""
    return _SMALL_RATES if vocabulary <= SMALL else _LARGE_RATES


def tokens(text: str, at: Rates) -> float:
    """About how many tokens a text has."""
    if text.isascii():
        return len(text) / at.ascii
    left, total = len(text), 0.0
    plain = not _MARKED.search(text)
    for script, letters in _SCRIPTS.items():
        found = sum(map(len, letters.findall(text)))
        total += found / (at.ascii if script == "latin" and plain else getattr(at, script))
        left -= found
    return total + left / at.other
