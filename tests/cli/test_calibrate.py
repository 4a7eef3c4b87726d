"""`mfc calibrate`, and what `mfc plan` makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from mfc.cli import main
from mfc.report.schema import json_schema

SPEC = """
model: Qwen/Qwen2.5-7B-Instruct
hardware: RTX 4090
data: {train: data.jsonl, max_length: 2048}
run: {output_dir: results}
strategy: {micro_batch: 1}
targets: {llamafactory: {out: out}}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MFC_CALIBRATION", str(tmp_path / "kept" / "calibration.json"))
    (tmp_path / "data.jsonl").write_text('{"messages": []}\n', encoding="utf-8")
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    return int(ended.value.code or 0)


def compiled(spec: Path) -> Path:
    assert run("compile", spec) == 0
    return spec.parent / "out"


def test_a_measured_peak_shows_in_plans(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", spec, "--format", "json") == 0
    before = json.loads(capsys.readouterr().out)["plans"][0]["memory"]
    assert before["calibration"] is None
    assert run("calibrate", spec, "--measured", "14GiB", "--metric", "reserved") == 0
    capsys.readouterr()
    assert run("plan", spec, "--format", "json") == 0
    said = json.loads(capsys.readouterr().out)
    jsonschema.validate(said, json_schema())
    after = said["plans"][0]["memory"]
    assert after["gpu"] == before["gpu"]
    assert after["calibration"]["runs"] == 1
    assert run("plan", spec) == 0
    assert "1 run on this machine" in capsys.readouterr().out


def test_compiling_does_not_read_it(spec: Path) -> None:
    out = compiled(spec)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert run("calibrate", spec, "--measured", "20GiB") == 0
    assert run("compile", spec, "--check") == 0
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_a_compiled_folder_brings_its_logs(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = compiled(spec)
    assert run("calibrate", out) == 2
    assert "no log there" in capsys.readouterr().err
    (out / "results").mkdir()
    log = {"current_steps": 1, "vram_allocated": 15.5, "vram_reserved": 16.0}
    (out / "results" / "trainer_log.jsonl").write_text(json.dumps(log) + "\n", encoding="utf-8")
    assert run("calibrate", out) == 0
    assert "2 figures" in capsys.readouterr().out
    assert run("calibrate", "--list") == 0
    assert capsys.readouterr().out.count("spec.yaml") == 2


def test_a_changed_spec_is_another_run(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = compiled(spec)
    spec.write_text(SPEC + "mfc: 1\n", encoding="utf-8")
    assert run("calibrate", out) == 2
    assert "not what was compiled" in capsys.readouterr().err


def test_a_full_card_tells_nothing(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("calibrate", spec, "--measured", "23.9GiB") == 0
    assert "not kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "nothing to learn from"),
        (("{spec}",), "say what the run took"),
        (("{spec}", "--measured", "21"), "a size with a unit"),
        (("{spec}", "{spec}", "--measured", "21GiB"), "of one run"),
        (("{folder}",), "mfc compiled nothing into it"),
    ],
)
def test_refusals(args: tuple[str, ...], said: str, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("calibrate", *(arg.format(spec=spec, folder=spec.parent) for arg in args)) == 2
    assert said in capsys.readouterr().err


def test_switched_off(spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MFC_CALIBRATION", "")
    assert run("calibrate", spec, "--measured", "20GiB") == 2
    assert run("plan", spec) == 0
    assert "measured  " not in capsys.readouterr().out
