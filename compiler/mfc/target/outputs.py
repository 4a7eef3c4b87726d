"""What lowering makes: files that are still data, and the command that starts the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class File(NamedTuple):
    """One output, still as data. `cites` maps each dotted native key to the plan fields it carries.

    `template` is a Jinja2 file in the target's folder, given `data`, `plan`, `cites` and the filters of emit.render;
    None writes canonical JSON. `contract` names the JSON Schema under schemas/contracts that `data` must satisfy.
    """

    path: str  # relative to the output folder, with forward slashes
    data: Mapping[str, Any]
    template: str | None = None
    contract: str | None = None
    cites: Mapping[str, tuple[str, ...]] = {}
    sections: Mapping[str, tuple[str, ...]] = {}  # heading -> native keys, in order
    executable: bool = False


class Lowered(NamedTuple):
    """All files of one target, and the command that starts the run from the output folder."""

    files: tuple[File, ...]
    launch: str
