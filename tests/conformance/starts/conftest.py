"""What the runs of one target share: a folder of tiny models and rows, and a server that has imported libraries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.starts.judge import ready
from tests.conformance.starts.runs import Machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("starts")


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Machine]:
    """For the module's own MATRIX."""
    with ready(request.module.MATRIX, folder) as made:
        yield made
