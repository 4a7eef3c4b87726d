"""A shell script as the commands that it would start, read with a parser for bash and never run.

Variables, arrays, `export`, here-documents, functions that are called and `bash -c` are followed in the order of the
script. Of a condition nothing is known: both branches are read, and an assignment under one counts where its value is
known. A loop is read once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mfc.errors import SpecError
from mfc.imports.expand import Variables, heredoc, text, unknown, words

_HOLE = re.compile(r"<([\w .-]+)>(?=\s*?\\?$)", re.MULTILINE)  # `cd <your folder>`: no shell takes this at a line's end
_DEPTH = 60
_MOST = 2000  # commands of one script
_DECLARES = ("export", "declare", "typeset", "readonly", "local")
_CONDITIONAL = ("if_statement", "case_statement", "elif_clause", "else_clause", "case_item")
_ENTERED = (
    *("program", "pipeline", "list", "compound_statement", "do_group", "subshell", "while_statement", "ERROR"),
    *("negated_command", "for_statement", "c_style_for_statement", *_CONDITIONAL),
)


class Command(NamedTuple):
    """A program that a script starts: its words, what its environment says, and the line where it stands."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = {}
    line: int = 1
    offered: frozenset[str] = frozenset()  # variables that keep the user's own value where there is one


class Script(NamedTuple):
    """What a script starts, and the files that it writes from here-documents before."""

    commands: tuple[Command, ...]
    files: Mapping[str, str]


def read(source: str) -> Script:
    """The commands of a script. Raises SpecError where the parser is not installed."""
    reader = _Reader()
    reader.walk(_tree(source), Variables(), conditional=False, depth=0)
    return Script(tuple(reader.commands), reader.files)


def _tree(source: str) -> Any:
    try:
        import tree_sitter
        import tree_sitter_bash
    except ImportError as error:
        raise SpecError(
            f"error: to read a shell script, {error.name} is needed: pip install tree-sitter tree-sitter-bash"
        ) from None
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))
    lines = _HOLE.sub(r"'<\1>'", source.replace("\r\n", "\n"))
    return parser.parse(lines.encode(errors="replace")).root_node


