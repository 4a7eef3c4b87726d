"""Packages of the environment that trains: read from its metadata, nothing imported and nothing run."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import distributions
from pathlib import Path


def packages() -> tuple[Path, dict[str, str]]:
    """The active environment's folder (VIRTUAL_ENV, CONDA_PREFIX, else mfc's own), and its packages with versions."""
    folder = Path(os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX") or sys.prefix)
    paths = [str(path) for path in sorted(folder.glob("lib/python*/site-packages"))] or sys.path
    return folder, listed(paths)


def listed(paths: list[str]) -> dict[str, str]:
    """Names as the index spells them (PEP 503) with versions; of two of a name the first on the path."""
    found: dict[str, str] = {}
    for one in distributions(path=paths):
        if name := one.metadata["Name"]:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), one.version)
    return found
