from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def optional(module: str) -> Any:
    """A module of the extra `data`: CI has it, and fails without; elsewhere a test is left out without it."""
    return importlib.import_module(module) if os.environ.get("CI") else pytest.importorskip(module)
