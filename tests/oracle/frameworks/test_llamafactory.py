"""LLaMA-Factory still holds what was recorded of it, and the tracer counts what PyTorch's allocator does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.starts.runs import Machine
from tests.oracle.frameworks import again, runs

TARGET = "llamafactory"
OF = runs.target(TARGET)

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("run", again.drawn(TARGET))
def test_it_holds_what_was_recorded(run: str, folder: Path, machine: Machine) -> None:
    again.check(TARGET, run, machine, folder)


# Between two processes Gloo's threads now and then free a buffer late: 2.5 % was met once in four tries.
@pytest.mark.parametrize(
    ("run", "apart"), [("small-full", 0.002), ("small-lora-kept", 0.002), ("small-full-zero2", 0.03)]
)
def test_the_tracer_counts_what_the_allocator_does(run: str, apart: float, folder: Path, machine: Machine) -> None:
    traced, profiled = (runs.traced(run, OF, machine, folder, by=by)["peak"] for by in ("tracer", "profiler"))
    assert traced == pytest.approx(profiled, rel=apart)
