"""The meter in a process with a GPU, of which torch and nvidia-smi here only tell."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from benchmarks.measure import meter as meter_module

MIB = 2**20
CASE = {"micro_batch": 2, "accumulation": 4, "length": 128}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is asked of a torch that has allocated 5000 bytes at most."""
    asked: list[str] = []

    def answering(name: str, value: object = None) -> Any:
        def answer() -> object:
            asked.append(name)
            return value

        return answer

    cuda = {"is_available": True, "max_memory_allocated": 5000, "max_memory_reserved": 7000}
    names = (*cuda, "synchronize", "empty_cache", "reset_peak_memory_stats")
    torch = ModuleType("torch")
    torch.cuda = SimpleNamespace(**{name: answering(name, cuda.get(name)) for name in names})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("MFC_MEASURE", str(tmp_path))
    return asked


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, *used: int) -> None:
    """An nvidia-smi that answers with these MiB, one after the other."""
    (folder / "used").write_text("".join(f"{each}\n" for each in used))
    smi = folder / "nvidia-smi"
    smi.write_text(
        f'#!/bin/sh\n[ "$3 $4" = "-i 3" ] || exit 1\nhead -n1 {folder}/used\nsed -i 1d {folder}/used\n',
        encoding="utf-8",
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize("forget", [True, False])
def test_peaks_and_time(calls: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forget: bool) -> None:
    driver(tmp_path, monkeypatch, 600, 2600, 3600, 3100)
    clock = iter([0.0, 9.0, 10.0, 12.0, 20.0, 24.0])
    monkeypatch.setattr(meter_module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    meter = meter_module.Meter()
    meter.loaded(forget=forget)
    assert ("reset_peak_memory_stats" in calls) == forget
    for _ in range(3):
        meter.begin()
        meter.end()
    meter_module.answer(meter.found(CASE, 127))
    found = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    assert found["peaks"] == {
        "allocated": 5000,
        "reserved": 7000,
        "process": 3000 * MIB,
        "allocated_by_loading": 5000,
    }
    assert found["step_seconds"] == [9.0, 2.0, 4.0]
    assert found["tokens_per_second"] == 2 * 4 * 127 / 4.0, "the first step warms up"
    assert calls.count("synchronize") == 6


@pytest.mark.parametrize("smi", [None, "exit 9", "echo '[N/A]'"])
def test_without_a_driver_that_says(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, smi: str | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if smi:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{smi}\n", encoding="utf-8")
        (tmp_path / "nvidia-smi").chmod(0o755)
    meter = meter_module.Meter()
    meter.begin()
    meter.end()
    assert meter.found(CASE, 128)["peaks"]["process"] is None
