"""What one version of a framework can say, and how it uses memory: what a target tells the planner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mfc.fields import NEUTRAL
from mfc.memory.stack import Stack


class Profile(NamedTuple):
    """What one version of a framework supports and how it uses memory.

    `supports` maps a plan field (task, method, sharding, attention, loss, optimizer, ...) to the values the framework
    can express, best known first; of a field that is not named it can express the neutral value alone (`mfc.fields`).
    `notes` say what a limit means for the user. A field of `always` has that one value: where a spec leaves it open, it
    is planned, and another is refused. One of `usual` has it where a spec leaves it open, for the reason beside it: the
    framework cannot say what mfc would derive, but other values.
    """

    target: str
    version: str
    stack: Stack
    supports: Mapping[str, tuple[Any, ...]] = {}
    packages: Mapping[str, str | None] = {}  # what the user says is installed; None = absent
    notes: Mapping[str, str] = {}
    always: Mapping[str, Any] = {}  # plan field -> what its code does by itself, whatever it is told
    fresh: tuple[str, ...] = ()  # tasks that begin from random weights, whatever the model is
    usual: Mapping[str, tuple[Any, str]] = {}  # derived plan field -> the value and why, unless the spec says another

    def can(self, field: str) -> tuple[Any, ...]:
        """The values of a field that the framework can express: those it names, or the neutral one alone."""
        return self.supports.get(field, NEUTRAL[field])
