"""Writing values so that no string can leave its place: YAML, JSON, shell words, Python literals, comments.

Each function takes any plain value (None, bool, int, float, str, list, mapping) and returns text on one line, except
`comment`, `block` and `document`. What is written, read back by the format's own reader, is the value that was given.
"""

from __future__ import annotations

import json as _json
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from mfc.errors import Fault

WIDTH = 110  # columns of a comment, its marks included

# Words that some YAML reader, old or new, takes for something other than a string.
_YAML_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"])
# What every YAML reader takes for a string without quotes: no digit, sign or dot in front, no space, colon or mark.
_YAML_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*\Z", re.ASCII)


class Unwritable(ValueError):
    """A value that the format cannot hold."""


def yaml(value: Any) -> str:
    """A scalar, or a sequence or mapping in flow style. Strings are quoted wherever YAML 1.1 and 1.2 could differ."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _number(value)
        case str() if _YAML_PLAIN.match(value) and value.lower() not in _YAML_WORDS:
            return str(value)
    import yaml as library

    text = library.dump(
        plain(value), Dumper=_dumper(), default_flow_style=True, width=math.inf, allow_unicode=True, sort_keys=False
    )
    return str(text).removesuffix("\n").removesuffix("\n...")


def block(value: Any) -> str:
    """A whole YAML document in block style; text of several lines stands as it is, indented."""
    import yaml as library

    dumped = library.dump(plain(value), Dumper=_dumper(), width=math.inf, allow_unicode=True, sort_keys=False)
    return str(dumped)


def _dumper() -> Any:
    import yaml as library

    class Dumper(library.SafeDumper):
        """Quotes every string that `_YAML_PLAIN` does not allow bare, and shares no anchors."""

        def increase_indent(self, flow: bool = False, *_: Any, **__: Any) -> Any:
            return super().increase_indent(flow, False)  # lists stand deeper than their key

        def ignore_aliases(self, _: Any) -> bool:
            return True

    def string(dumper: Any, value: str) -> Any:
        bare = _YAML_PLAIN.match(value) and value.lower() not in _YAML_WORDS
        style = None if bare else "|" if "\n" in value and not dumper.default_flow_style else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, string)
    Dumper.add_representer(float, lambda dumper, value: dumper.represent_scalar(_FLOAT_TAG, _number(value)))
    return Dumper


_FLOAT_TAG = "tag:yaml.org,2002:float"


def _number(value: float) -> str:
    """A float that YAML 1.1, YAML 1.2, JSON and Python all read as the same float: 2.0e-5, 0.001, 3.0."""
    if not math.isfinite(value):
        raise Fault(f"{value} is not a number that a config file can hold")
    digits, e, exponent = repr(value).partition("e")
    if not e:
        return digits
    # YAML 1.1 wants a dot in the mantissa and a sign in the exponent.
    return f"{digits if '.' in digits else digits + '.0'}e{int(exponent):+d}"


def json(value: Any) -> str:
    """Compact JSON on one line; integral floats as integers."""
    return _json_line(plain(value))


def _json_line(value: Any) -> str:
    match value:
        case str():
            # Separators and control characters as escapes, so that no reader counts one line as two.
            return _json.dumps(value, ensure_ascii=not value.isprintable())
        case bool() | None:
            return _json.dumps(value)
        case float() if not math.isfinite(value):
            raise Fault(f"{value} is not a number that JSON can hold")
        case float() if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        case dict():
            return "{" + ", ".join(f"{_json_line(str(key))}: {_json_line(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_json_line, value)) + "]"
    return _json.dumps(value)


def document(value: Any) -> str:
    """A whole JSON file: two-space indent, keys in the order given, lists of scalars on one line."""
    return _json_lines(plain(value), "") + "\n"


def _json_lines(value: Any, indent: str) -> str:
    deeper = indent + "  "
    match value:
        case dict() if value:
            lines = [f"{deeper}{_json_line(str(key))}: {_json_lines(item, deeper)}" for key, item in value.items()]
            return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
        case list() if any(isinstance(item, dict | list) for item in value):
            lines = [deeper + _json_lines(item, deeper) for item in value]
            return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return _json_line(value)


def sh(value: Any) -> str:
    """One word of a POSIX shell; a list or mapping becomes one word of JSON."""
    import shlex

    match value:
        case str():
            word = str(value)
        case bool() | int() | float():
            word = yaml(value)
        case Mapping() | list() | tuple():
            word = json(value)
        case None:
            raise Unwritable("null cannot be a word of a command line")
        case _:
            raise Fault(f"{value!r} cannot be a shell word")
    if bad := next((char for char in word if char == "\0" or "\ud800" <= char <= "\udfff"), ""):
        raise Unwritable(f"{word!a} holds {bad!a}, which no shell can pass on")
    return shlex.quote(word)


def words(values: Iterable[Any]) -> str:
    """Words of a POSIX shell, with spaces between them."""
    return " ".join(map(sh, values))


def py(value: Any) -> str:
    """A Python literal, on one line."""
    return repr(plain(value))


def name(value: str) -> str:
    """A dotted Python name, such as torch.bfloat16: what a config refers to without quotes."""
    import keyword

    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in value.split(".")):
        raise Unwritable(f"{value!r} is no Python name")
    return str(value)


@lru_cache(maxsize=4096)  # files of one spec, and specs alike, give many of the same reasons
def comment(text: str, mark: str = "#", width: int = WIDTH) -> str:
    """Comment lines of at most `width` columns; whatever could end a line or hide text becomes a space."""
    import textwrap

    clean = text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
    lines = textwrap.wrap(clean, width - len(mark) - 1, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"{mark} {line}" for line in lines) or mark


def plain(value: Any) -> Any:
    """The same value in lists, dicts and scalars only. Anything else in lowered data is a fault of the target's."""
    match value:
        case str():
            return str(value)  # a subclass may bring behaviour of its own
        case None | bool() | int():
            return value
        case float():
            if not math.isfinite(value):
                raise Fault(f"{value} is not a number that a config file can hold")
            return value
        case Mapping():
            return {plain(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    raise Fault(f"lowered data holds {type(value).__name__} {value!r}, which no config file can say")
