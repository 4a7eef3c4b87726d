"""Measure real training steps on this machine's GPU.

    python -m benchmarks.measure.sweep ROWS.jsonl [--budget 25] [--here]

Builds models from the dimensions in truth/model-dims.json with random weights and trains a few steps of each case, in
the Hugging Face Trainer as it is, and in DeepSpeed and LLaMA-Factory from the files that mfc compiles. Each case has a
process of its own; one that runs out of memory leaves a row that says so. Appends rows of the form of
truth/memory-truth.jsonl: peaks as torch and nvidia-smi see them, tokens per second, library versions. What tells most
per second comes first; the sweep stops itself within its budget and goes on where it stopped. Score the rows with
`python -m benchmarks.score.accuracy ROWS.jsonl`. docs/measuring.md says how to use it on a machine without a network.

Without a GPU a few tiny models train on the CPU, to try the machinery: their rows have no memory in them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import jobs
from benchmarks.measure.grid import FRAMEWORKS, Case, config, grid, identity, tiny_grid
from benchmarks.measure.order import ordered
from benchmarks.measure.process import Place, ask, here, pinned
from benchmarks.measure.rows import predicted_bytes, row, rows, said

SLACK = 1.25  # a case predicted to need more than this share of the card is not worth its time
SHORTEST = 60.0  # seconds; with less left no case is begun
FAILED = ("error", "refused")  # kinds of rows that tell of no training
GIVE_UP = 3  # failures of a framework, before its first success
NEEDED = {
    "trainer": ("torch", "transformers", "accelerate"),
    "deepspeed": ("torch", "transformers", "accelerate", "deepspeed"),
    "llamafactory": ("torch", "transformers", "accelerate", "llamafactory"),
}
TO_COMPILE = ("click", "jinja2", "jsonschema", "pydantic", "yaml")  # what mfc itself needs, in this interpreter


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def machines(frameworks: Sequence[str], *, everything_here: bool) -> dict[str, tuple[Place, dict[str, Any]]]:
    """Each framework's interpreter and what it says of itself; those that cannot run are left out, and it is said why.

    Raises SystemExit for a framework that should run in its pinned environment and does not.
    """
    found = {}
    lacking = [name for name in TO_COMPILE if importlib.util.find_spec(name) is None]
    for framework in frameworks:
        if framework != "trainer" and lacking:
            tell(f"{framework}: skipped, mfc cannot compile in this interpreter without {', '.join(lacking)}")
            continue
        place = here() if everything_here else pinned(framework)
        machine = ask(place, place.command("meter"), {}, 300)
        if "error" in machine:
            raise SystemExit(f"error: {framework}: {machine['error']}")
        if missing := [name for name in NEEDED[framework] if name not in machine["libraries"]]:
            if not everything_here:
                raise SystemExit(f"error: {framework}: {place.python} has no {', '.join(missing)}")
            tell(f"{framework}: skipped, not importable here: {', '.join(missing)}")
            continue
        found[framework] = place, machine
        tell(f"{framework}: " + ", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    return found


def cases(found: Mapping[str, tuple[Place, Mapping[str, Any]]], known: Collection[str]) -> tuple[list[Case], int]:
    """What is left to measure, best first, and how many cases there are."""
    libraries = {framework: machine["libraries"] for framework, (_, machine) in found.items()}
    gpu = next(machine["gpu"] for _, machine in found.values())
    everything = list(tiny_grid(libraries) if gpu is None else grid(libraries))
    todo: list[Case] = []
    shares: dict[int, float] = {}
    for made in everything if gpu else ():
        machine = found[made["framework"]][1]
        share = predicted_bytes(row(made, {**machine, "peaks": None})) / machine["gpu_memory"]
        if share <= SLACK:
            shares[len(todo)] = share
            todo.append(made)
    best = ordered(todo or everything, shares)
    return [made for made in best if identity(made, gpu or "cpu") not in known], len(best)


def run(made: Case, place: Place, machine: Mapping[str, Any], scratch: Path, seconds: float) -> dict[str, Any]:
    """Train one case; what its process answered, with the machine's facts."""
    payload = {"case": dict(made), "config": config(made)}
    if made["framework"] == "trainer":
        return {**machine, **ask(place, place.command("run_trainer"), payload, seconds)}
    until = time.monotonic() + seconds
    try:
        job = jobs.prepare(made, machine, place, scratch, seconds)
    except jobs.NotCompiled as error:
        return {**machine, "error": str(error), "kind": "refused"}
    left = max(1.0, until - time.monotonic())
    answer = ask(place, job.command, payload, left, job.variables, job.folder)
    return {**machine, **answer, "planned": job.planned}


