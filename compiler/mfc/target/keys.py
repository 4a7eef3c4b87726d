"""A target's table of native keys: what carries which plan fields, and when it is in the file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from mfc.target.codecs import Codec
from mfc.target.when import When

if TYPE_CHECKING:
    from mfc.planner.plan import Plan


class Key(NamedTuple):
    """One native key: how it says what the plan says, and when it is in the file (None: always)."""

    name: str  # dotted where the native file nests
    codec: Codec
    when: When | None = None
    note: str = ""  # for the mapping table in the target's README
    also: tuple[str, ...] = ()  # fields whose reasons belong to it, beside those that its codec carries
    section: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """The plan fields that it carries."""
        return (*self.codec.fields, *self.also)

    def cites(self, plan: Plan) -> tuple[str, ...]:
        """The plan fields whose reasons stand beside it in a file of this plan."""
        return (*self.codec.reasons(plan), *self.also)


def section(name: str, *keys: Key) -> tuple[Key, ...]:
    """Keys under one heading."""
    return tuple(key._replace(section=name) for key in keys)


def mapping_table(keys: Iterable[Key]) -> str:
    """The Markdown table for a README: native key, plan fields, remark."""
    rows = ["| native key | carries | remark |", "|---|---|---|"]
    for key in keys:
        rows.append(f"| `{key.name}` | {', '.join(f'`{name}`' for name in key.fields)} | {key.note} |")
    return "\n".join(rows) + "\n"
