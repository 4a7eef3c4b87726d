"""The public functions: load a spec, plan it, compile it."""

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
    out: Path
    files: Mapping[str, str]
    executable: frozenset[str]
    inputs: tuple[Path, ...]  # every file that was read to make them
    overrides: tuple[str, ...]
