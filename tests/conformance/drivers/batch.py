"""Judge many generated configs in one process of a framework's environment.

    python -m tests.conformance.drivers.batch DRIVER < cases.json > verdicts.json

from the repository's root. DRIVER names a module beside this file. It imports its framework and does `prepare()` once;
each case is then judged by its `check(case)` in a forked child, since frameworks keep global state. Cases are a JSON
list of objects; the verdicts come in the same order: `{"accepted": true, "facts": {...}}` with the values that the
framework read back, or `{"accepted": false, "reason": "..."}`.
"""

from __future__ import annotations

import gc
import importlib
import json
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

PACKAGE = "tests.conformance.drivers"
SECONDS_PER_CASE = 180
Check = Callable[[dict[str, Any]], dict[str, Any]]


class Rejected(Exception):
    """The framework, or what it does later with these values, refuses the config."""


def one_line(error: BaseException, limit: int = 800) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:limit]


def _judge(check: Check, case: dict[str, Any], answer: Connection) -> None:
    try:
        verdict: dict[str, Any] = {"accepted": True, "facts": check(case)}
    except BaseException as error:  # whatever a framework raises, SystemExit included, is its way of saying no
        verdict = {"accepted": False, "reason": str(error) if isinstance(error, Rejected) else one_line(error)}
    answer.send_bytes(json.dumps(verdict, default=str).encode())


def _collect(process: multiprocessing.process.BaseProcess, answer: Connection) -> dict[str, Any]:
    try:
        if not answer.poll(SECONDS_PER_CASE):
            return {"accepted": False, "reason": f"no verdict within {SECONDS_PER_CASE} s"}
        verdict: dict[str, Any] = json.loads(answer.recv_bytes())
        return verdict
    except EOFError:
        process.join()
        return {"accepted": False, "reason": f"the checking process died with code {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def run(check: Check, cases: list[dict[str, Any]], jobs: int) -> list[dict[str, Any]]:
    """Verdicts in the order of the cases; at most `jobs` children at a time."""
    fork = multiprocessing.get_context("fork")
    verdicts, running = [], deque[tuple[multiprocessing.process.BaseProcess, Connection]]()
    for case in cases:
        if len(running) == jobs:
            verdicts.append(_collect(*running.popleft()))
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=_judge, args=(check, case, theirs))
        process.start()
        theirs.close()
        running.append((process, ours))
    return verdicts + [_collect(*r) for r in running]


def main() -> None:
    stdout = os.dup(1)  # libraries chat on standard output; it is kept for the verdicts
    os.dup2(2, 1)
    cases = json.load(sys.stdin)
    driver = importlib.import_module(f"{PACKAGE}.{sys.argv[1]}")
    driver.prepare()
    gc.freeze()  # or each child's first collection walks, and so copies, all that the parent imported
    verdicts = run(driver.check, cases, jobs=os.cpu_count() or 1)
    with os.fdopen(stdout, "w", encoding="utf-8") as out:
        json.dump(verdicts, out, indent=1)


if __name__ == "__main__":
    sys.modules[f"{PACKAGE}.batch"] = sys.modules["__main__"]  # so that a driver's Rejected is the one caught here
    main()
