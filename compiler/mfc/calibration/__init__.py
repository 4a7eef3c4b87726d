"""What runs on this machine really took, and what that says about the next plan.

`mfc calibrate` keeps measured peaks in a small local file, `mfc plan` shows what they say. Compiling never reads them:
the same spec gives the same files on any machine. docs/calibration.md has the statistics.
"""

from __future__ import annotations

from mfc.calibration.correction import Calibrated, calibrated
from mfc.calibration.store import Key, Run, load, path, save

__all__ = ["Calibrated", "Key", "Run", "calibrated", "load", "path", "save"]
