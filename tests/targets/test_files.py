"""Spec -> native files: the cases of every target, in the words of tests/targets/cases.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from mfc import api, errors
from mfc.target import names

from tests.targets.cases import ALL, MISSING, at, case, compiled, good, read, written

WORDS = {"spec", "config", "expect", "absent", "lines", "with", "without", "files", "plan", "because", "warned"}
WORDS |= {"refused", "error"}


@pytest.mark.parametrize(("target", "name"), ALL)
def test_case(target: str, name: str, folder: Path) -> None:
    one = case(target, name)
    assert one.keys() <= WORDS
    if "because" in one:
        plan = api.plan(written(target, name, folder), target)
        assert plan.fits
        for field, reason in one["because"].items():
            assert reason in plan.decisions[field].because
    if "refused" in one:
        _is_refused(target, name, folder)
    else:
        _compiles(target, name, folder)


def _is_refused(target: str, name: str, folder: Path) -> None:
    one = case(target, name)
    said = [one["refused"]] if isinstance(one["refused"], str) else one["refused"]
    with pytest.raises(getattr(errors, one.get("error", "MfcError"))) as refused:
        compiled(target, name, folder)
    assert [text for text in said if text not in str(refused.value)] == []


def _compiles(target: str, name: str, folder: Path) -> None:
    one, made = case(target, name), compiled(target, name, folder)
    for file, wanted in one.get("expect", {}).items():
        data = read(file, made.files[file])
        assert {key: at(data, key) for key in wanted} == wanted, file
    for file, keys in one.get("absent", {}).items():
        data = read(file, made.files[file])
        assert [key for key in keys if at(data, key) is not MISSING] == [], file
    for file, lines in one.get("lines", {}).items():
        assert [line for line in lines if line not in made.files[file].splitlines()] == [], file
    for file, texts in one.get("with", {}).items():
        assert [text for text in texts if text not in made.files[file]] == [], file
    for file, texts in one.get("without", {}).items():
        assert [text for text in texts if text in made.files[file]] == [], file
    if "files" in one:
        assert set(made.files) == set(one["files"])
    wanted = one.get("plan", {})
    assert {field: made.plan.values[field] for field in wanted} == wanted
    if "warned" in one:
        assert one["warned"] in [advice.id for advice in made.plan.warnings]


@pytest.mark.parametrize("target", names())
def test_every_target_has_cases(target: str) -> None:
    assert good(target)
