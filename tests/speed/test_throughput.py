"""The speed model keeps its score against the published throughputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "throughput.py"


def test_ranks_and_times_published_runs() -> None:
    done = subprocess.run([sys.executable, str(BENCHMARK), "--json"], capture_output=True, text=True, check=True)
    scores = json.loads(done.stdout)
    assert scores["macro"]["kendall_tau"] >= 0.85
    assert scores["macro"]["median_abs_error_pct"] <= 25
    assert sum(each["rows"] for each in scores["sources"].values()) > 200
