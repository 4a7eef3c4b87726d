"""Values of a Python config changed where its text says them; the config is parsed, and never run.

A key that a variable says is changed where that variable gets its value, so that whatever else it says follows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mfc.emit import quote
from mfc.errors import MfcError
from mfc.imports import literals
from mfc.lint.edit import GONE

_DEPTH = 20  # variables that stand for each other


class _Item(NamedTuple):
    """One item of a call or a mapping: where it starts, what it is called, and its value."""

    start: tuple[int, int]
    name: str
    value: ast.expr


def config(text: str, edits: Mapping[str, Any]) -> str | None:
    """A config with dotted keys set, or taken out where their value is GONE.

    Keys whose first name the text does not assign stay out: what mfc calls a setting may be called otherwise here.
    None where a value is made by code, or its place is not written out.
    """
    for key, value in edits.items():
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        if "\r" in text.replace("\r\n", "") or "\f" in text:  # other ends of lines than the parser counts
            return None
        first, *rest = key.split(".")
        made = _Text(text, tree).changed(first, rest, value) if _bound(tree, first) else text
        if made is None:
            return None
        text = made
    return text


def renamed(text: str, old: str, new: str) -> str | None:
    """A config with another name for one item of a call, which has no item of that name yet."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    *above, last = old.split(".")
    one = _Text(text, tree)
    node = one.at(above) if above else None
    if not isinstance(node, ast.Call):
        return None
    named = {item.name: item for item in _items(node)}
    if last not in named or new in named:
        return None
    start = one.place(*named[last].start)
    return one.spliced(start, start + len(last.encode()), new)


def _bound(tree: ast.Module, name: str) -> list[ast.Assign | ast.AugAssign]:
    """The statements of the file itself that give a name its value."""
    found: list[ast.Assign | ast.AugAssign] = []
    for one in tree.body:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AugAssign) else []
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            assert isinstance(one, ast.Assign | ast.AugAssign)
            found.append(one)
    return found


def _items(node: ast.expr) -> Iterator[_Item]:
    if isinstance(node, ast.Call):
        yield from (_Item((one.lineno, one.col_offset), one.arg, one.value) for one in node.keywords if one.arg)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield _Item((key.lineno, key.col_offset), key.value, value)


class _Text:
    """A text beside its syntax tree, whose places are bytes of lines."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.bytes, self.tree = text.encode(), tree
        self.lines = [0]
        for line in self.bytes.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def place(self, line: int, column: int) -> int:
        """The byte at which a line, from 1, has a column."""
        return self.lines[line - 1] + column

    def spliced(self, start: int, end: int, new: str) -> str:
        """The text with other bytes from `start` to `end`."""
        return (self.bytes[:start] + new.encode() + self.bytes[end:]).decode()

    def at(self, path: list[str]) -> ast.expr | None:
        """The expression of a dotted key, variables followed to what they stand for."""
        found = _bound(self.tree, path[0])
        node = found[-1].value if found and isinstance(found[-1], ast.Assign) else None
        for name in path[1:]:
            node = self._followed(node)
            node = next((one.value for one in _items(node) if one.name == name), None) if node else None
        return self._followed(node)

    def _followed(self, node: ast.expr | None) -> ast.expr | None:
        for _ in range(_DEPTH):
            if not isinstance(node, ast.Name):
                return node
            found = _bound(self.tree, node.id)
            node = found[-1].value if found and isinstance(found[-1], ast.Assign) else None
        return None

    def changed(self, first: str, rest: list[str], value: Any) -> str | None:
        """The text with one key set or taken out."""
        if not rest:
            return None if value is GONE else self._assigned(first, value)
        owner = self.at([first, *rest[:-1]])
        item = next((one for one in _items(owner) if one.name == rest[-1]), None) if owner else None
        if owner is None or not isinstance(owner, ast.Call | ast.Dict):
            return self.bytes.decode() if value is GONE else None
        if value is GONE:
            return self._without(owner, item) if item else self.bytes.decode()
        if item is None:
            return self._added(owner, rest[-1], value)
        if isinstance(item.value, ast.Name) and _bound(self.tree, item.value.id):
            return self._assigned(item.value.id, value)
        return self._set(item.value, value)

    def _assigned(self, name: str, value: Any) -> str | None:
        """The text with another value of a variable; one that is multiplied afterwards gets what is so multiplied."""
        *before, last = _bound(self.tree, name)
        if isinstance(last, ast.Assign):
            if isinstance(last.value, ast.Name) and _bound(self.tree, last.value.id) and last.value.id != name:
                return self._assigned(last.value.id, value)
            return self._set(last.value, value)
        factor = self._known(last.value) if isinstance(last.op, ast.Mult) and len(before) == 1 else None
        if isinstance(factor, int) and isinstance(value, int) and factor > 0 and value % factor == 0:
            return self._set(before[0].value, value // factor)
        return None

    def _known(self, node: ast.expr) -> Any:
        try:
            return literals.read("config", f"{self.bytes.decode()}\n_ = {ast.unparse(node)}\n").get("_")
        except MfcError:
            return None

    def _set(self, node: ast.expr, value: Any) -> str | None:
        made = self._written(value)
        if made is None or node.end_lineno is None or node.end_col_offset is None:
            return None
        return self.spliced(
            self.place(node.lineno, node.col_offset), self.place(node.end_lineno, node.end_col_offset), made
        )

    def _added(self, owner: ast.Call | ast.Dict, name: str, value: Any) -> str | None:
        """The text with one more item behind the last of a call or a mapping."""
        items, made = [*_items(owner)], self._written(value)
        if not items or made is None:
            return None
        last = items[-1]
        end = self.place(last.value.end_lineno or 0, last.value.end_col_offset or 0)
        said = f"{name}={made}" if isinstance(owner, ast.Call) else f"{quote.py(name)}: {made}"
        start = self.place(*last.start)
        lead = self.bytes[self.lines[last.start[0] - 1] : start]
        newline = "\r\n" if b"\r\n" in self.bytes else "\n"
        gap = f"{newline}{lead.decode()}" if not lead.strip() and last.start[0] > owner.lineno else " "
        return self.spliced(end, end, f",{gap}{said}")

    def _without(self, owner: ast.expr, item: _Item) -> str | None:
        """The text without an item; a comment among what goes is left where it is, so there is no such text."""
        items = [*_items(owner)]
        at = items.index(item)
        end = self.place(item.value.end_lineno or 0, item.value.end_col_offset or 0)
        if at + 1 < len(items):
            start, stop = self.place(*item.start), self.place(*items[at + 1].start)
        elif at:
            before = items[at - 1].value
            start, stop = self.place(before.end_lineno or 0, before.end_col_offset or 0), end
        else:
            return None
        between = self.bytes[end:stop] if stop > end else self.bytes[start : self.place(*item.start)]
        return None if b"#" in between else self.spliced(start, stop, "")

    def _written(self, value: Any) -> str | None:
        """A value as the file would say it: code by the name under which it is imported."""
        module, colon, name = value.partition(":") if isinstance(value, str) else ("", "", "")
        if not colon or not all(part.isidentifier() for part in (*module.split("."), name)):
            return quote.py(value)
        for one in self.tree.body:
            if isinstance(one, ast.Import):
                for each in one.names:
                    if each.name == module:
                        return f"{each.asname or module}.{name}"
            elif isinstance(one, ast.ImportFrom) and one.module == module:
                for each in one.names:
                    if each.name == name:
                        return each.asname or name
        return None
