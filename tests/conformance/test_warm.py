"""Processes of a warm server are what `python` would have started: arguments, variables, folder, streams, exit code."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.environments import environment
from tests.conformance.warm import Warm, warm

Start = Callable[..., "subprocess.Popen[str]"]
READS = 'import os\nwas, path = os.environ.get("READ_ON_IMPORT"), os.environ.get("PYTHONPATH")\n'
SLEEPS = "import time; print(1, flush=True); time.sleep(600)"
SPAWNS = """import multiprocessing, sys

def square(number):
    return number * number, "reads" in sys.modules

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        numbers, warm = zip(*pool.map(square, [1, 2, 3]))
        pool.close()
        pool.join()
    print(list(numbers), all(warm))
"""
HANGS = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPS!r}])"

pytestmark = pytest.mark.framework


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Warm, Start]]:
    """One that has imported a module which reads a variable, and what starts a process by it."""
    where, folder = environment("oracle"), tmp_path_factory.mktemp("warm")
    (folder / "reads.py").write_text(READS, encoding="utf-8")
    shared = {"PYTHONPATH": str(folder)}
    with warm(where, folder / "programs", [], ["reads"], shared) as made:

        def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
            given = where.variables({**shared, **made.mark, **variables})
            return subprocess.Popen(
                ["python", *arguments],
                executable=made.programs / "python",
                cwd=folder,
                env={**given, "PATH": f"{made.programs}{os.pathsep}{given['PATH']}"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

        yield made, start


def test_a_script_has_its_arguments_streams_and_exit_code(server: tuple[Warm, Start], tmp_path: Path) -> None:
    made, start = server
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nprint(sys.argv, input(), os.environ['OWN'], os.getcwd())\nsys.exit(7)\n")
    process = start("-u", str(script), "a b", OWN="mine")
    said, _ = process.communicate("asked\n", timeout=60)
    assert said == f"{[str(script), 'a b']} asked mine {made.programs.parent}\n"
    assert process.returncode == 7


def test_what_it_spawns_has_its_pipes(server: tuple[Warm, Start], tmp_path: Path) -> None:
    _, start = server
    script = tmp_path / "spawns.py"
    script.write_text(SPAWNS, encoding="utf-8")
    assert start(str(script)).communicate(timeout=60)[0] == "[1, 4, 9] True\n"


def test_an_error_is_seen(server: tuple[Warm, Start]) -> None:
    _, start = server
    process = start("-c", "1 / 0")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ZeroDivisionError" in said


def test_what_is_imported_stays_unless_it_has_read_something_else(server: tuple[Warm, Start]) -> None:
    _, start = server
    ask = "import sys; here = 'reads' in sys.modules; import reads; print(here, reads.was)"
    assert start("-c", ask).communicate(timeout=60)[0] == "True None\n"
    anew = start("-c", ask, READ_ON_IMPORT="1").communicate(timeout=60)[0]
    assert anew.endswith("False 1\n")


def test_folders_that_are_added_are_looked_into(server: tuple[Warm, Start], tmp_path: Path) -> None:
    made, start = server
    (tmp_path / "added.py").write_text("is_there = 1\n", encoding="utf-8")
    more = {"PYTHONPATH": f"{made.programs.parent}{os.pathsep}{tmp_path}"}
    ask = "import sys; here = 'reads' in sys.modules; import added; print(here, added.is_there)"
    assert start("-c", ask, **more).communicate(timeout=60)[0] == "True 1\n"


def test_what_hangs_is_ended_with_what_it_has_started(server: tuple[Warm, Start]) -> None:
    made, start = server
    process = start("-c", HANGS)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    made.abort()
    said = process.stdout.read()  # ends when nobody holds the stream any more
    assert process.wait(60) != 0
    assert "Fatal Python error: Aborted" in said
    assert start("-c", "print(2)").communicate(timeout=60)[0] == "2\n"
