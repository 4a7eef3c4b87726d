"""Traces every run of a target and records it: `python -m tests.oracle.frameworks.record TARGET [WORD ...]`.

With words, only the runs whose names have one of them; the others' rows stay as they are. Rows go to
`benchmarks/truth/traces/TARGET.jsonl`, one for each run. `--keep FOLDER` leaves models, compiled files, logs and traces
with what was alive at each moment near the peak; `--missing` traces only runs that have no row yet.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from mfc.emit.compiled import Compiled

from tests.oracle.frameworks import law, runs

TRACES = Path(__file__).parents[3] / "benchmarks" / "truth" / "traces"


def rows_of(name: str) -> dict[str, dict[str, Any]]:
    """A target's recorded rows, by run."""
    path = TRACES / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {row["run"]: row for row in map(json.loads, lines)}


def row_of(name: str, found: dict[str, Any], of: runs.Target) -> dict[str, Any]:
    """What is recorded of a trace: bytes in tensors of the first process, at the peak and by kind of moment.

    And of a run that offloads, at most in host memory.
    """
    kinds, host = law.by_kind(found["moments"]), {"host": found["host"]} if "host" in found else {}
    return {"run": name, "peak": found["peak"], "kinds": kinds, **host, "versions": of.versions()}


def judged(made: Compiled, of: runs.Target, row: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """How far mfc is off a row in percent, and what of it the law forbids."""
    predicted = law.by_kind(runs.predicted(made, of))
    errors, faults = law.errors(predicted, row["kinds"]), law.faults(predicted, row["kinds"])
    host = law.on_host(runs.on_host(made), row["host"]) if "host" in row else {}
    return errors | host, faults | {name: off for name, off in host.items() if abs(off) > 100 * law.MOMENT}


def record(name: str, words: list[str], folder: Path, missing: bool = False) -> int:
    """Trace and write, run by run; gives the number of those that did not train."""
    of, failed = runs.target(name), 0
    every = of.names()
    made = {run: row for run, row in rows_of(name).items() if run in every}
    shutil.rmtree(folder / "programs", ignore_errors=True)
    with runs.ready(of, folder) as machine:
        for run in every:
            if (missing and run in made) or (words and not {*words} & {run, *run.split("-")}):
                continue
            begun = time.monotonic()
            try:
                found = runs.traced(run, of, machine, folder)
            except AssertionError as error:
                print(f"{run}: {str(error)[-4000:]}", flush=True)
                failed += 1
                continue
            made[run] = row_of(run, found, of)
            TRACES.mkdir(exist_ok=True)
            lines = (f"{json.dumps(made[one])}\n" for one in every if one in made)
            (TRACES / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
            with runs.inside(folder):
                errors, faults = judged(runs.compiled(run, of, folder / "out" / run), of, made[run])
            print(f"{run} {time.monotonic() - begun:.0f} s {errors} faults {faults}", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description="Trace a target's runs and record them.")
    parser.add_argument("target", choices=runs.targets())
    parser.add_argument("word", nargs="*")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--missing", action="store_true")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        return record(options.target, options.word, options.keep.resolve(), options.missing)
    with tempfile.TemporaryDirectory() as folder:
        return record(options.target, options.word, Path(folder), options.missing)


if __name__ == "__main__":
    raise SystemExit(main())
