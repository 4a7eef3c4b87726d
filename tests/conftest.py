"""For all tests: folders and settings that they share."""

import gc
from pathlib import Path

import pytest

gc.set_threshold(100_000)  # as mfc's own commands have it: plans make many records and next to no garbage


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where cases of targets are written, each once: what one module compiled serves the others of its worker."""
    return tmp_path_factory.mktemp("specs")
