"""What the traces of one target share: a folder of tiny models and rows, and a server that has imported libraries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.starts.runs import Machine
from tests.oracle.frameworks import runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oracle")


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Machine]:
    """For the module's own TARGET."""
    with runs.ready(runs.target(request.module.TARGET), folder) as made:
        yield made
