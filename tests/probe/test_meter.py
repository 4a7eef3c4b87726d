"""The meter in processes that train on a stand-in for a card: what each leaves, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mfc.probe.meter
import pytest

GIB = 2**30
STAND_IN = Path(__file__).parent / "stand_in"
WAIT = "import time; time.sleep(1.5)"  # several looks


@pytest.fixture
def left(tmp_path: Path) -> Any:
    """Start a process with the meter on its path; what its file says (None: there is none), and its exit code."""
    site, peaks = tmp_path / "meter", tmp_path / "peaks"
    site.mkdir()
    peaks.mkdir()
    source = Path(mfc.probe.meter.__file__).read_text(encoding="utf-8")
    (site / "sitecustomize.py").write_text(source, encoding="utf-8")

    def start(code: str, *more: Path, **variables: str) -> tuple[list[dict[str, Any]], int]:
        path = os.pathsep.join(map(str, (site, *more, STAND_IN)))
        environment = {**os.environ, "PYTHONPATH": path, mfc.probe.meter.VARIABLE: str(peaks), **variables}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, timeout=60, check=False
        )
        files = sorted(peaks.glob("*.json"))
        return [json.loads(file.read_text(encoding="utf-8")) for file in files], done.returncode

    return start


def took(one: dict[str, Any]) -> tuple[float, ...]:
    """(allocated, reserved, outside) of the only card, in GiB."""
    [card] = one["devices"].values()
    return tuple(round(card[name] / GIB, 2) for name in ("allocated", "reserved", "outside"))


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("1 / 0", 1),
        (f"{WAIT}; import os; os._exit(5)", 5),
        (f"{WAIT}; import os; os.kill(os.getpid(), 9)", -9),
    ],
)
def test_the_peak_is_left_however_it_ends(left: Any, ends: str, code: int) -> None:
    said, ended = left(f"import torch\ntorch.took(20, then=3)\n{ends}", RANK="1")
    assert ended == code
    [one] = said
    assert one["rank"] == "1"
    assert took(one) == (18.0, 20.0, 0.5)
    assert not one["out_of_memory"]


def test_memory_that_runs_out_is_told(left: Any) -> None:
    [one], ended = left("import torch\ntorch.took(20)\ntorch.took(25)")
    assert ended == 1
    assert took(one) == (18.0, 20.0, 0.5)
    assert one["out_of_memory"].startswith("CUDA out of memory. Tried to allocate 5.00 GiB")
    assert next(iter(one["devices"].values()))["ooms"] == 1


def test_the_card_of_a_rank_is_the_only_one_that_is_asked(left: Any) -> None:
    [one], _ = left("import torch\ntorch.took(7, device=2)")
    assert [card["uuid"] for card in one["devices"].values()] == ["GPU-2"]


def test_marks_that_a_trainer_sets_back_are_kept(left: Any) -> None:
    code = f"import torch\ntorch.took(2)\n{WAIT}\ntorch.took(20, then=2)\ntorch.cuda.reset_peak_memory_stats()"
    [one], _ = left(code)
    assert took(one)[1] == 20.0


def test_a_process_without_torch_leaves_nothing_and_imports_none(left: Any) -> None:
    said, ended = left(f"{WAIT}\nimport sys\nsys.exit('torch' in sys.modules)")
    assert (said, ended) == ([], 0)


def test_a_fork_is_measured_where_it_has_a_card(left: Any) -> None:
    code = f"import os, torch\nif os.fork(): os.wait()\nelse:\n    torch.took(9)\n    {WAIT}\n    os._exit(0)"
    said, _ = left(code)
    assert sorted(len(one["devices"]) for one in said) == [0, 1]


def test_one_that_has_no_card_is_not(left: Any) -> None:
    said, _ = left(f"import os, torch\nif os.fork(): os.wait()\nelse:\n    {WAIT}\n    os._exit(0)")
    assert len(said) == 1


def test_the_next_sitecustomize_is_not_lost(left: Any, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "sitecustomize.py").write_text("import sys; sys.theirs = 4\n", encoding="utf-8")
    said, ended = left("import sys, torch; torch.took(1); sys.exit(sys.theirs)", tmp_path / "theirs")
    assert ended == 4
    assert took(said[0])[1] == 1.0


def test_a_meter_that_fails_disturbs_nothing(left: Any) -> None:
    code = "import torch\ntorch.cuda.memory_stats = None\ntorch.cuda.peak = 1\nprint('trained')"
    _, ended = left(code)
    assert ended == 0
