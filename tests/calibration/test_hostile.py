"""Logs and stores that somebody else laid there are read or refused, never waited for and never a fault."""

import json
import os
import random
from pathlib import Path

import pytest
from mfc.calibration import logs, store
from mfc.errors import SpecError

VALUES: list[object] = [1.5, 0, -1, True, None, "text", [], {}, 10**400, float("inf"), float("nan"), 1e300]


@pytest.mark.parametrize("seed", range(30))
def test_drawn_logs(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    keys = [*logs.KEYS, *logs.DELTAS, *logs.ITERATIONS, "log_history"]
    rows = [{key: draw.choice(VALUES) for key in draw.sample(keys, draw.randint(0, 6))} for _ in range(5)]
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "a.jsonl").write_text(draw.choice([text, text[:-9], f"[{text}]", '"iter"' + "[" * 100_000]))
    assert all(size > 0 for size in logs.peaks(tmp_path).values())


def test_pipes_and_circles(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(SpecError, match="a pipe or a device"):
        logs.peaks(tmp_path)
    (tmp_path / "a.json").unlink()
    (tmp_path / "again").symlink_to(tmp_path)
    assert logs.peaks(tmp_path) == {}
    with pytest.raises(SpecError, match="no such log"):
        logs.peaks(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "[]", "{}", '{"schema": 1, "runs": [3]}', '{"schema": 1, "runs": 3}']
)
def test_odd_stores(content: str, tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(SpecError):
        store.load(tmp_path / "calibration.json")
