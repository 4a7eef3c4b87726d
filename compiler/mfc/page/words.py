"""The words of a page in its two languages, and text that is safe in HTML."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from markupsafe import Markup, escape

HERE = Path(__file__).parent
LANGUAGES = {"en": "en", "zh": "zh-Hans"}  # class of an element -> its lang
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class Said(NamedTuple):
    """The same in both languages, in their order."""

    en: str
    zh: str


def asset(name: str) -> str:
    """A file of the page's own."""
    return (HERE / name).read_text(encoding="utf-8")


@cache
def _words() -> dict[str, Any]:
    known: dict[str, Any] = yaml.safe_load(asset("words.yaml"))
    return known


def said(key: str, **values: object) -> Said:
    """A phrase of the page with its names filled in; a value that is `Said` gives each language its own."""
    return Said(
        *(
            text.format(**{name: value[at] if isinstance(value, Said) else value for name, value in values.items()})
            for at, text in enumerate(_words()[key])
        )
    )


def named(kind: str, name: str) -> Said:
    """The name of a component or a moment; moments within others are two names with a comma between."""
    known = _words()[kind]
    both = [Said(*known.get(part, (part, part))) for part in name.split(", ")]
    return Said(*(", ".join(parts) for parts in zip(*both, strict=True)))


def shown(both: Said) -> Markup:
    """Both languages as HTML, of which the page shows one; words that are the same in both once."""
    if both.en == both.zh:
        return escape(clean(both.en))
    return Markup("").join(
        Markup('<span class="{}" lang="{}">{}</span>').format(name, lang, clean(text))
        for (name, lang), text in zip(LANGUAGES.items(), both, strict=True)
        if text
    )


def clean(text: object) -> str:
    """Text without what no page can hold or what turns the order of letters round: controls, halves of pairs."""
    return _UNSEEN.sub("\ufffd", str(text))
