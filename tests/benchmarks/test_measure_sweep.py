"""A sweep goes on whatever a case does: it stops in time, resumes, and leaves a row of everything that happened."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import grid, jobs, process, sweep

MACHINE: dict[str, Any] = {
    "gpu": None,
    "gpu_memory": None,
    "libraries": ("torch", "transformers", "accelerate", "peft", "deepspeed", "llamafactory"),
    "versions": {"torch": "2.13.0", "deepspeed": "0.19.8", "llamafactory": "0.9.5"},
}


class Sweep:
    """The sweep with runs that answer as told, by the name of the framework."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, file: Path, answers: dict[str, Any]) -> None:
        self.file, self.ran = file, list[str]()
        found = dict.fromkeys(answers, (None, MACHINE))
        monkeypatch.setattr(sweep, "machines", lambda frameworks, everything_here: found)

        def run(case: Any, *_: Any) -> dict[str, Any]:
            self.ran.append(case["framework"])
            return {**MACHINE, **answers[case["framework"]]}

        monkeypatch.setattr(sweep, "run", run)

    def __call__(self, minutes: float = 5, seconds: float = 240, retry: bool = False) -> list[dict[str, Any]]:
        self.ran.clear()
        sweep.measure(self.file, minutes, seconds, [], everything_here=True, retry=retry)
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]


def test_failures_are_rows_and_do_not_end_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {
        "trainer": {"tokens_per_second": 5.0},
        "deepspeed": {"oom": True},
        "llamafactory": {"error": "nothing fits", "kind": "refused"},
    }
    run = Sweep(monkeypatch, tmp_path / "rows.jsonl", answers)
    rows = run()
    assert len(rows) == 7
    assert {row["kind"] for row in rows} == {"machinery", "refused"}
    assert [row["oom"] for row in rows if "deepspeed" in row["id"]] == [True, True]
    assert "nothing fits" in capsys.readouterr().err
    assert (run(), run.ran) == (rows, []), "all is done"
    run(retry=True)
    assert run.ran == ["llamafactory", "llamafactory"]


def test_a_framework_that_only_fails_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "GIVE_UP", 2)
    answers = {"trainer": {"error": "exit code 1: no such thing"}, "deepspeed": {"tokens_per_second": 5.0}}
    rows = Sweep(monkeypatch, tmp_path / "rows.jsonl", answers)()
    assert [row["kind"] for row in rows].count("error") == 2
    assert [row["kind"] for row in rows].count("machinery") == 2
    assert "trainer: given up after 2 failures and no success" in capsys.readouterr().err


def test_it_stops_in_time_and_records_no_case_that_the_budget_cut_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    file.touch()
    run = Sweep(monkeypatch, file, {"trainer": {"error": "not done within 90 s"}})
    assert run(minutes=1.5) == []
    assert "in the middle of a case; run it again to go on (3 left)" in capsys.readouterr().err
    assert run(minutes=0.5) == []
    assert run.ran == []
    assert "time is over; run it again to go on (3 left)" in capsys.readouterr().err
    assert [row["kind"] for row in run(minutes=10)] == ["error"] * 3, "slow on its own account"


def test_what_cannot_be_imported_here_is_left_out_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    some = {**MACHINE, "libraries": ("torch", "transformers", "accelerate")}
    monkeypatch.setattr(sweep, "ask", lambda *_: some)
    frameworks = ("trainer", "deepspeed", "llamafactory")
    assert list(sweep.machines(frameworks, everything_here=True)) == ["trainer"]
    assert "deepspeed: skipped, not importable here: deepspeed" in capsys.readouterr().err
    monkeypatch.setattr(sweep, "TO_COMPILE", ("no_such_module",))
    assert list(sweep.machines(frameworks, everything_here=True)) == ["trainer"]
    assert "llamafactory: skipped, mfc cannot compile in this interpreter without no_such_module" in (
        capsys.readouterr().err
    )


ANSWER = (
    "import json, os; open(os.environ['MFC_MEASURE'] + '/answer.json', 'w').write(json.dumps({'pid': os.getpid()}))"
)
RUNS = {
    "answers": (ANSWER, {"pid"}),
    "answers and fails later": (f"{ANSWER}; raise SystemExit(3)", {"pid"}),
    "runs out of memory": ("raise SystemExit('torch.OutOfMemoryError: CUDA out of memory')", {"oom"}),
    "fails": ("raise SystemExit('no such thing')", {"error"}),
    "hangs": ("import subprocess; subprocess.run(['sleep', '60'])", {"error"}),
}


@pytest.mark.parametrize("name", RUNS)
def test_one_process_group_per_run(name: str) -> None:
    program, keys = RUNS[name]
    place, began = process.here(), time.monotonic()
    found = process.ask(place, [sys.executable, "-c", program], {}, 3 if name == "hangs" else 60)
    assert set(found) == keys
    assert time.monotonic() - began < 50
    if name == "fails":
        assert "no such thing" in found["error"]
    if name == "hangs":
        assert found["error"] == "not done within 3 s"


def test_what_left_the_group_ends_with_the_run(tmp_path: Path) -> None:
    """As torchrun's workers do, which would keep the GPU's memory."""
    program = (
        "import subprocess, sys; left = subprocess.Popen(['sleep', '60'], start_new_session=True); "
        "open(sys.argv[1], 'w').write(str(left.pid)); left.wait()"
    )
    process.ask(process.here(), [sys.executable, "-c", program, str(tmp_path / "pid")], {}, 3)
    status = Path("/proc", (tmp_path / "pid").read_text(), "status")
    until = time.monotonic() + 10
    while status.exists() and "zombie" not in status.read_text():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("framework", "words"),
    [
        (
            "deepspeed",
            ("-m torch.distributed.run", "--nproc_per_node=1", "-m benchmarks.measure.run_deepspeed", "ds_config.json"),
        ),
        (
            "llamafactory",
            ("-m benchmarks.measure.run_llamafactory train train.yaml", "save_strategy='no'", "use_cpu=true"),
        ),
    ],
)
def test_the_compiled_launcher_itself_starts_the_metered_run(
    tmp_path: Path, framework: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter is a stand-in that answers with its arguments; all before it is real."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf \'{"words": "%s", "in": "%s"}\' "$*" "$PWD" > "$MFC_MEASURE/answer.json"\n')
    python.chmod(0o755)
    place = process.Place(python, dict(os.environ))
    monkeypatch.setattr(jobs, "_save", lambda *_: None)
    case = {**grid.BASE, "framework": framework, "model": "tiny", "family": "llama", "length": 32, "steps": 2}
    job = jobs.prepare(case, MACHINE, place, tmp_path / "scratch", 60)
    assert {"launch.sh"} < {path.name for path in job.folder.iterdir()}
    assert job.planned["allocated_gib"] > 0
    found = process.ask(place, job.command, {}, 60, job.variables, job.folder)
    assert found["in"] == str(job.folder)
    assert all(word in found["words"] for word in words), found


def test_what_mfc_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    case = {**grid.BASE, "framework": "llamafactory", "model": "Qwen2.5-32B", "family": "qwen2"}
    with pytest.raises(jobs.NotCompiled, match="nothing fits"):
        jobs.prepare(case, MACHINE, process.here(), tmp_path, 60)
