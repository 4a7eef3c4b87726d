"""Deviations that are known: `tests/cases/oracle/deviations.yaml`."""

from __future__ import annotations

import functools
from typing import Any

import yaml

from tests.oracle.frameworks.runs import CASES

STEADY = 1.0  # percent by which a known deviation may change


@functools.cache
def deviations() -> list[dict[str, Any]]:
    """Causes, each with why it is and, by target and run, what is off by how many percent."""
    found: list[dict[str, Any]] = yaml.safe_load((CASES / "deviations.yaml").read_text(encoding="utf-8")) or []
    return found


def known(target: str, run: str) -> dict[str, float]:
    """What may be off in a run, by how many percent."""
    made: dict[str, float] = {}
    for cause in deviations():
        made |= cause["runs"].get(target, {}).get(run, {})
    return made


def verdict(found: dict[str, float], known: dict[str, float]) -> list[str]:
    """What is wrong with a run's faults: new ones, worse ones, and known ones that are gone."""
    made = [f"{what} is {off:+} % off" for what, off in found.items() if what not in known]
    made += [f"{what} obeys by now: take it off the list" for what in known if what not in found]
    for what in found.keys() & known.keys():
        if abs(found[what] - known[what]) > STEADY:
            made.append(f"{what} is {found[what]:+} % off, known are {known[what]:+} %")
    return made