class _Reader:
    """One walk over a script."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.files: dict[str, str] = {}
        self.functions: dict[str, Any] = {}

    def walk(self, node: Any, variables: Variables, *, conditional: bool, depth: int) -> None:
        """Read a statement, and those in it."""
        if depth > _DEPTH or len(self.commands) > _MOST:
            return
        match node.type:
            case "variable_assignment":
                _assign(node, variables, conditional=conditional)
            case "declaration_command":
                self._declare(node, variables, conditional=conditional)
            case "function_definition":
                if (name := node.child_by_field_name("name")) and (body := node.child_by_field_name("body")):
                    self.functions[name.text.decode(errors="replace")] = body
            case "redirected_statement":
                self._redirected(node, variables, conditional=conditional, depth=depth)
            case "command":
                self._command(node, variables, conditional=conditional, depth=depth)
            case "for_statement":
                self._loop(node, variables, depth)
            case kind if kind in _ENTERED or kind.startswith("variable_assignments"):
                inner = variables.copy() if kind == "subshell" else variables
                asked = conditional or kind in _CONDITIONAL
                for child in node.named_children:
                    self.walk(child, inner, conditional=asked, depth=depth + 1)

    def _loop(self, node: Any, variables: Variables, depth: int) -> None:
        """`for x in a b`: read once, with the first."""
        name, value, body = (node.child_by_field_name(part) for part in ("variable", "value", "body"))
        if name is not None and value is not None and (first := words(value, variables)):
            variables.set(name.text.decode(errors="replace"), first[:1])
        if body is not None:
            self.walk(body, variables, conditional=True, depth=depth + 1)

    def _declare(self, node: Any, variables: Variables, *, conditional: bool) -> None:
        kind = node.children[0].type
        for child in node.named_children:
            if child.type == "variable_assignment":
                name = _assign(child, variables, conditional=conditional)
            else:
                name = child.text.decode(errors="replace")
            flag = any(one.type == "word" and one.text == b"-x" for one in node.named_children)
            if kind == "export" or (kind in _DECLARES and flag):
                variables.exported.add(name)

    def _redirected(self, node: Any, variables: Variables, *, conditional: bool, depth: int) -> None:
        """A statement with its redirections: `cat > FILE <<EOF` writes a file."""
        documents, places = [], []
        for child in _redirects(node):
            if child.type == "heredoc_redirect":
                start, body = _of(child, "heredoc_start"), _of(child, "heredoc_body")
                if start is not None and body is not None:
                    quoted = any(mark in start.text for mark in (b"'", b'"', b"\\"))
                    documents.append(heredoc(body, variables, quoted=quoted))
            elif child.named_children and any(one.type in (">", ">>", ">|") for one in child.children):
                places.append(text(child.named_children[-1], variables))
        body = node.child_by_field_name("body")
        if body is None:
            return
        if body.type == "command" and documents and (said := _words(body, variables)):
            if said[0] == "tee":
                places += [word for word in said[1:] if not word.startswith("-")]
            if said[0] in ("cat", "tee") and places:
                self.files[places[-1]] = documents[-1]
        self.walk(body, variables, conditional=conditional, depth=depth + 1)

    def _command(self, node: Any, variables: Variables, *, conditional: bool, depth: int) -> None:
        own = variables.copy()
        for child in node.named_children:
            if child.type == "variable_assignment":
                own.exported.add(_assign(child, own, conditional=False))
        said = _words(node, variables)
        if not said:
            return
        if said[0] == "unset":
            for name in said[1:]:
                variables.known.pop(name, None)
        elif said[0] == "set" and "-a" in said[1:]:
            variables.exports_all = True
        elif said[0] in self.functions:
            body = self.functions.pop(said[0])  # one that calls itself is read once
            self.walk(body, variables, conditional=conditional, depth=depth + 1)
        elif (inner := _inner(said)) is not None:
            self.walk(_tree(inner), own, conditional=conditional, depth=depth + 10)
        else:
            line = node.start_point[0] + 1
            self.commands.append(Command(tuple(said), own.environment, line, frozenset(own.offered)))


def _words(node: Any, variables: Variables) -> list[str]:
    """The words of a command, redirections and assignments left out."""
    parts = [child for child in node.named_children if child.type not in _BESIDE]
    return [word for child in parts for word in words(child, variables)]


_BESIDE = ("variable_assignment", "file_redirect", "heredoc_redirect", "herestring_redirect", "comment")


def _inner(said: list[str]) -> str | None:
    """The script that a command hands to a shell: `bash -c TEXT`, `eval TEXT`."""
    if said[0] == "eval":
        return " ".join(said[1:])
    for place, word in enumerate(said[:-2]):
        if word.rpartition("/")[2] in ("bash", "sh", "zsh") and re.fullmatch(r"-\w*c", said[place + 1]):
            return said[place + 2]
    return None


def _assign(node: Any, variables: Variables, *, conditional: bool) -> str:
    """NAME=VALUE, NAME=(…), NAME+=…; the name. Under a condition only what is known counts."""
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    called = str(name.text.decode(errors="replace")) if name is not None else ""
    more = any(child.type == "+=" for child in node.children)
    if value is None:
        items = [""]
    elif value.type == "array":
        items = [word for child in value.named_children if child.type != "comment" for word in words(child, variables)]
    else:
        items = [text(value, variables)]
        if more and variables.known.get(called):
            items, more = [variables.known[called][0] + items[0], *variables.known[called][1:]], False
    if value is not None and value.text.strip(b'"').startswith((f"${{{called}:-".encode(), f"${{{called}-".encode())):
        variables.offered.add(called)
    if not (conditional and any(map(unknown, items)) and called in variables.known and not more):
        variables.set(called, items, more=more)
    return called


def _redirects(node: Any) -> Iterator[Any]:
    for child in node.named_children:
        if child.type.endswith("_redirect"):
            yield child
            yield from _redirects(child)


def _of(node: Any, kind: str) -> Any:
    return next((child for child in node.named_children if child.type == kind), None)
