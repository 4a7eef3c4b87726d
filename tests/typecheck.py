"""Runs mypy over everything, tests included: `python tests/typecheck.py`.

`targets/` and `schemas/` are imported as `mfc.targets` and `mfc.schemas`, which their place in the tree does not say.
mypy sees the package as it is installed through a folder of symbolic links, `.types/mfc`, made anew each time.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / ".types" / "mfc"


def link(package: Path) -> None:
    """Lay out the package as an installation has it."""
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    entries = [*(REPOSITORY / "compiler" / "mfc").iterdir(), REPOSITORY / "targets", REPOSITORY / "schemas"]
    for entry in entries:
        if entry.name != "__pycache__":
            (package / entry.name).symlink_to(entry)


def main() -> int:
    """The exit code of mypy."""
    link(PACKAGE)
    return subprocess.call(
        [sys.executable, "-m", "mypy", str(PACKAGE), "tests", "benchmarks", "publish"], cwd=REPOSITORY
    )


if __name__ == "__main__":
    sys.exit(main())
