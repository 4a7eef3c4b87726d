"""One of two runs that are compared: each field with its value, where that stands, and who says it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mfc.imports import typed
from mfc.target import contracts

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

# The file says it; the framework does it where nothing is said; mfc chose it, for a spec, or to plan what is not said.
By = Literal["file", "default", "mfc"]


class Stated(NamedTuple):
    """A value, where it stands, and who says it."""

    value: Any
    where: str
    by: By = "file"


class Side(NamedTuple):
    """A run. `own` are keys of the framework's that no field of a plan says."""

    name: str
    target: str
    title: str
    version: str
    values: Mapping[str, Stated]
    own: Mapping[str, Stated]
    contracts: tuple[str, ...]  # of the files whose keys `own` are
    plan: Plan | None
    spec: Any  # what was planned, as `api.load` takes it
    notes: tuple[str, ...] = ()
    refused: str = ""
    folder: Path = Path()  # that its paths are relative to
    hardware: bool = True  # False: nothing tells the GPU, so it was planned on a stand-in

    @property
    def framework(self) -> str:
        """The framework and its version."""
        return f"{self.title} {self.version}"

    @property
    def unsaid(self) -> tuple[str, ...]:
        """Fields of a framework's file that neither it nor a known default says: mfc planned with values of its own."""
        return tuple(name for name, one in self.values.items() if not one.where)

    def without(self, key: str) -> Stated:
        """What the framework does where a key of its own is left out."""
        known = [name for name in self.contracts if typed.knows(key, contracts.load(name))]
        if not known:
            return Stated(None, f"{self.framework} has no such key", "default")
        every = (typed.default(key, contracts.load(name)) for name in known)
        return Stated(next((one for one in every if one is not None), None), f"default of {self.framework}", "default")
