"""The matrices say what they mean: drawn runs compile, what is said to be refused is, and nothing else is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mfc
import pytest
from mfc.errors import MfcError
from mfc.target import names

from tests.conformance.starts.cover import Run, cover, fits, pairs, possible
from tests.conformance.starts.judge import name_of
from tests.conformance.starts.runs import CASES, matrices, spec_of
from tests.tables import table

MATRICES = matrices()
NOT_STARTED = table(CASES / "not_started.yaml")
ENOUGH = 60
# What no CPU can run, by target; an entry more is a run less, and needs a reason as good as these.
NOT_ON_CPU: dict[str, int] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configs of the tiny models, beside which specs are written."""
    made = tmp_path_factory.mktemp("starts")
    for name, said in json.loads((CASES / "models.json").read_text(encoding="utf-8")).items():
        (made / name).mkdir()
        (made / name / "config.json").write_text(json.dumps(said), encoding="utf-8")
    return made


def test_enough_runs_are_started() -> None:
    assert sum(len(of.runs()) for of in MATRICES.values()) >= ENOUGH
    assert {*MATRICES} | {*NOT_STARTED} == {*names()}


@pytest.mark.parametrize("target", MATRICES)
def test_all_that_is_drawn_compiles(target: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    refused = {}
    for run in MATRICES[target].runs():
        try:
            mfc.compile(spec_of(run, MATRICES[target]), [target], out=folder / "out")
        except MfcError as error:
            refused[name_of(run)] = str(error)
    assert refused == {}


@pytest.mark.parametrize("target", MATRICES)
def test_what_is_said_to_be_refused_is(target: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried where nothing else says no: else the entry would not be needed."""
    monkeypatch.chdir(folder)
    of = MATRICES[target]
    for entry in of.never:
        others = [one["when"] for one in of.never if one is not entry]
        alone = [run for run in possible(of.factors, others) if fits(run, entry["when"])]
        assert alone, f"{entry}: others say so already"
        if entry["by"] == "refused":
            for run in cover_values(alone, entry["when"]):
                with pytest.raises(MfcError):
                    mfc.compile(spec_of(run, of), [target], out=folder / "out")


def cover_values(runs: list[Run], when: dict[str, Any]) -> list[Run]:
    """The first of the runs for each combination of the values that an entry names."""
    first: dict[tuple[str, ...], Run] = {}
    for run in runs:
        first.setdefault(tuple(run[factor] for factor in when), run)
    return list(first.values())


@pytest.mark.parametrize("target", MATRICES)
def test_what_no_cpu_runs_is_a_closed_list(target: str) -> None:
    of = MATRICES[target]
    assert {one["by"] for one in of.never} <= {"refused", "cpu"}
    reasons = [one["why"] for one in of.never if one["by"] == "cpu"]
    assert len(reasons) == NOT_ON_CPU.get(target, 0)
    assert all(reasons)


@pytest.mark.parametrize("target", MATRICES)
def test_every_pair_of_values_meets(target: str) -> None:
    of = MATRICES[target]
    never = [one["when"] for one in of.never]
    assert set().union(*map(pairs, of.runs())) == set().union(*map(pairs, possible(of.factors, never)))


def test_a_cover_is_smaller_than_the_product() -> None:
    factors = {"a": ["1", "2", "3"], "b": ["1", "2", "3"], "c": ["1", "2", "3"], "d": ["1", "2"]}
    runs = possible(factors, [{"a": "1", "b": ["2", "3"]}])
    drawn = cover(runs)
    assert set().union(*map(pairs, drawn)) == set().union(*map(pairs, runs))
    assert 9 <= len(drawn) <= 12
    assert not any(fits(run, {"a": "1", "b": "2"}) for run in drawn)
