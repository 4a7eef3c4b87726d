"""What runs on this machine really took, and what that says about the next plan.

`mfc calibrate` keeps measured peaks in a small local file, `mfc plan` shows what they say. Compiling never reads them:
the same spec gives the same files on any machine. docs/calibration.md has the statistics.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mfc.calibration.correction import Calibrated
    from mfc.planner.plan import Plan

VARIABLE = "MFC_CALIBRATION"  # where the file lies; empty = no calibration


def about(plan: Plan) -> Calibrated | None:
    """What runs on this machine say about a plan; None when none of its kind was measured. Raises SpecError."""
    file = path()
    if file is None or not os.path.exists(file):
        return None
    from mfc.calibration.correction import calibrated
    from mfc.calibration.store import load

    return calibrated(plan, load(file))


def path(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where the file lies; None when calibration is switched off."""
    if (chosen := environ.get(VARIABLE)) is not None:
        return Path(chosen).expanduser() if chosen else None
    home = environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(home):
        home = {"win32": environ.get("LOCALAPPDATA") or "~", "darwin": "~/Library/Application Support"}.get(
            sys.platform, "~/.local/share"
        )
    return Path(home).expanduser() / "mfc" / "calibration.json"
