"""From a table of keys to native data and files: what every `lower` is made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.errors import Fault
from mfc.target.codecs import LEFT_OUT, Writing
from mfc.target.keys import Key

if TYPE_CHECKING:
    from mfc.planner.plan import Plan


class Native(NamedTuple):
    """What a table of keys made of a plan: data, by dotted key the plan fields it cites, by section its keys."""

    keys: tuple[Key, ...]
    data: dict[str, Any]
    cites: dict[str, tuple[str, ...]]
    sections: dict[str, tuple[str, ...]]

    def file(self, path: str, template: str | None = None, contract: str | None = None) -> File:
        """The data as a file of its own."""
        return File(path, self.data, template, contract, said=self)


class File(NamedTuple):
    """One output, still as data.

    `template` is a Jinja2 file in the target's folder, given `data`, `plan`, `sections`, the reasons and the filters of
    emit.render; None writes canonical JSON. `contract` names the JSON Schema under schemas/contracts that `data` must
    satisfy. `said` is what a table of keys made, which `data` holds; `cites` are the plan fields behind what else the
    template writes, `sections` further lists of keys. `folder` is where the template lies, when not in the target's.
    """

    path: str  # relative to the output folder, with forward slashes
    data: Mapping[str, Any]
    template: str | None = None
    contract: str | None = None
    said: Native | None = None
    cites: Mapping[str, tuple[str, ...]] = {}
    sections: Mapping[str, tuple[str, ...]] = {}
    executable: bool = False
    folder: Path | None = None

    @property
    def reasons(self) -> Mapping[str, tuple[str, ...]]:
        """For everything that the file says, the plan fields behind it."""
        return {**(self.said.cites if self.said else {}), **self.cites}

    @property
    def headings(self) -> Mapping[str, tuple[str, ...]]:
        """Heading -> native keys, in order."""
        return {**(self.said.sections if self.said else {}), **self.sections}


class Start(NamedTuple):
    """How a run is started from the output folder: on each node by `bash SCRIPT`, whichever launcher does so.

    With several nodes the script asks for NODE_RANK, from 0, and MASTER_ADDR, the address of node 0; it may be told
    MASTER_PORT. `words` are those that have to follow it and that only the user knows, as a usage line has them.
    `server` is a script to be started before it and to be ended after it, on a node of its own where there are several.
    """

    script: str
    words: str = ""
    server: str = ""


class Lowered(NamedTuple):
    """All files of one target, and how the run is started with them."""

    files: tuple[File, ...]
    start: Start


def native(keys: tuple[Key, ...], plan: Plan, out_to_spec: str = ".", extra: Mapping[str, Any] | None = None) -> Native:
    """Apply a table of keys to a plan; dotted names nest. `extra`, the user's own keys, come in a section of theirs."""
    data: dict[str, Any] = {}
    cites: dict[str, tuple[str, ...]] = {}
    sections: dict[str, tuple[str, ...]] = {}
    at = Writing(plan, out_to_spec, data)
    for key in keys:
        if key.when is not None and not key.when(plan):
            continue
        try:
            value = key.codec.write(at)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise Fault(f"error: target {plan.profile.target}: key {key.name} cannot be written: {error!r}") from error
        if value is LEFT_OUT:
            continue
        place(data, key.name, value)
        cites[key.name] = key.cites(plan)
        sections[key.section] = (*sections.get(key.section, ()), key.name)
    if extra:
        overlay(data, extra)
        sections["extra"] = tuple(extra)
    return Native(keys, data, cites, sections)


def place(data: dict[str, Any], name: str, value: Any) -> None:
    """Put a value at a dotted name."""
    *folders, last = name.split(".")
    for folder in folders:
        data = data.setdefault(folder, {})
    data[last] = value


def overlay(data: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Lay nested keys over data, keeping what they do not name."""
    for name, value in extra.items():
        below = data.get(name)
        if isinstance(value, Mapping) and isinstance(below, dict):
            overlay(below, value)
        else:
            data[name] = value
