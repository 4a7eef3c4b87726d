"""The file of measured runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mfc.calibration import path
from mfc.calibration.store import Condition, MeasuredRun, load, save
from mfc.errors import SpecError

RUN = MeasuredRun(
    Condition("deepspeed 0.19.8", "flash", "plain", "none", "A100-80G"), "a.yaml", "0" * 64, "process", 10, 9, "0.1.0"
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "calibration.json"
    other = replace(RUN, kind="allocated")
    save(file, [RUN, other])
    assert load(file) == (RUN, other)
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_measuring_again_replaces(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    save(file, [RUN, replace(RUN, measured_bytes=12)])
    assert [run.measured_bytes for run in load(file)] == [12]


def test_where_it_lies(tmp_path: Path) -> None:
    assert path({"MFC_CALIBRATION": "/x/y.json"}) == Path("/x/y.json")
    assert path({"MFC_CALIBRATION": ""}) is None
    assert path({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "mfc" / "calibration.json"


def test_no_file_is_no_run(tmp_path: Path) -> None:
    assert load(tmp_path / "absent.json") == ()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema": 2, "runs": []}', '{"schema": 1, "runs": [{"key": {}}]}'])
def test_a_file_that_mfc_did_not_write(text: str, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="calibration"):
        load(file)
