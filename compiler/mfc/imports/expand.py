"""What a word of a shell script says: quotes taken off, variables put in, arrays spread. Nothing is run.

What only a shell could tell (`$(nvidia-smi …)`, a variable that nobody sets) stays as it is written, with its dollar.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

_ESCAPED = re.compile(r"\\(\n|.)", re.DOTALL)
_IN_QUOTES = re.compile(r'\\([\n$`"\\])')
_MOST = 10_000  # characters of one word, parts of one list
_DEPTH = 40
_ARGUMENTS = (b"$@", b'"$@"', b"$*", b'"$*"', b"${@}", b'"${@}"', b"${@:1}", b'"${@:1}"')  # of the script: none


class Variables:
    """What variables and arrays hold, and which of them programs see."""

    def __init__(self, known: dict[str, list[str]] | None = None, exported: set[str] | None = None) -> None:
        self.known: dict[str, list[str]] = known or {}
        self.exported: set[str] = exported or set()
        self.exports_all = False
        self.offered: set[str] = set()  # set to what the user's own value of them would replace: X=${X:-0}

    def copy(self) -> Variables:
        """The same for a subshell, whose changes stay in it."""
        made = Variables({name: list(items) for name, items in self.known.items()}, set(self.exported))
        made.exports_all, made.offered = self.exports_all, set(self.offered)
        return made

    def set(self, name: str, items: Sequence[str], *, more: bool = False) -> None:
        """Set a variable or an array; `more` lays the items behind those that it has."""
        before = self.known.get(name, []) if more else []
        self.known[name] = [*before, *items][:_MOST]
        if self.exports_all:
            self.exported.add(name)

    @property
    def environment(self) -> dict[str, str]:
        """What a program that is started now finds."""
        return {name: self.known[name][0] for name in sorted(self.exported) if self.known.get(name)}


class Piece(NamedTuple):
    """Part of a word: its text, and whether blanks in it part words."""

    text: str
    parts: bool = False


def words(node: Any, variables: Variables) -> list[str]:
    """The words that one node of a command becomes: an array several, an empty variable none."""
    if node.text in _ARGUMENTS:
        return []
    if spread := _array_of(node):
        return list(variables.known.get(spread, []))
    pieces = list(_pieces(node, variables, 0))
    if not any(piece.parts for piece in pieces):
        return ["".join(piece.text for piece in pieces)[:_MOST]]
    made, open_word = [""], False
    for piece in pieces:
        if not piece.parts:
            made[-1] += piece.text
            open_word = True
            continue
        for number, part in enumerate(re.split(r"[ \t\n]+", piece.text)):
            if number:
                made.append("")
            made[-1] += part
    found = [word[:_MOST] for word in made if word]
    return (found or [""] if open_word else found)[:_MOST]


def text(node: Any, variables: Variables) -> str:
    """A node as one text, as in an assignment or between quotes."""
    if spread := _array_of(node):
        return " ".join(variables.known.get(spread, []))
    return "".join(piece.text for piece in _pieces(node, variables, 0))[:_MOST]


def heredoc(body: Any, variables: Variables, *, quoted: bool) -> str:
    """The text of a here-document; variables in it are put in unless its marker is quoted."""
    source, start = body.text, body.start_byte
    if quoted:
        return str(source.decode(errors="replace"))
    made, at = [], 0
    for child in body.named_children:
        if child.type in _EXPANSIONS:
            made.append(source[at : child.start_byte - start].decode(errors="replace"))
            made.append(text(child, variables))
            at = child.end_byte - start
    made.append(source[at:].decode(errors="replace"))
    return "".join(made)


def unknown(word: str) -> bool:
    """Whether a word still holds what only a shell could tell."""
    return "$" in word or "`" in word


def _array_of(node: Any) -> str:
    """The array that a node spreads into words: "${name[@]}", ${name[*]}; else nothing."""
    while node.type in ("string", "concatenation") and len(node.named_children) == 1:
        (node,) = node.named_children
    if node.type != "expansion" or len(node.named_children) != 1 or node.named_children[0].type != "subscript":
        return ""
    if re.fullmatch(r"\$\{\w+\[[@*]\]\}", source := _source(node)):
        return source[2 : source.index("[")]
    return ""


def _source(node: Any) -> str:
    return str(node.text.decode(errors="replace"))


def _pieces(node: Any, variables: Variables, depth: int) -> Iterator[Piece]:
    if depth > _DEPTH:
        yield Piece(_source(node))
        return
    match node.type:
        case "raw_string":
            yield Piece(_source(node)[1:-1])
        case "ansi_c_string":
            yield Piece(_source(node)[2:-1].replace("\\n", "\n").replace("\\t", "\t"))
        case "string" | "translated_string":
            yield from _quoted(node, variables, depth)
        case "concatenation" | "command_name" | "heredoc_body":
            for child in node.children:
                yield from _pieces(child, variables, depth + 1)
        case kind if kind in _EXPANSIONS:
            found = _EXPANSIONS[kind](node, variables, depth)
            yield Piece(_source(node)) if found is None else Piece(found, parts=True)
        case _:
            yield Piece(_ESCAPED.sub(lambda found: "" if found[1] == "\n" else found[1], _source(node)))


def _quoted(node: Any, variables: Variables, depth: int) -> Iterator[Piece]:
    """The inside of double quotes: what lies between expansions is text."""
    source, start, at = node.text, node.start_byte, 1
    for child in node.named_children:
        if child.type in _EXPANSIONS:
            yield Piece(_unquoted(source[at : child.start_byte - start]))
            spread = _array_of(child)
            whole = " ".join(variables.known.get(spread, [])) if spread else None
            found = whole if spread else _EXPANSIONS[child.type](child, variables, depth)
            yield Piece(_source(child) if found is None else found)
            at = child.end_byte - start
    yield Piece(_unquoted(source[at : len(source) - 1]))


def _unquoted(part: bytes) -> str:
    return _IN_QUOTES.sub(lambda found: "" if found[1] == "\n" else found[1], part.decode(errors="replace"))


def _simple(node: Any, variables: Variables, _: int) -> str | None:
    """$NAME. Arguments of the script itself are none."""
    name = _source(node)[1:]
    if name in ("@", "*"):
        return ""
    held = variables.known.get(name)
    return held[0] if held else "" if held is not None else None


def _expansion(node: Any, variables: Variables, depth: int) -> str | None:
    """${NAME}, with a default, or with something cut off; None where only a shell could tell."""
    inner = [child for child in node.children if child.type not in ("${", "}")]
    if not inner or inner[0].type not in ("variable_name", "subscript", "special_variable_name"):
        return None
    held = _held(_source(inner[0]), variables)
    if len(inner) == 1:
        return held
    sign = inner[1].type
    rest = "".join(piece.text for child in inner[2:] for piece in _pieces(child, variables, depth + 1))
    match sign:
        case ":-" | "-" | ":=" | "=":
            return held if held or (held is not None and not sign.startswith(":")) else rest
        case ":+" | "+":
            return rest if held else ""
        case ":?" | "?":
            return held
        case "#" | "##" | "%" | "%%" if held is not None:
            return _cut(held, rest, sign)
    return None


def _held(name: str, variables: Variables) -> str | None:
    if name in ("@", "*", "@:1"):
        return ""
    array = re.fullmatch(r"(\w+)\[(\d+|@|\*)\]", name)
    items = variables.known.get(array[1] if array else name)
    if items is None:
        return None
    if array and not array[2].isdigit():
        return " ".join(items)
    place = int(array[2][:6]) if array else 0
    return items[place] if place < len(items) else ""


def _cut(held: str, pattern: str, sign: str) -> str:
    """What is left of a text once the shortest or longest match of a pattern is cut off its start or end."""
    front, longest = sign[0] == "#", len(sign) == 2
    lengths = range(min(len(held), 500) + 1)
    for length in reversed(lengths) if longest else lengths:
        part = held[:length] if front else held[len(held) - length :]
        if fnmatch.fnmatchcase(part, pattern):
            return held[length:] if front else held[: len(held) - length]
    return held


def _arithmetic(node: Any, variables: Variables, _: int) -> str | None:
    """$((…)) of whole numbers with + - * / %, left to right by rank."""
    source = re.sub(r"\$?\{?([A-Za-z_]\w*)\}?", lambda name: _held(name[1], variables) or "?", _source(node)[3:-2])
    return _evaluated(source)


def _evaluated(source: str) -> str | None:
    parts = re.findall(r"\d{1,12}|[-+*/%()]|\S", source)
    try:
        value, rest = _sum(parts[:200])
    except (ValueError, IndexError, ZeroDivisionError, RecursionError):
        return None
    return str(value) if not rest else None


def _sum(parts: list[str]) -> tuple[int, list[str]]:
    value, parts = _product(parts)
    while parts and parts[0] in ("+", "-"):
        other, rest = _product(parts[1:])
        value, parts = value + other if parts[0] == "+" else value - other, rest
    return value, parts


_RANKED: dict[str, Callable[[int, int], int]] = {"*": operator.mul, "/": operator.floordiv, "%": operator.mod}


def _product(parts: list[str]) -> tuple[int, list[str]]:
    value, parts = _atom(parts)
    while parts and parts[0] in ("*", "/", "%"):
        other, rest = _atom(parts[1:])
        value, parts = _RANKED[parts[0]](value, other), rest
    return value, parts


def _atom(parts: list[str]) -> tuple[int, list[str]]:
    if parts[0] != "(":
        return int(parts[0]), parts[1:]
    value, rest = _sum(parts[1:])
    return value, rest[1:]


def _substitution(node: Any, variables: Variables, _: int) -> str | None:
    """$(expr …), $(basename …), $(dirname …), $(realpath …) and $(cd … && pwd): text and arithmetic alone."""
    inner = node.named_children
    listed = inner[0].named_children if len(inner) == 1 and inner[0].type == "list" else inner
    commands = [child for child in listed if child.type == "command"]
    if not commands or len(commands) != len(listed):
        return None
    said, *more = ([word for child in one.named_children for word in words(child, variables)] for one in commands)
    if more:
        return said[1] if len(said) == 2 and said[0] == "cd" and more == [["pwd"]] else None
    match said:
        case ["realpath", *options, path] if all(option.startswith("-") for option in options):
            return path
        case ["expr", *parts]:
            return _evaluated(" ".join(parts).replace("\\", ""))
        case ["basename", path]:
            return PurePosixPath(path).name
        case ["basename", path, suffix]:
            return PurePosixPath(path).name.removesuffix(suffix)
        case ["dirname", path]:
            return str(PurePosixPath(path).parent)
    return None


def _nothing(_node: Any, _variables: Variables, _depth: int) -> str | None:
    return None


_EXPANSIONS: dict[str, Callable[[Any, Variables, int], str | None]] = {
    "simple_expansion": _simple,
    "expansion": _expansion,
    "arithmetic_expansion": _arithmetic,
    "command_substitution": _substitution,
    "process_substitution": _nothing,
}
