"""Many specs at once: a process for each core, which tell what they have to say in the order of the specs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

MANY = 16  # specs from which on it pays to start processes


def each(work: Callable[[Path], list[int]], paths: Sequence[Path]) -> list[int]:
    """The exit codes of `work` on every spec, in order. What it prints is printed in order too."""
    count = _cores()
    if len(paths) < MANY or count < 2 or not hasattr(os, "fork"):  # other processes would import everything anew
        return in_turn(work, paths)
    import multiprocessing

    codes = []
    with multiprocessing.get_context("fork").Pool(count) as pool:
        for ended, said, errors in pool.imap(partial(_told, work), paths, chunksize=4):
            codes += ended
            sys.stdout.write(said)
            sys.stdout.flush()
            sys.stderr.write(errors)
    return codes


def in_turn(work: Callable[[Path], list[int]], paths: Sequence[Path]) -> list[int]:
    """The same in this process."""
    return [code for path in paths for code in work(path)]


def _told(work: Callable[[Path], list[int]], path: Path) -> tuple[list[int], str, str]:
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as said, redirect_stderr(StringIO()) as errors:
        codes = work(path)
    return codes, said.getvalue(), errors.getvalue()


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
