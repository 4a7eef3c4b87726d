"""What `mfc data --write` puts into a spec: mean_length and lengths, all else of its text as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.data.samples import GENERATES
from mfc.errors import SpecError
from mfc.spec import yaml12
from mfc.spec.marks import Source

if TYPE_CHECKING:
    from yaml import Node

    from mfc.data.show import Account

_WIDTH = 100  # columns after which a list of numbers goes on in a new line


class _Place(NamedTuple):
    """Where `data` stands: its key, and the keys within it."""

    key: Node
    value: Node


def measured(account: Account, sha256: str) -> dict[str, Any]:
    """The fields of the spec's data that say how long its rows are. Raises SpecError where none could be counted."""
    summary = account.summary
    if summary.lengths is None:
        raise SpecError(f"{account.spec}: error: no row of the data can be counted, so there are no lengths to write")
    if 2 * summary.bad > summary.rows:
        raise SpecError(
            f"{account.spec}: error: {summary.bad:,} of {summary.rows:,} rows are bad, so what is left may not be like "
            "them: mend the rows, or data.format, before lengths are written"
        )
    lengths = {
        "samples": account.rows,
        "tokens": "counted" if account.exact else "estimated",
        "file_bytes": account.size,
        "sha256": sha256,
        "quantiles": list(summary.lengths.quantiles),
    }
    if account.task in GENERATES:  # rows are prompts, and the mean is of whole samples
        return {"lengths": lengths}
    return {"mean_length": max(round(summary.mean), 1), "lengths": lengths}


def written(text: str, name: str, fields: Mapping[str, Any]) -> str:
    """A spec's text with these fields in its `data`. Raises SpecError where that takes more than adding to it."""
    made, json_text = text, text.lstrip("\ufeff \t\r\n").startswith("{")
    try:
        for field, value in fields.items():
            made = _with(made, field, value, json_text)
        before, after = (_plain(one, name) for one in (text, made))
    except (_Elsewhere, SpecError) as reason:
        why = str(reason) if isinstance(reason, _Elsewhere) else "its text leaves no place for it"
        raise _by_hand(name, fields, why) from None
    data = before.get("data")
    wanted = {**(data if isinstance(data, dict) else {"train": data} if data is not None else {}), **fields}
    if after != {**before, "data": wanted}:
        raise _by_hand(name, fields, "its text leaves no place for it")
    return made


class _Elsewhere(Exception):
    """The fields cannot go where they belong, and why."""


def _by_hand(name: str, fields: Mapping[str, Any], why: str) -> SpecError:
    lines = "".join(f"\n  {field}: {_flow(value, '    ')}" for field, value in fields.items())
    return SpecError(f"{name}: error: cannot be written to: {why}; put this under data yourself:{lines}")


def _plain(text: str, name: str) -> dict[str, Any]:
    node = yaml12.parse(text, Source(name))
    plain = node.plain() if node else {}
    return plain if isinstance(plain, dict) else {}


def _with(text: str, field: str, value: Any, json_text: bool) -> str:
    """The text with one field of data set."""
    import yaml

    mark = len(text) - len(text.removeprefix("\ufeff"))
    root: Any = yaml.compose(text[mark:], Loader=yaml.SafeLoader)
    newline = "\r\n" if "\r\n" in text else "\n"
    key = json.dumps(field) if json_text else field
    if root is not None and root.id != "mapping":
        raise _Elsewhere("it is no mapping")
    found = next((_Place(*pair) for pair in root.value if pair[0].value == "data"), None) if root else None
    if found is None:
        if json_text:
            raise _Elsewhere("it has no data")
        ending = "" if not text or text.endswith("\n") else newline
        return f"{text}{ending}data:{newline}  {field}: {_flow(value, '    ', newline)}{newline}"
    data: Any = found.value
    if data.start_mark.index < found.key.end_mark.index:
        raise _Elsewhere("data is an alias there")
    inside = data.id == "mapping" and not data.flow_style and data.value
    indent = " " * (data.start_mark.column if inside else found.key.start_mark.column + 2)
    shown = _flow(value, f"{indent}  ", newline, json_text)
    if data.tag == "tag:yaml.org,2002:null":
        first, last = found.key.end_mark.index + mark, data.end_mark.index + mark
        return f"{text[:first]}: {{{key}: {shown}}}{text[last:]}"
    if data.id == "sequence":
        raise _Elsewhere("data is a list there")
    if data.id != "mapping":
        first, last = data.start_mark.index + mark, data.end_mark.index + mark
        return f"{text[:first]}{{train: {json.dumps(data.value, ensure_ascii=False)}, {key}: {shown}}}{text[last:]}"
    old = next((entry for entry in data.value if entry[0].value == field), None)
    if old:
        start, end = old[1].start_mark.index + mark, _end(old[1]) + mark
        if not data.flow_style:
            start = old[0].end_mark.index + mark
            return f"{text[:start]}: {shown}{text[end:]}"
        return f"{text[:start]}{shown}{text[end:]}"
    if not data.value:
        start = data.start_mark.index + mark + 1
        return f"{text[:start]}{key}: {shown}{text[start:]}"
    end = _end(data.value[-1][1] if data.flow_style else data) + mark
    if data.flow_style:
        return f"{text[:end]}, {key}: {shown}{text[end:]}"
    line = text.find("\n", end)
    if line < 0:
        return f"{text}{newline}{indent}{key}: {shown}{newline}"
    return f"{text[: line + 1]}{indent}{key}: {shown}{newline}{text[line + 1 :]}"


def _end(node: Any) -> int:
    """Where the text of a value ends, without the comments and empty lines that a block drags along."""
    if node.id == "scalar" or node.flow_style:
        return int(node.end_mark.index)
    if not node.value:
        return int(node.start_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _flow(value: Any, indent: str, newline: str = "\n", quoted: bool = False) -> str:
    """A value in flow style, in lines that can be read; JSON where keys are `quoted`."""
    if not isinstance(value, dict):
        return json.dumps(value)
    lines: list[str] = []
    for key, one in value.items():
        line = f"{json.dumps(key) if quoted else key}:"
        shown = one if isinstance(one, str) and one.isalpha() and not quoted else json.dumps(one)
        for word in shown.split(" "):
            if len(indent) + len(line) + len(word) > _WIDTH:
                lines.append(line)
                line = f"  {word}"
            else:
                line += f" {word}"
        lines.append(f"{line},")
    return "{" + f"{newline}{indent}".join(["", *lines]).removesuffix(",") + "}"
