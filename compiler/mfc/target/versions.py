"""Versions of a framework: which known one stands for the one that the user has."""

from __future__ import annotations

from collections.abc import Sequence


def nearest(version: str, known: Sequence[str]) -> str:
    """The one of `known` (newest first) that stands for a version: itself, the newest before it, or the oldest."""
    wanted = _numbers(version)
    return next((name for name in known if _numbers(name) <= wanted), known[-1])


def before(version: str, other: str) -> bool:
    """Whether a version is older than another: "3.7" is 3.7.0, older than 3.7.1."""
    ours, theirs = _numbers(version), _numbers(other)
    length = max(len(ours), len(theirs))
    return (*ours, *[0] * (length - len(ours))) < (*theirs, *[0] * (length - len(theirs)))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for part in version.split(".") if (digits := "".join(c for c in part if c.isdigit())))
