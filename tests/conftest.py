"""For all tests: folders and settings that they share."""

import gc
from pathlib import Path

import pytest

gc.set_threshold(100_000)  # as mfc's own commands have it: plans make many records and next to no garbage

# Laws over many drawn inputs, and processes started anew: marked `slow`. They come first, after those that drive
# frameworks, so that no worker is left alone with one at the end: a module is one worker's. Longest first.
SLOW = (
    *("targets/test_outline.py", "imports/test_any_file.py", "imports/test_law.py", "planner/test_search.py"),
    *("tests/test_security.py", "emit/test_hostile.py", "tests/test_field.py", "targets/test_outputs.py"),
    *("planner/test_relax.py", "lint/test_lint.py", "lint/test_any_file.py", "cli/test_agreement.py"),
    *("tests/test_packaging.py", "targets/test_clashes.py", "targets/test_reasons.py", "cli/test_light.py"),
    *("cli/test_streams.py", "planner/test_warnings.py", "report/test_plans.py", "benchmarks/test_measure_sweep.py"),
    *("targets/test_law.py", "probe/test_meter.py", "imports/test_convert.py", "probe/test_probe.py"),
    *("targets/test_deepspeed.py", "tests/test_examples.py", "publish/test_documents.py", "ui/test_server.py"),
    *("conformance/starts/test_matrices.py", "cli/test_machine.py", "cli/test_many.py", "speed/test_throughput.py"),
    *("launchers/test_documents.py", "size/test_size.py", "probe/test_targets.py", "benchmarks/test_measure.py"),
)


@pytest.hookimpl(tryfirst=True)  # before -m is asked
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow modules, and order all by how long they may take."""
    frameworks = {item.path for item in items if item.get_closest_marker("framework")}

    def turn(item: pytest.Item) -> int:
        if item.path in frameworks:
            return 0
        return 1 if item.get_closest_marker("slow") else 2

    for item in items:
        if item.path.as_posix().endswith(SLOW):
            item.add_marker("slow")
    items.sort(key=turn)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where cases of targets are written, each once: what one module compiled serves the others of its worker."""
    return tmp_path_factory.mktemp("specs")
