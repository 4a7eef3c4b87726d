"""A Python config as data: its assignments followed through its syntax tree, and never run.

What a name stands for is put in where it is used. Code that the config names is text, "module:name"; a call is a
mapping with what it calls as `type`. An expression that only Python could tell stays as text between backticks. Files
that it builds on are read the same way: `with read_base(): from .x import *`, and `_base_ = "./x.py"`, whose mappings
the config's own are laid over (mmengine 0.10 config/config.py).
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mfc.errors import SpecError
from mfc.imports import operators
from mfc.imports.operators import Code, Untold
from mfc.spec.marks import printable

_DEPTH = 100  # of expressions, and of statements in each other
_LARGEST = 50_000  # items of all that a name holds
_BASES = 20  # files that build on each other
_STEPS = 20_000  # statements

Load = Callable[[str], str | None]


def read(name: str, text: str, load: Load = lambda _: None) -> dict[str, Any]:
    """The names of a config and what they hold. `load` gives the text of a file that it builds on, by its path.

    Raises SpecError for what is no Python, and for a base that is not there.
    """
    return _Reader(name, load, 0).file(name, text)


class _Reader:
    """One file, read statement by statement."""

    def __init__(self, name: str, load: Load, depth: int) -> None:
        self.name, self.load, self.depth = name, load, depth
        self.names: dict[str, Any] = {}
        self.imported: set[str] = set()
        self.steps = 0

    def file(self, name: str, text: str) -> dict[str, Any]:
        """What all names of the file hold."""
        try:
            tree = ast.parse(text)
            self.body(tree.body, 0)
        except SyntaxError as error:
            at = f"{printable(name)}:{error.lineno}" if error.lineno else printable(name)
            raise SpecError(f"{at}: error: is no Python: {printable(error.msg)}") from None
        except (MemoryError, RecursionError):
            raise SpecError(f"{printable(name)}: error: is nested too deeply") from None
        except ValueError as error:
            raise SpecError(f"{printable(name)}: error: is no Python: {printable(str(error))}") from None
        found = {key: plain(value) for key, value in self.names.items() if key not in self.imported}
        base = found.pop("_base_", None)
        return _merged(base, found) if isinstance(base, Mapping) else found

    def body(self, statements: Iterable[ast.stmt], depth: int) -> None:
        """Follow statements in their order."""
        if depth > _DEPTH:
            raise RecursionError
        for one in statements:
            self.steps += 1
            if self.steps > _STEPS:
                raise SpecError(f"{printable(self.name)}: error: is too long for a config")
            self.statement(one, depth)

    def statement(self, node: ast.stmt, depth: int) -> None:
        """Follow one statement. Of a condition that nothing tells, both branches are read."""
        match node:
            case ast.Import(names=names):
                for one in names:
                    whole = one.name if one.asname else one.name.partition(".")[0]
                    self._import(one.asname or whole, Code(f"{whole}:"))
            case ast.ImportFrom(module=module, names=names, level=level):
                for one in names:
                    self._import(one.asname or one.name, Code(f"{'.' * level}{module or ''}:{one.name}"))
            case ast.With(items=items, body=body):
                if any(ast.unparse(one.context_expr).endswith("read_base()") for one in items):
                    self._read_base(body)
                else:
                    self.body(body, depth + 1)
            case ast.Assign(targets=targets, value=value):
                found = self.value(value)
                for target in targets:
                    self._assign(target, found)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, self.value(value))
            case ast.AugAssign(target=target, op=op, value=value):
                self._assign(
                    target, self._told(node, lambda: operators.binary(op, self._at(target), self.value(value)))
                )
            case ast.If(test=test, body=body, orelse=orelse):
                known = self.value(test)
                self.body([*body, *orelse] if isinstance(known, Untold) else body if known else orelse, depth + 1)
            case ast.For(target=target, iter=items, body=body):
                each = self.value(items)
                for one in each if isinstance(each, list | tuple) else ():
                    self._assign(target, one)
                    self.body(body, depth + 1)
            case ast.Try(body=body):
                self.body(body, depth + 1)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                self._import(name, Code(f"{posixpath.basename(self.name).removesuffix('.py')}:{name}"))
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr=attr), args=args, keywords=keywords)):
                self._changed(owner, attr, args, keywords)
            case ast.Delete(targets=targets):
                for lost in targets:
                    if isinstance(lost, ast.Name):
                        self.names.pop(lost.id, None)

    def value(self, node: ast.expr, depth: int = 0) -> Any:
        """What an expression is; text where only Python could tell."""
        if depth > _DEPTH:
            raise RecursionError
        return self._told(node, lambda: operators.value(node, self.names, lambda one: self.value(one, depth + 1)))

    def _told(self, node: ast.AST, found: Callable[[], Any]) -> Any:
        try:
            return found()
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return Untold(f"`{ast.unparse(node)[:200]}`")

    def _import(self, name: str, code: Code) -> None:
        self.names[name] = code
        self.imported.add(name)

    def _assign(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(id="_base_"):
                self.names["_base_"] = self._bases(value)
            case ast.Name(id=name):
                if operators.size(value, _LARGEST) > _LARGEST:
                    raise SpecError(f"{printable(self.name)}: error: {name} is too large for a config")
                self.names[name] = value
                self.imported.discard(name)
            case ast.Tuple(elts=targets) | ast.List(elts=targets) if isinstance(value, list | tuple):
                for one, part in zip(targets, value, strict=False):
                    self._assign(one, part)
            case ast.Subscript(value=owner, slice=index):
                self._put(owner, self.value(index), value)
            case ast.Attribute(value=owner, attr=attr):
                self._put(owner, attr, value)

    def _put(self, owner: ast.expr, key: Any, value: Any) -> None:
        """Another item in what an expression names: nothing is changed in place, so that no two names share it."""
        held = self._at(owner)
        if isinstance(held, Mapping) and isinstance(key, str):
            self._assign(owner, {**held, key: value})
        elif isinstance(held, list) and isinstance(key, int) and -len(held) <= key < len(held):
            self._assign(owner, [*held[: key % len(held)], value, *held[key % len(held) + 1 :]])

    def _changed(self, owner: ast.expr, attr: str, args: list[ast.expr], keywords: list[ast.keyword]) -> None:
        """`x.update(…)`, `x.append(…)`, `x.extend(…)`, `x.pop(…)`, `x.insert(…)`."""
        held, given = self._at(owner), [self.value(one) for one in args]
        if isinstance(held, Mapping) and attr == "update":
            own = {one.arg: self.value(one.value) for one in keywords if one.arg}
            more = given[0] if given and isinstance(given[0], Mapping) else {}
            self._assign(owner, {**held, **more, **own})
        elif isinstance(held, Mapping) and attr == "pop" and given and isinstance(given[0], str):
            self._assign(owner, {key: one for key, one in held.items() if key != given[0]})
        elif isinstance(held, list) and attr == "append" and len(given) == 1:
            self._assign(owner, [*held, given[0]])
        elif isinstance(held, list) and attr == "extend" and given and isinstance(given[0], list | tuple):
            self._assign(owner, [*held, *given[0]])
        elif isinstance(held, list) and attr == "insert" and len(given) == 2 and isinstance(given[0], int):
            self._assign(owner, [*held[: given[0]], given[1], *held[given[0] :]])

    def _at(self, owner: ast.expr) -> Any:
        return self.value(owner)

    def _read_base(self, body: Iterable[ast.stmt]) -> None:
        """`with read_base(): from .x import *`: the names of another config."""
        for one in body:
            if not isinstance(one, ast.ImportFrom):
                continue
            up = "../" * (one.level - 1) if one.level else ""
            found = self._base(f"{up}{(one.module or '').replace('.', '/')}.py" if one.level else one.module or "")
            for each in one.names:
                if each.name == "*":
                    self.names.update(found)
                elif each.name in found:
                    self.names[each.asname or each.name] = found[each.name]

    def _bases(self, value: Any) -> dict[str, Any]:
        """`_base_ = "./x.py"`, or a list of such."""
        made: dict[str, Any] = {}
        for one in value if isinstance(value, list | tuple) else [value]:
            made.update(self._base(str(one)))
        return made

    def _base(self, path: str) -> dict[str, Any]:
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(self.name.replace("\\", "/")), path))
        if "::" in path or not path.endswith(".py"):
            raise SpecError(
                f"{printable(self.name)}: error: it builds on {printable(path)}, a file of a package: copy it"
            )
        if self.depth >= _BASES:
            raise SpecError(f"{printable(self.name)}: error: its files build on each other without end")
        if (text := self.load(beside)) is None:
            raise SpecError(f"{printable(self.name)}: error: it builds on {printable(path)}, and that is not there")
        return _Reader(beside, self.load, self.depth + 1).file(beside, text)


def plain(value: Any) -> Any:
    """Data without classes of its own: tuples are lists, code is text."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, str) else value


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A config over the one that it builds on; `_delete_` takes away what was there."""
    made = dict(base)
    for key, value in over.items():
        below = made.get(key)
        if isinstance(value, Mapping):
            own = {name: one for name, one in value.items() if name != "_delete_"}
            made[key] = _merged(below, own) if isinstance(below, Mapping) and not value.get("_delete_") else own
        else:
            made[key] = value
    return made
