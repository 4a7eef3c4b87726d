"""Every run drawn for XTuner starts by its own launch script, and makes two optimizer steps on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.starts.judge import name_of, proves, trains
from tests.conformance.starts.runs import Machine, Run, matrix

MATRIX = matrix("xtuner")


@pytest.mark.framework
@pytest.mark.parametrize("run", MATRIX.runs(), ids=name_of)
def test_it_trains(run: Run, folder: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    trains(run, MATRIX, machine)


@pytest.mark.framework
@pytest.mark.parametrize(("run", "sets"), MATRIX.probes())
def test_its_probe_sees_the_peak(
    run: Run, sets: list[str], folder: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    proves(run, sets, MATRIX, machine)