def done(file: Path, *, retry: bool) -> set[str]:
    """Ids of the cases that a file of rows holds; with `retry`, of those that did not fail."""
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines if line.strip()]
    return {each["id"] for each in found if not (retry and each["kind"] in FAILED)}


def measure(
    file: Path, minutes: float, case_seconds: float, frameworks: Sequence[str], *, everything_here: bool, retry: bool
) -> int:
    """Measure until the time is over or the grid is done; how many cases were added."""
    deadline = time.monotonic() + 60 * minutes
    found = machines(frameworks, everything_here=everything_here)
    if not found:
        raise SystemExit("error: nothing can be measured here: torch, transformers and accelerate are needed")
    todo, count = cases(found, done(file, retry=retry))
    gpu = next(machine["gpu"] for _, machine in found.values())
    tell(f"{gpu or 'no GPU: memory is not measured'}; {count} cases, {len(todo)} to do")
    added, failures, succeeded = 0, Counter[str](), set[str]()
    with tempfile.TemporaryDirectory(prefix="mfc-sweep-") as scratch:
        for number, made in enumerate(todo):
            framework = made["framework"]
            if failures[framework] >= GIVE_UP and framework not in succeeded:
                continue
            left = deadline - time.monotonic()
            if left < min(SHORTEST, case_seconds):
                tell(f"time is over; run it again to go on ({len(todo) - number} left)")
                break
            place, machine = found[framework]
            seconds = min(case_seconds, left)
            answer = run(made, place, machine, Path(scratch), seconds)
            if "error" in answer and seconds < case_seconds and "not done within" in answer["error"]:
                tell(f"time is over in the middle of a case; run it again to go on ({len(todo) - number} left)")
                break
            fresh = rows(made, answer)
            tell(f"{fresh[0]['id']}: {said(fresh[0])}")
            with file.open("a", encoding="utf-8") as out:
                out.writelines(json.dumps(each) + "\n" for each in fresh)
            if fresh[0]["kind"] == "error":
                failures[framework] += 1
                if failures[framework] == GIVE_UP and framework not in succeeded:
                    tell(f"{framework}: given up after {GIVE_UP} failures and no success")
            elif fresh[0]["kind"] != "refused":
                succeeded.add(framework)
                added += 1
    return added


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure memory and speed of real training steps on this GPU.")
    parser.add_argument("rows", type=Path, help="file that rows are appended to")
    parser.add_argument("--budget", type=float, default=25, help="minutes; it stops itself within them (25)")
    parser.add_argument("--case-seconds", type=float, default=240, help="give a case up after this time (240)")
    parser.add_argument("--frameworks", default=",".join(FRAMEWORKS), help="what to measure (all: %(default)s)")
    parser.add_argument(
        "--here",
        action="store_true",
        help="use what this interpreter can import, and leave out the rest, instead of the pinned environments",
    )
    parser.add_argument("--retry", action="store_true", help="also what failed or was refused before")
    options = parser.parse_args()
    wanted = options.frameworks.split(",")
    if unknown := [name for name in wanted if name not in FRAMEWORKS]:
        parser.error(f"unknown framework {unknown[0]}: there are {', '.join(FRAMEWORKS)}")
    added = measure(
        options.rows,
        options.budget,
        options.case_seconds,
        wanted,
        everything_here=options.here,
        retry=options.retry,
    )
    tell(f"{added} cases added to {options.rows}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
