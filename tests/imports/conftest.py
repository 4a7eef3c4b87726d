from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where specs are written, each once."""
    return tmp_path_factory.mktemp("specs")
