"""The memory model against every recorded trace of a framework's own training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.frameworks import figures, known, runs
from tests.oracle.frameworks.record import judged, rows_of

RECORDED = [(target, run) for target in runs.targets() for run in rows_of(target)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configs of the tiny models, beside which specs are written."""
    made = tmp_path_factory.mktemp("oracle")
    figures.configs(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        yield made


@pytest.mark.parametrize(("target", "run"), RECORDED)
def test_it_is_predicted(target: str, run: str, folder: Path) -> None:
    of = runs.target(target)
    errors, faults = judged(runs.compiled(run, of, folder / "out"), of, rows_of(target)[run])
    assert known.verdict(faults, known.known(target, run)) == [], errors


@pytest.mark.parametrize("target", runs.targets())
def test_every_named_run_is_recorded_with_the_pinned_versions(target: str) -> None:
    """And of those that are drawn, the ones that `record --missing` has come to."""
    of = runs.target(target)
    rows = rows_of(target)
    assert {*of.named} <= {*rows} <= {*of.names()}
    assert {run for run, row in rows.items() if row["versions"] != of.versions()} == set()


def test_known_deviations_are_of_recorded_runs_and_say_why() -> None:
    for cause in known.deviations():
        assert cause["why"]
        for target, deviant in cause["runs"].items():
            assert {(target, run) for run in deviant} <= {*RECORDED}
