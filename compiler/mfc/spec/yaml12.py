"""YAML 1.2 (core schema) into nodes that know their place, with bounds on size, depth and aliases.

PyYAML's parser gives the events; its own constructor reads YAML 1.1 (`off` is false, `1e-4` is text, `010` is 8) and
knows no positions, so nodes are built here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any, NamedTuple, NoReturn

import yaml

from mfc.spec.marks import Mark, Mistake, Source, refusal

MAX_BYTES = 2**20
MAX_DEPTH = 24
MAX_NODES = 20_000  # aliases count as often as they are used

Scalar = str | int | float | bool | None

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# JSON writes a character beyond U+FFFF as two escapes, YAML as one. A backslash that is escaped itself begins neither.
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_WIDE = str.maketrans("：，｛｝［］“”", ':,{}[]""')  # what a Chinese keyboard gives for YAML's own marks
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ENDLESS = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class Node(NamedTuple):
    """A value and where it stands. `text` is a scalar as written; `size` counts the nodes in it, itself included."""

    value: Scalar | dict[str, Node] | list[Node]
    mark: Mark
    key: Mark | None = None  # where the key stands, for a value in a mapping
    text: str = ""
    size: int = 1
    replaces: bool = False  # written as one value, so it replaces a base's mapping instead of joining it

    @property
    def place(self) -> Mark:
        """Where to point: at a scalar itself, at the key of anything larger."""
        return self.key if self.key and isinstance(self.value, (dict, list)) else self.mark

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def parse(text: str, source: Source) -> Node | None:
    """The one document that the text holds; None when there is nothing in it. Raises SpecError."""
    text = _with_pairs_joined(text) if "\\u" in text else text
    if bad := _CONTROL.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        _refuse(Mark(source, line, column), f"control character U+{ord(bad[0]):04X} in the file")
    try:
        return _Reader(_Parser(text), source).document()
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two come from `chr`
        from mfc.spec import malformed

        place = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        mark = Mark(source, place.line + 1, place.column + 1) if place else Mark(source)
        if place and malformed.too_deep(error):  # the parser reads ahead: where our own bound is crossed lies before it
            parse(text[: place.index], source)
            _refuse(mark, f"nested more than {MAX_DEPTH} levels deep")
        wrong = malformed.complaint(error)
        raise refusal([Mistake(mark, f"not valid YAML: {wrong.text}", hint=wide(text, mark) or wrong.hint)]) from None


def wide(text: str, mark: Mark) -> str:
    """What to say of a line that holds full-width punctuation, which YAML takes for text."""
    lines = text.split("\n")
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    found = sorted({char for char in line.partition("#")[0] if ord(char) in _WIDE}, key=line.index)
    said = ", ".join(f"write {char.translate(_WIDE)} for {char}" for char in found)
    return f"full-width marks are text to YAML: {said}" if said else ""


def _with_pairs_joined(text: str) -> str:
    """The text with surrogate pairs as YAML escapes them, in double quotes alone: elsewhere a backslash is itself."""
    if not (pairs := list(_SURROGATES.finditer(text))):
        return text
    # The parser tells where double quotes are once nothing in them is in its way.
    blank = _SURROGATES.sub(lambda pair: "x" * len(pair[0]), text)
    quoted: list[tuple[int, int]] = []
    try:
        for event in yaml.parse(blank, Loader=_Parser):
            start, end = event.start_mark, event.end_mark
            if isinstance(event, yaml.ScalarEvent) and event.style == '"' and start and end:
                quoted.append((start.index, end.index))
    except (yaml.YAMLError, ValueError, OverflowError):
        pass  # what is wrong with it is said when it is read
    for pair in reversed(pairs):
        if any(start < pair.start() < end for start, end in quoted):
            text = f"{text[: pair.start()]}{_joined(pair)}{text[pair.end() :]}"
    return text


def _joined(pair: re.Match[str]) -> str:
    """The escape that YAML has for what JSON wrote as a surrogate pair."""
    high, low = int(pair[2], 16), int(pair[3], 16)
    return f"{pair[1]}\\U{0x10000 + (high - 0xD800 << 10) + low - 0xDC00:08x}"


def from_python(value: object, mark: Mark, depth: int = 0) -> Node:
    """Nodes for plain data that a program gives. Raises SpecError for what YAML could not hold."""
    if depth > MAX_DEPTH:
        _refuse(mark, "nested too deeply")
    if isinstance(value, Mapping):
        items: dict[str, Node] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                _refuse(mark, f"keys must be text, not {key!r}")
            items[key] = from_python(item, mark, depth + 1)
        return Node(items, mark)
    if isinstance(value, (list, tuple)):
        return Node([from_python(item, mark, depth + 1) for item in value], mark)
    if isinstance(value, PathLike):
        value = fspath(value)
    if value is not None and not isinstance(value, (str, int, float, bool)):
        _refuse(mark, f"a {type(value).__name__} has no place in a spec")
    return Node(value, mark, text=str(value))


class _Reader:
    def __init__(self, parser: Any, source: Source) -> None:
        self.parser = parser
        self.source = source
        self.anchors: dict[str, Node | None] = {}  # None while the anchored node is being read
        self.nodes = 0

    def document(self) -> Node | None:
        self.parser.get_event()  # start of stream
        if isinstance(self.parser.get_event(), yaml.StreamEndEvent):
            return None
        root = self.node(self.parser.get_event(), 0)
        self.parser.get_event()  # end of document
        after = self.parser.get_event()
        if not isinstance(after, yaml.StreamEndEvent):
            _refuse(self.mark(after), "a second YAML document starts here; a spec is one document")
        return root

    def mark(self, event: Any) -> Mark:
        start, end = event.start_mark, event.end_mark
        width = end.column - start.column if end.line == start.line else 1
        return Mark(self.source, start.line + 1, start.column + 1, max(1, width))

    def node(self, event: Any, depth: int) -> Node:
        mark = self.mark(event)
        if isinstance(event, yaml.AliasEvent):
            name = str(event.anchor)
            target = self.anchors.get(name)
            if target is None:
                said = "refers to the value it stands in" if name in self.anchors else "is not defined above"
                _refuse(mark, f"alias *{name} {said}")
            self.count(target.size, mark)
            if depth + _height(target) > MAX_DEPTH:
                _refuse(mark, f"nested more than {MAX_DEPTH} levels deep, aliases expanded")
            return target
        if depth > MAX_DEPTH:
            _refuse(mark, f"nested more than {MAX_DEPTH} levels deep")
        self.count(1, mark)
        if event.anchor:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = Node(_scalar(event, mark), mark, text=event.value)
        else:
            if not event.implicit:
                _refuse(mark, f"tag {event.tag} is not supported; a spec needs no tags")
            sequence = isinstance(event, yaml.SequenceStartEvent)
            node = self.sequence(mark, depth) if sequence else self.mapping(mark, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def count(self, nodes: int, mark: Mark) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            _refuse(mark, f"more than {MAX_NODES:,} values, aliases expanded")

    def sequence(self, mark: Mark, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := self.parser.get_event(), yaml.SequenceEndEvent):
            items.append(self.node(event, depth + 1))
        return Node(items, mark, size=1 + sum(item.size for item in items))

    def mapping(self, mark: Mark, depth: int) -> Node:
        items: dict[str, Node] = {}
        while not isinstance(event := self.parser.get_event(), yaml.MappingEndEvent):
            key_mark = self.mark(event)
            if not isinstance(event, yaml.ScalarEvent):
                _refuse(key_mark, "a key must be plain text")
            key = event.value
            if key == "<<" and event.implicit[0]:
                _refuse(key_mark, "merge keys (<<) are not YAML 1.2; use extends, or write the keys out")
            if key in items:
                first = items[key].key or mark
                _refuse(key_mark, f'duplicate key "{key}", first given in line {first.line}')
            items[key] = self.node(self.parser.get_event(), depth + 1)._replace(key=key_mark)
        return Node(items, mark, size=1 + sum(item.size for item in items.values()))


def _height(node: Node) -> int:
    """Levels below a node."""
    if not isinstance(node.value, (dict, list)):
        return 0
    items = node.value.values() if isinstance(node.value, dict) else node.value
    return max((1 + _height(item) for item in items), default=0)


def _scalar(event: Any, mark: Mark) -> Scalar:
    text: str = event.value
    if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
        _refuse(mark, f"tag {event.tag} is not supported; a spec needs no tags")
    if not event.implicit[0]:  # quoted, a block, or marked as text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > 40:
        return text
    if _INT.fullmatch(text):
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)
    if _ENDLESS.fullmatch(text) or (_FLOAT.fullmatch(text) and abs(float(text)) == float("inf")):
        _refuse(mark, f"{text} is not a finite number")
    return float(text) if _FLOAT.fullmatch(text) else text


def _refuse(mark: Mark, text: str) -> NoReturn:
    raise refusal([Mistake(mark, text)])
