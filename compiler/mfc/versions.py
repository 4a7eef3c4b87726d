"""Versions of a framework: which known one stands for the one that the user has."""

from __future__ import annotations

import re
from collections.abc import Sequence


def nearest(version: str, known: Sequence[str]) -> str:
    """The one of `known` (newest first) that stands for a version: itself, the newest before it, or the oldest."""
    wanted = numbers(version)
    return next((name for name in known if numbers(name) <= wanted), known[-1])


def before(version: str, other: str) -> bool:
    """Whether a version is older than another: "3.7" is 3.7.0, older than 3.7.1."""
    ours, theirs = numbers(version), numbers(other)
    length = max(len(ours), len(theirs))
    return (*ours, *[0] * (length - len(ours))) < (*theirs, *[0] * (length - len(theirs)))


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a release: (4, 57, 1) of "4.57.1", of "4.57.1rc2" and of "4.57.1+cu128"."""
    release = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()
