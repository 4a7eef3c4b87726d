"""Files and overrides into one tree: reading, `extends`, merging."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mfc.errors import SpecError
from mfc.files import read as content_of
from mfc.spec import yaml12
from mfc.spec.marks import Mark, Mistake, Source, nearest, printable, refusal
from mfc.spec.short import RIVALS, expand
from mfc.spec.yaml12 import Node

_MAX_FILES = 50


def read_file(path: Path) -> tuple[Node, list[Path]]:
    """The merged tree of a spec and its bases, and every file that was read, the spec first. Raises SpecError."""
    files: dict[str, Node] = {}
    return _layer(path, [], files), [Path(name) for name in files]


def read_tree(root: Node) -> tuple[Node, list[Path]]:
    """The same for a spec that a program gives as a mapping; its bases are relative to the working directory."""
    files: dict[str, Node] = {}
    return _on_bases(root, Path(), [], files), [Path(name) for name in files]


def read_override(text: str) -> Node:
    """The tree that `--set KEY=VALUE` adds. Raises SpecError."""
    source = Source(f"--set {text}")
    mark = Mark(source)
    key, equals, value = text.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise refusal([Mistake(mark, "an override is KEY=VALUE, such as hardware.count=8")])
    if any("\ud800" <= char <= "\udfff" for char in text):  # how Python shows bytes that are no text
        raise refusal([Mistake(mark, f"{key.strip()}: an override is UTF-8 text")])
    if len(names) > yaml12.MAX_DEPTH:
        raise refusal([Mistake(mark, f"a key has at most {yaml12.MAX_DEPTH} names, this one has {len(names)}")])
    if number := next((name for name in names if name.isdigit()), None):
        raise refusal([Mistake(mark, f"lists are replaced whole; an override cannot set item {number}")])
    node = yaml12.parse(value, source)
    if node is None:
        raise refusal([Mistake(mark, f"{key.strip()} has no value")])
    for name in reversed(names):
        node = Node({name: node._replace(key=mark)}, mark, size=node.size + 1)
    if names[0] == "extends":
        raise refusal([Mistake(mark, "extends cannot be overridden; it belongs in a file")])
    return expand(node)


def merge(base: Node, top: Node) -> Node:
    """The base with the top laid over it: mappings join, key by key; everything else is replaced."""
    if top.replaces or not isinstance(base.value, dict) or not isinstance(top.value, dict):
        return top
    items = {key: node for key, node in base.value.items() if RIVALS.get(key) not in top.value or key in top.value}
    for key, node in top.value.items():
        items[key] = merge(items[key], node) if key in items else node
    return top._replace(value=items, size=1 + sum(node.size for node in items.values()))


def _layer(path: Path, chain: list[str], files: dict[str, Node]) -> Node:
    name = os.path.normpath(path)
    if name not in files:
        files[name] = Node({}, Mark(Source(name)))  # holds the place: the spec comes before its bases
        files[name] = _on_bases(_read(Path(name)), Path(name).parent, [*chain, name], files)
    return files[name]


def _on_bases(root: Node, folder: Path, chain: list[str], files: dict[str, Node]) -> Node:
    """The tree laid over the bases that its `extends` names, the last of them strongest."""
    assert isinstance(root.value, dict)
    merged: Node | None = None
    for base in _bases(root.value.get("extends")):
        path = os.path.normpath(folder / str(base.value))
        if path in chain:
            circle = " -> ".join([*chain[chain.index(path) :], path])
            raise refusal([Mistake(base.mark, f"extends goes in a circle: {circle}")])
        if path not in files and len(files) >= _MAX_FILES:
            raise refusal([Mistake(base.mark, f"more than {_MAX_FILES} files extend one another")])
        try:
            layer = _layer(Path(path), chain, files)
        except _Unreadable as error:
            way = f" (extended by {' <- '.join(reversed(chain))})" if len(chain) > 1 else ""
            raise refusal([Mistake(base.mark, f"extends: {error.reason}{way}", near=error.near)]) from None
        merged = layer if merged is None else merge(merged, layer)
    own = expand(root)
    if merged is None:
        return own
    assert isinstance(merged.value, dict)
    inherited = {key: node for key, node in merged.value.items() if key != "extends"}
    return merge(merged._replace(value=inherited), own)


def _bases(node: Node | None) -> Iterator[Node]:
    if node is None:
        return
    for item in node.value if isinstance(node.value, list) else [node]:
        if not isinstance(item.value, str) or not item.value:
            raise refusal([Mistake(item.mark, "extends must be a path or a list of paths")])
        yield item


class _Unreadable(SpecError):
    """A file that cannot be had at all."""

    def __init__(self, path: Path, reason: str, near: str = "") -> None:
        hint = f"\n  did you mean {printable(near)}?" if near else ""
        super().__init__(f"{printable(str(path))}: error: {printable(reason)}{hint}")
        self.reason = f"{path}: {reason}"
        self.near = near


def _read(path: Path) -> Node:
    """The tree of one file, as written."""
    try:
        data = content_of(path, yaml12.MAX_BYTES)
    except FileNotFoundError:
        raise _Unreadable(path, "no such file", _sibling(path)) from None
    except IsADirectoryError:
        raise _Unreadable(path, "is a directory, not a spec") from None
    except (OSError, ValueError) as error:
        raise _Unreadable(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > yaml12.MAX_BYTES:
        raise _Unreadable(path, f"is larger than {yaml12.MAX_BYTES // 2**20} MiB, so it is no spec")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unreadable(path, "is UTF-16; a spec is UTF-8 text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        mark = Mark(Source(str(path), path), line, column)
        text = f"byte 0x{data[error.start]:02x} is not UTF-8; a spec is UTF-8 text"
        raise refusal([Mistake(mark, text, hint="if it was saved as GBK: iconv -f gbk -t utf-8")]) from None
    source = Source(str(path), path, text.splitlines())
    root = yaml12.parse(text, source)
    if root is None or root.value is None:
        raise _Unreadable(path, "is empty; a spec needs at least model and hardware")
    if not isinstance(root.value, dict):
        hint = yaml12.wide(text, root.mark) or ("a space goes after the colon" if re.search(r":\S", root.text) else "")
        raise refusal([Mistake(root.mark, "a spec is a mapping: lines of `key: value`", hint=hint)])
    return root


def _sibling(path: Path) -> str:
    """A spec beside the missing one whose name is close."""
    try:
        names = [name for name in os.listdir(path.parent) if name.endswith((".yaml", ".yml"))]
    except (OSError, ValueError):
        return ""
    close = nearest(path.stem, (name.rpartition(".")[0] for name in sorted(names)))
    return str(path.parent / next(name for name in names if name.rpartition(".")[0] == close)) if close else ""
