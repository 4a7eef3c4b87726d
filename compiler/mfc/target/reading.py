"""Back from a file to what a plan said: for every field, the values that could have written the file.

What each key could have been written by is a set; over the keys of a file the sets are intersected. What stays
ambiguous stays open: a field may have several values left, or none that anything says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mfc.target.codecs import Reader, Reading, Unwritten
from mfc.target.keys import Key
from mfc.target.values import at_key, equal


class Read(NamedTuple):
    """What a file tells: by field the values that are possible, and a note for each key that told nothing certain."""

    values: Mapping[str, tuple[Any, ...]]
    notes: Mapping[str, str]  # dotted native key -> why it says nothing, or nothing that goes with the others


def read(keys: Iterable[Key], reader: Reader) -> Read:
    """Read all keys that the data of `reader` holds."""
    values: dict[str, tuple[Any, ...]] = {}
    notes: dict[str, str] = {}
    for key in keys:
        try:
            native = at_key(reader.data, key.name)
        except KeyError:
            continue
        if key.codec.one_way:
            notes[key.name] = key.codec.one_way
        try:
            told = key.codec.read(native, reader)
        except (Unwritten, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            notes[key.name] = str(error) if isinstance(error, Unwritten) else f"{native!r} cannot be read"
            continue
        for reading in (told, key.when.tells if key.when else {}):
            notes.update(_narrow(values, reading, key.name))
    return Read(values, notes)


def _narrow(values: dict[str, tuple[Any, ...]], reading: Reading, key: str) -> dict[str, str]:
    """Intersect what is known of each field with what one more key tells; a note where nothing would be left."""
    notes = {}
    for field, possible in reading.items():
        known = values.get(field)
        left = possible if known is None else tuple(one for one in known if any(equal(one, each) for each in possible))
        if left:
            values[field] = left
        else:
            notes[key] = f"it says {field} {_listed(possible)}, and other keys say {_listed(known or ())}"
    return notes


def _listed(values: tuple[Any, ...]) -> str:
    return " or ".join(map(str, values)) or "nothing possible"
