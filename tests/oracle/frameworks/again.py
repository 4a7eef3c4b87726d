"""Traces some recorded runs of a target again, drawn by a fixed seed: the framework still holds what was recorded."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.conformance.starts.runs import Machine
from tests.oracle.frameworks import runs
from tests.oracle.frameworks.record import row_of, rows_of

FEW = 3  # of each target: importing and training take some ten seconds a run


def drawn(target: str) -> list[str]:
    """The names of some recorded runs."""
    every = sorted(rows_of(target))
    return random.Random(target).sample(every, min(FEW, len(every)))


def check(target: str, run: str, machine: Machine, folder: Path) -> None:
    """Trace a run, and compare it with its row."""
    of, recorded = runs.target(target), rows_of(target)[run]
    found = row_of(run, runs.traced(run, of, machine, folder), of)
    assert found["versions"] == recorded["versions"]
    small = 0.001 * recorded["peak"]  # what a process holds beside the model differs by some KiB from one to the next
    assert found.get("host", 0) == pytest.approx(recorded.get("host", 0), rel=0.002)
    assert found["kinds"] == pytest.approx(recorded["kinds"], rel=0.002, abs=small)
