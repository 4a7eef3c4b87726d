"""For all tests: folders and settings that they share."""

import gc
from pathlib import Path

import pytest

gc.set_threshold(100_000)  # as mfc's own commands have it: plans make many records and next to no garbage

# Modules of few tests that take long. They come first, after those that drive frameworks, so that no worker is left
# alone with one at the end: a module is one worker's.
LONG = (
    *("targets/test_outline.py", "planner/test_relax.py", "planner/test_search.py", "speed/test_throughput.py"),
    *("imports/test_law.py", "targets/test_law.py", "planner/test_warnings.py", "imports/test_any_file.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order modules by how long they may take."""
    frameworks = {item.path for item in items if item.get_closest_marker("framework")}

    def turn(item: pytest.Item) -> int:
        if item.path in frameworks:
            return 0
        return 1 if item.path.as_posix().endswith(LONG) else 2

    items.sort(key=turn)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where cases of targets are written, each once: what one module compiled serves the others of its worker."""
    return tmp_path_factory.mktemp("specs")
