"""A framework's own keys as users write them: dotted names nest, and two ways of writing one key are one key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)


def nested(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The keys with dotted names nested: {"a.b": 1} is {"a": {"b": 1}}. Below a name, keys stay as they are.

    Raises ValueError for what is no name, and for a key that is given twice or lies in one that is no mapping.
    """
    made: dict[str, Any] = {}
    for key, value in keys.items():
        if not all(NAME.fullmatch(part) for part in key.split(".")):
            raise ValueError(f"names of letters, digits, - and _ that may have dots between them; {key!r} is none")
        tree = reduce(lambda below, part: {part: below}, reversed(key.split(".")), value)
        if both := clash(made, tree):
            raise ValueError(f"keys that are each given once; {both} is given twice")
        made = joined(made, tree)
    return made


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted path of every value in nested mappings."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def clash(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> str:
    """The first key at which two trees cannot be joined, for both have a value there; empty: there is none."""
    for key in one.keys() & other.keys():
        mine, theirs = one[key], other[key]
        if not (isinstance(mine, Mapping) and isinstance(theirs, Mapping)):
            return f"{prefix}{key}"
        if found := clash(mine, theirs, f"{prefix}{key}."):
            return found
    return ""


def joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of both trees; at one that both have, the values are mappings, and join."""
    both = {key: joined(one[key], other[key]) for key in one.keys() & other.keys()}
    return {**one, **other, **both}


def without(data: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    """The data less what stands in `taken` too, and less the mappings that nothing is left of."""
    left = {}
    for key, value in data.items():
        below = taken.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and below:
            if rest := without(value, below):
                left[key] = rest
        elif key not in taken:
            left[key] = value
    return left
