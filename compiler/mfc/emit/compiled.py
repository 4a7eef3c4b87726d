"""A compilation: what is written, compared and reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mfc.planner.plan import Plan


@dataclass(frozen=True, slots=True)
class Compiled:
    """The outputs of one spec for one target. `files` maps paths under `out` to their text; nothing is written yet."""

    target: str
    plan: Plan
    spec: Path | None  # the file that was compiled; None for a mapping given by a program
    out: Path
    files: Mapping[str, str]
    executable: frozenset[str]
    inputs: tuple[Path, ...]  # every file that was read to make them
    overrides: tuple[str, ...]
    launch: str  # the command that starts the run, from the folder `out`
    trial: str = ""  # the command that starts its probe, from the folder `probe` in `out`; empty without one
    declared: bool = False  # the spec itself names this target and, by `out` or by default, this folder
    by_folders: bool = False  # it would be another if a folder beside the spec went, which no digest tells
    probes: tuple[Path, ...] = ()  # files that were looked for and not there, whose coming would change the outputs
