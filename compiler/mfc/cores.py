"""Many specs at once: a process for each core, and a progress bar where a person is watching."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MANY = 16  # specs from which on it pays to start processes
_SHARE = 16  # specs that a process takes at a time
_READ = 1024  # bytes by which specs are told apart


def each(
    work: Callable[[T], R], specs: Sequence[T], path: Callable[[T], str | os.PathLike[str]], label: str
) -> Iterator[R]:
    """What `work` makes of every spec, in order; `path` tells where one lies, `label` what the bar is of.

    Specs that read alike go to one process one after the other, which works out once what they share. With a bar on
    the terminal results come when all are there, so that nothing is printed into it.
    """
    count = _cores()
    if len(specs) < MANY or count < 2 or not hasattr(os, "fork"):  # other processes would import everything anew
        yield from map(work, specs)
        return
    import multiprocessing

    alike = sorted(range(len(specs)), key=lambda at: _text(path(specs[at])))
    share = min(_SHARE, -(-len(specs) // count))
    shares = [[(at, specs[at]) for at in alike[first : first + share]] for first in range(0, len(specs), share)]
    made: dict[int, R] = {}
    told = 0
    watched = sys.stderr.isatty()
    with multiprocessing.get_context("fork").Pool(count) as pool:
        done = pool.imap_unordered(partial(_share, work), shares)
        for results in _bar(done, len(specs), label) if watched else done:
            made.update(results)
            while not watched and told in made:
                yield made.pop(told)
                told += 1
    while told in made:
        yield made.pop(told)
        told += 1


def _share(work: Callable[[T], R], specs: Sequence[tuple[int, T]]) -> list[tuple[int, R]]:
    return [(at, work(spec)) for at, spec in specs]


def _bar(done: Iterator[list[R]], length: int, label: str) -> Iterator[list[R]]:
    """The shares as they come, counted in a progress bar."""
    import click

    with click.progressbar(length=length, label=label, show_pos=True, file=sys.stderr) as bar:
        for results in done:
            yield results
            bar.update(len(results))


def _text(path: str | os.PathLike[str]) -> bytes:
    from mfc.files import read

    try:
        return read(path, _READ)
    except (OSError, ValueError):
        return b""


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
