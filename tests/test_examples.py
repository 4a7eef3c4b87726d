"""Every example compiles, for every target that it names, and what comes out hangs together."""

from __future__ import annotations

from pathlib import Path

import mfc
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SPECS = [path for path in sorted(EXAMPLES.rglob("*.yaml")) if "\ntargets:" in path.read_text(encoding="utf-8")]


def test_there_are_examples() -> None:
    assert len(SPECS) >= 12


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_an_example_compiles(path: Path) -> None:
    for compiled in mfc.compile(path):
        plan, strategy = compiled.plan, compiled.plan.strategy
        assert plan.fits
        assert plan.memory.upper_bytes <= plan.budget_bytes
        ranks = strategy.world_size // strategy.sequence_parallel
        assert strategy.micro_batch * strategy.gradient_accumulation * ranks == plan.values["batch_size"]
        assert compiled.files
        assert compiled.launch


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_same_spec_gives_the_same_bytes(path: Path) -> None:
    assert [one.files for one in mfc.compile(path)] == [one.files for one in mfc.compile(path)]
