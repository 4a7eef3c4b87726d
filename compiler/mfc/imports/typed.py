"""Native values as the framework's own parser takes them: text made numbers and truths, and what is not said."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

_TRUE, _FALSE = ("true", "yes", "on", "t", "y", "1"), ("false", "no", "off", "f", "n", "0")


def settled(data: Mapping[str, Any], contract: Mapping[str, Any]) -> dict[str, Any]:
    """The data with each value in a type that the contract has for it, where there is one that it can be read as."""
    known = contract.get("properties", {})
    return {key: value(item, known.get(key, {})) for key, item in data.items()}


def value(item: Any, schema: Mapping[str, Any]) -> Any:
    """One value. What fits none of the types stays as it is: the codec that reads it will say so."""
    if isinstance(item, Mapping):
        return settled(item, schema) if "properties" in schema else item
    kinds = _kinds(schema)
    if isinstance(item, list):
        inner: Mapping[str, Any] = next((one["items"] for one in _alternatives(schema) if "items" in one), {})
        return [value(each, inner) for each in item]
    if isinstance(item, float) and item.is_integer() and "integer" in kinds and "number" not in kinds:
        return int(item)
    if isinstance(item, int) and not isinstance(item, bool) and kinds == {"boolean"} and item in (0, 1):
        return bool(item)
    made = _of_text(item, kinds) if isinstance(item, str) else item
    if "array" in kinds and "string" not in kinds and isinstance(made, str | int | float):
        return value([made], schema)  # one word for a list of it, as argparse has it
    return made


def fits(item: Any, name: str, contract: Mapping[str, Any]) -> bool:
    """Whether a value has a type that the contract takes at a dotted key; where it says nothing, any has."""
    here: Mapping[str, Any] = contract
    for part in name.split("."):
        here = here.get("properties", {}).get(part, {})
    kinds = _kinds(here)
    return not kinds or any(_IS[kind](item) for kind in kinds)


_IS: Mapping[str, Callable[[Any], bool]] = {
    "array": lambda item: isinstance(item, list),
    "boolean": lambda item: isinstance(item, bool),
    "integer": lambda item: isinstance(item, int) and not isinstance(item, bool),
    "null": lambda item: item is None,
    "number": lambda item: isinstance(item, int | float) and not isinstance(item, bool) and abs(item) < 1e300,
    "object": lambda item: isinstance(item, Mapping),
    "string": lambda item: isinstance(item, str),
}


def default(name: str, contract: Mapping[str, Any]) -> Any:
    """What the framework has where a dotted key is left out; None for nothing."""
    here: Mapping[str, Any] = contract
    for part in name.split("."):
        here = here.get("properties", {}).get(part, {})
    return here.get("default")


def knows(name: str, contract: Mapping[str, Any]) -> bool:
    """Whether the framework has a dotted key; where nothing is known of the inside of a mapping, it does."""
    here: Mapping[str, Any] = contract
    for part in name.split("."):
        inner = here.get("properties")
        if inner is None:
            return True
        if part not in inner:
            return here.get("additionalProperties") not in (False,)
        here = inner[part]
    return True


def _alternatives(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [schema, *schema.get("anyOf", [])]


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for one in _alternatives(schema):
        kind = one.get("type", ())
        found |= {kind} if isinstance(kind, str) else {*kind}
        found |= {_NAMES[type(each)] for each in one.get("enum", ()) if type(each) in _NAMES}
    return found


_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def _of_text(item: str, kinds: set[str]) -> Any:
    word = item.strip()
    if "null" in kinds and word in ("null", "None"):
        return None
    if kinds & {"integer", "number"}:
        try:
            number = float(word)
        except ValueError:
            pass
        else:
            if (
                number.is_integer()
                and ("integer" in kinds or word.lstrip("+-").replace("_", "").isdigit())
                and abs(number) < 2**53
            ):
                return int(number)
            if number - number == 0:  # neither endless nor no number
                return number
    if "boolean" in kinds and word.lower() in (*_TRUE, *_FALSE):
        return word.lower() in _TRUE
    if "object" in kinds and word.startswith("{"):
        try:
            return json.loads(word)
        except (ValueError, RecursionError):
            return item
    return item
