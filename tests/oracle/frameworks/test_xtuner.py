"""XTuner still holds what was recorded of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.starts.runs import Machine
from tests.oracle.frameworks import again

TARGET = "xtuner"

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("run", again.drawn(TARGET))
def test_it_holds_what_was_recorded(run: str, folder: Path, machine: Machine) -> None:
    again.check(TARGET, run, machine, folder)
