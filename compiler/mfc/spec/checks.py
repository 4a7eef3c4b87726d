"""Checks of single values, for the kinds of `values`.

Each returns the plain value or raises ValueError: empty where the words of the kind say what is allowed, else with
better ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from mfc.lengths import rising
from mfc.spec import quantities
from mfc.spec.native import nested

# What a path, a name or any other text may not hold: it would break a line of a generated file or a message.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# What a parser of arguments may take for an option, wherever in a list of words it stands.
_OPTION = re.compile(r"-+[^\W\d]")
_NO_OPTION = "text that does not begin like an option of a command line (--x)"
_HALF = re.compile("[\ud800-\udfff]")
_RELEASE = re.compile(quantities.RELEASE_PATTERN)


def version(value: object) -> object:
    """The version of the language."""
    if type(value) is not int or value != 1:
        raise ValueError("")
    return value


def flag(value: object) -> object:
    """True or false, and nothing that stands for it."""
    if not isinstance(value, bool):
        raise ValueError("")
    return value


def text(value: object) -> object:
    """Text that any generated file can hold on one line."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            "text; put it in quotes if it looks like a number" if isinstance(value, (int, float)) else "text"
        )
    if _CONTROL.search(value):
        raise ValueError("text without control characters and line breaks")
    if value.startswith("-"):  # a program that is handed it would take it for an option
        raise ValueError("text that does not begin with a dash")
    return value


def names(value: object) -> object:
    """A list of texts, as a tuple."""
    if not isinstance(value, (list, tuple)):
        raise ValueError("")
    return tuple(text(item) for item in value)


def modules(value: object) -> object:
    """Names of modules, which frameworks join by commas."""
    if isinstance(value, (list, tuple)) and any("," in str(name) for name in value):
        raise ValueError("a list of names, each without a comma: [q_proj, v_proj]")
    return names(value)


def some_modules(value: object) -> object:
    """The same, not empty."""
    if not value:
        raise ValueError("")
    return modules(value)


def arguments(value: object) -> object:
    """Words of a command line, as a tuple: any text of one line, empty ones and options too."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of words; put those that look like numbers in quotes" if value else "")
    if any(_CONTROL.search(item) for item in value):
        raise ValueError("words without control characters and line breaks")
    return tuple(value)


def files(value: object) -> object:
    """One path, or a list of them."""
    return (text(value),) if isinstance(value, str) else names(value)


def prompt(value: object) -> object:
    """Text that may be empty, and of several lines."""
    if not isinstance(value, str):
        raise ValueError("")
    if _OPTION.match(value):
        raise ValueError(f"{_NO_OPTION}: put a space before it")
    return value


def release(value: object) -> object:
    """The version of a package: its order among others decides what holds, so a branch or a commit is none."""
    if not isinstance(value, str) or not _RELEASE.fullmatch(value):
        raise ValueError("")
    return value


def packages(value: object) -> object:
    """Package names and the versions that are wanted."""
    if not isinstance(value, dict):
        raise ValueError("")
    for name, wanted in value.items():
        if wanted is not None and not (isinstance(wanted, str) and _RELEASE.fullmatch(wanted)):
            raise ValueError(f"{quantities.RELEASE} for each package, or null; that of {text(name)} is none")
    return {text(name): wanted for name, wanted in value.items()}


def native(value: object) -> object:
    """A framework's own keys, as they are."""
    if not isinstance(value, dict):
        raise ValueError("")
    for item in _within(value):
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError("a mapping of the framework's own keys, with finite numbers")
        if isinstance(item, str) and _HALF.search(item):
            raise ValueError("a mapping of the framework's own keys, without halves of surrogate pairs")
    return value


def _within(value: object) -> Iterator[object]:
    """Every key and value of nested data."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _within(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _within(item)
    else:
        yield value


def names_of_framework(value: object) -> object:
    """The same, of a framework whose keys may become flags: dotted names stand for nested ones."""
    native(value)
    if any(isinstance(item, str) and _OPTION.match(item) for item in _within(value)):
        raise ValueError(f"a mapping of the framework's own keys to {_NO_OPTION}")
    return nested(value) if isinstance(value, dict) else value


def indices(value: object) -> object:
    """Indices of devices, as a tuple."""
    if not isinstance(value, (list, tuple)) or not all(type(item) is int and item >= 0 for item in value):
        raise ValueError("")
    if len(set(value)) != len(value):
        raise ValueError("a list of device indices, each once")
    return tuple(value)


def quantiles(value: object) -> object:
    """The lengths of a distribution, as a tuple."""
    if not isinstance(value, (list, tuple)) or not all(type(item) is int and 1 <= item < 2**31 for item in value):
        raise ValueError("")
    if not rising(value):
        raise ValueError("")
    return tuple(value)


def digest(value: object) -> object:
    """A digest as sha256sum prints it."""
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError("")
    return value


def _is_fraction(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


def numbers(value: object) -> object:
    """Finite numbers, as a tuple."""
    if not isinstance(value, (list, tuple)):
        raise ValueError("")
    if not all(isinstance(item, (int, float)) and not isinstance(item, bool) and math.isfinite(item) for item in value):
        raise ValueError("")
    return tuple(float(item) for item in value)


def betas(value: object) -> object:
    """Adam's two decay rates."""
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(_is_fraction(beta) for beta in value):
        raise ValueError("")
    return tuple(float(beta) for beta in value)


def capability(value: object) -> object:
    """(major, minor) from "8.6"."""
    match = re.fullmatch(r"(\d{1,2})\.(\d)", str(value))
    if match is None or isinstance(value, bool):
        raise ValueError("")
    return int(match[1]), int(match[2])


def evaluation(value: object) -> object:
    """A share of the training data, a path, or None."""
    if isinstance(value, str) and not value.strip().endswith("%"):
        return None if value == "none" else text(value)
    share = quantities.fraction(value)
    if not 0 < share < 1:
        raise ValueError("")
    return share


def elements(value: object) -> int:
    """A whole number of elements, which may be written 5e8."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0 or value != int(value):
        raise ValueError("")
    return int(value)
