"""Every run drawn for TRL starts by its own launch script, and makes two optimizer steps on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.starts.judge import name_of, ready, trains
from tests.conformance.starts.runs import Machine, Run, matrix

MATRIX = matrix("trl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("starts")


@pytest.fixture(scope="module")
def machine(folder: Path) -> Iterator[Machine]:
    with ready(MATRIX, folder) as made:
        yield made


@pytest.mark.framework
@pytest.mark.parametrize("run", MATRIX.runs(), ids=name_of)
def test_it_trains(run: Run, folder: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    trains(run, MATRIX, machine)
