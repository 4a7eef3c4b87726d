"""The speed model keeps its score against the published throughputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mfc.planner.search import OFFLOAD_DOUBT, SPEED_ERROR

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "benchmarks.score.throughput", "--json"]


def test_ranks_and_times_published_runs() -> None:
    done = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, check=True)
    scores = json.loads(done.stdout)
    for name, each in scores["sources"].items():
        assert each["kendall_tau"] >= 0.84, name
        assert (each["median_abs_error_pct"] or 0) <= 20, name
        assert (each["estimated_length_error_pct"] or 0) <= 20, name
    assert scores["macro"]["kendall_tau"] >= 0.9
    assert scores["macro"]["median_abs_error_pct"] == pytest.approx(100 * SPEED_ERROR, abs=0.5), (
        "what the search goes by"
    )
    assert scores["offload_doubt"] == pytest.approx(OFFLOAD_DOUBT, abs=0.02)
    assert sum(each["rows"] for each in scores["sources"].values()) > 200
