"""What an expression of a Python config is, part by part, where no code has to run for it."""

from __future__ import annotations

import ast
import operator
import posixpath
from collections.abc import Callable, Mapping
from typing import Any

_MOST = 10_000  # signs of a text, items of a list
_GREATEST = 10**15
_POWER = 64


class Code(str):
    """What a config imports: "module:name"; a module itself has no name behind its colon."""

    __slots__ = ()


class Untold(str):
    """An expression that only Python could tell."""

    __slots__ = ()


Value = Callable[[ast.expr], Any]


def value(node: ast.expr, names: Mapping[str, Any], inner: Value) -> Any:
    """What an expression is; `inner` tells its parts. Raises ValueError, or what its operators raise, for the rest."""
    match node:
        case ast.Constant(value=constant):
            return repr(constant) if isinstance(constant, bytes | complex) or constant is ... else constant
        case ast.Name(id=name):
            return names[name]
        case ast.Attribute(value=owner, attr=attr):
            return _attribute(inner(owner), attr)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return _sequence(node, items, inner)
        case ast.Set(elts=[ast.Set(elts=[named])]):  # {{_base_.lr}}
            return inner(named)
        case ast.Dict(keys=keys, values=values):
            return _mapping([(None if key is None else inner(key), inner(one)) for key, one in _pairs(keys, values)])
        case ast.Call():
            return _call(node, inner)
        case ast.BinOp(left=left, op=op, right=right):
            return binary(op, inner(left), inner(right))
        case ast.UnaryOp(op=sign, operand=operand):
            return _UNARY[type(sign)](_known(inner(operand)))
        case ast.BoolOp(op=joint, values=values):
            return _bool(joint, values, inner)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            return _compare(inner(left), ops, rights, inner)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return inner(body) if _known(inner(test)) else inner(orelse)
        case ast.Subscript(value=owner, slice=index):
            return _item(_known(inner(owner)), index, inner)
        case ast.JoinedStr(values=parts):
            return "".join(_formatted(part, inner) for part in parts)[:_MOST]
    raise ValueError("no expression of a config")


def size(found: Any, most: int) -> int:
    """How many items a value holds in all; it stops counting above `most`."""
    count, waiting = 0, [found]
    while waiting and count <= most:
        count += 1
        one = waiting.pop()
        waiting += one.values() if isinstance(one, Mapping) else one if isinstance(one, list | tuple) else ()
    return count


def binary(op: ast.operator, left: Any, right: Any) -> Any:
    """An operator of two values, where the outcome is no larger than a config's."""
    left, right = _known(left), _known(right)
    if isinstance(op, ast.BitOr) and isinstance(left, Mapping) and isinstance(right, Mapping):
        return {**left, **right}
    if isinstance(op, ast.Mult) and (_long(left) or _long(right)):
        times = right if _long(left) else left
        if not isinstance(times, int) or times * max(len(one) for one in (left, right) if _long(one)) > _MOST:
            raise ValueError("too long")
    if isinstance(op, ast.Pow) and not (abs(left) <= _GREATEST and abs(right) <= _POWER):
        raise ValueError("too great")
    if isinstance(op, ast.Mod) and isinstance(left, str):
        raise ValueError("a format")
    found = _BINARY[type(op)](left, right)
    if isinstance(found, int) and abs(found) > _GREATEST:
        raise ValueError("too great")
    return found[:_MOST] if _long(found) else found


def _long(found: Any) -> bool:
    return isinstance(found, str | list | tuple)


def _known(found: Any) -> Any:
    if isinstance(found, Untold):
        raise ValueError("not told")
    return found


def _attribute(owner: Any, attr: str) -> Any:
    if isinstance(owner, Code):
        return Code(f"{owner}{attr}" if owner.endswith(":") else f"{owner}.{attr}")
    if isinstance(owner, Mapping):
        return owner[attr]
    raise ValueError("an attribute of no mapping")


def _sequence(node: ast.expr, items: list[ast.expr], inner: Value) -> Any:
    made: list[Any] = []
    for one in items:
        if isinstance(one, ast.Starred):
            made += _known(inner(one.value))
        else:
            made.append(inner(one))
    return tuple(made) if isinstance(node, ast.Tuple) else made


def _pairs(keys: list[ast.expr | None], values: list[ast.expr]) -> list[tuple[ast.expr | None, ast.expr]]:
    return list(zip(keys, values, strict=True))


