"""A target's table of native keys, and from it to native data: what every `lower` is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mfc.planner.plan import Plan


class Key(NamedTuple):
    """One native key: which plan fields it carries, and how it is written.

    `value` computes the native value (default: the first field as it is); `when` says if the key is emitted at all.
    """

    name: str  # dotted where the native file nests
    fields: tuple[str, ...]
    value: Callable[[Plan], Any] | None = None
    when: Callable[[Plan], bool] | None = None
    section: str = ""
    note: str = ""  # for the mapping table in the target's README


class Native(NamedTuple):
    """Native data with, for each dotted key, the plan fields it carries, and the keys of each section in order."""

    data: dict[str, Any]
    cites: dict[str, tuple[str, ...]]
    sections: dict[str, tuple[str, ...]]


def native(keys: Iterable[Key], plan: Plan, extra: Mapping[str, Any] | None = None) -> Native:
    """Apply a table of keys to a plan; dotted names nest. `extra`, the user's own keys, come in a section of theirs."""
    data: dict[str, Any] = {}
    cites: dict[str, tuple[str, ...]] = {}
    sections: dict[str, tuple[str, ...]] = {}
    for key in keys:
        if key.when is not None and not key.when(plan):
            continue
        place(data, key.name, plan.values[key.fields[0]] if key.value is None else key.value(plan))
        cites[key.name] = key.fields
        sections[key.section] = (*sections.get(key.section, ()), key.name)
    if extra:
        overlay(data, extra)
        sections["extra"] = tuple(extra)
    return Native(data, cites, sections)


def place(data: dict[str, Any], name: str, value: Any) -> None:
    """Put a value at a dotted name."""
    *folders, last = name.split(".")
    for folder in folders:
        data = data.setdefault(folder, {})
    data[last] = value


def overlay(data: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Lay nested (or dotted) keys over data, keeping what they do not name."""
    for name, value in extra.items():
        below = data.get(name)
        if isinstance(value, Mapping) and isinstance(below, dict):
            overlay(below, value)
        else:
            place(data, name, value)


def mapping_table(keys: Iterable[Key]) -> str:
    """The Markdown table for a README: native key, plan fields, remark."""
    rows = ["| native key | carries | remark |", "|---|---|---|"]
    for key in keys:
        rows.append(f"| `{key.name}` | {', '.join(f'`{name}`' for name in key.fields)} | {key.note} |")
    return "\n".join(rows) + "\n"
