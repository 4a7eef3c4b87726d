"""What runs in a framework's environment is imported from the repository's root, and imports nothing of mfc."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "module",
    [
        "benchmarks.measure.meter",
        "benchmarks.measure.run_llamafactory",
        "targets.contract.json_types",
        "targets.contract.recorder",
        "tests.conformance.drivers.batch",
    ],
)
def test_mfc_is_not_imported(module: str) -> None:
    code = f"import sys, {module}; print([name for name in sys.modules if name.split('.')[0] == 'mfc'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