def _mapping(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, one in pairs:
        if key is None:  # **other
            made.update(_known(one))
        else:
            made[str(key)] = one
    return made


def _call(node: ast.Call, inner: Value) -> Any:
    """A plain function of Python's, or a mapping of what is called with which arguments."""
    given = [inner(one) for one in node.args if not isinstance(one, ast.Starred)]
    named = _mapping([(one.arg, inner(one.value)) for one in node.keywords])
    if isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        return _FUNCTIONS[node.func.id](*map(_known, given), **named)
    if isinstance(node.func, ast.Attribute) and not isinstance(owner := inner(node.func.value), Code):
        return _method(_known(owner), node.func.attr, given)
    called = inner(node.func)
    if not isinstance(called, Code):
        raise ValueError("it calls what nobody knows")
    if called in _OF_PYTHON:
        return _OF_PYTHON[called](*map(_known, given), **named)
    if given:
        raise ValueError("arguments without names")
    return {"type": called, **named}


def _method(owner: Any, attr: str, given: list[Any]) -> Any:
    if attr == "copy" and isinstance(owner, Mapping | list):
        return owner
    if attr == "get" and isinstance(owner, Mapping):
        return owner.get(*given)
    if attr in ("lower", "upper", "strip", "replace", "join", "removesuffix") and isinstance(owner, str):
        return getattr(str, attr)(owner, *map(_known, given))[:_MOST]
    raise ValueError("a method that may do anything")


def _dict(*given: Any, **named: Any) -> dict[str, Any]:
    return {**(given[0] if given else {}), **named}


def _number(convert: Callable[[Any], Any]) -> Callable[..., Any]:
    def made(found: Any) -> Any:
        if isinstance(found, str) and len(found) > 100:
            raise ValueError("too long")
        return convert(found)

    return made


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "dict": _dict,
    "list": lambda found=(): list(found),
    "tuple": lambda found=(): tuple(found),
    "int": _number(int),
    "float": _number(float),
    "str": _number(str),
    "bool": bool,
    "len": len,
    "min": min,
    "max": max,
    "round": round,
    "abs": abs,
}


def _getenv(_name: str, default: Any) -> Any:
    return default


# What the libraries of Python do that configs use; of variables of the environment only the default is known.
_OF_PYTHON: Mapping[str, Callable[..., Any]] = {
    "os:path.join": posixpath.join,
    "os.path:join": posixpath.join,
    "os:getenv": _getenv,
    "os:environ.get": _getenv,
    "copy:deepcopy": lambda found: found,
    "copy:copy": lambda found: found,
    "mmengine:ConfigDict": _dict,
    "mmengine.config:ConfigDict": _dict,
}

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: lambda one, other: one is other or (isinstance(one, Code) and one == other),
    ast.IsNot: lambda one, other: not (one is other or (isinstance(one, Code) and one == other)),
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
}


def _bool(joint: ast.boolop, values: list[ast.expr], inner: Value) -> Any:
    found: Any = None
    for one in values:
        found = _known(inner(one))
        if bool(found) is isinstance(joint, ast.Or):
            break
    return found


def _compare(left: Any, ops: list[ast.cmpop], rights: list[ast.expr], inner: Value) -> bool:
    for op, right in zip(ops, rights, strict=True):
        other = _known(inner(right))
        if not _COMPARE[type(op)](_known(left), other):
            return False
        left = other
    return True


def _item(owner: Any, index: ast.expr, inner: Value) -> Any:
    if isinstance(index, ast.Slice):
        if not _long(owner):
            raise ValueError("a slice of no list")
        return owner[slice(*(_known(inner(one)) if one else None for one in (index.lower, index.upper, index.step)))]
    key = _known(inner(index))
    if isinstance(owner, Code):
        raise ValueError("an item of code")
    return owner[key]


def _formatted(part: ast.expr, inner: Value) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    if not isinstance(part, ast.FormattedValue):
        raise ValueError("no part of a text")
    found = _known(inner(part.value))
    spec = _formatted_spec(part.format_spec)
    if isinstance(found, Mapping | list | tuple):
        raise ValueError("a text of many items")
    return format(str(found) if part.conversion == ord("s") else found, spec)


def _formatted_spec(spec: ast.expr | None) -> str:
    """A plain format such as .2f or 03d; a wide one would be no config's."""
    if spec is None:
        return ""
    text = "".join(str(part.value) for part in getattr(spec, "values", ()) if isinstance(part, ast.Constant))
    if len(text) > 4:
        raise ValueError("a wide format")
    return text
