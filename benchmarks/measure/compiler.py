"""Compile one spec with mfc for one framework and write the files; jobs.prepare starts this.

Reads {"spec", "framework", "out"} and answers with what mfc promises of the run, or with why it refuses. In a process
of its own, a failure of the compiler is one case's failure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mfc
from mfc.errors import MfcError

from benchmarks.measure.meter import answer, asked
from benchmarks.truth import GIB


def compiled(spec: Path, framework: str, out: Path) -> dict[str, Any]:
    """Write the compiled files; what was promised. Raises MfcError."""
    [made] = mfc.compile(spec, [framework], out=out)
    for path, text in made.files.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text, encoding="utf-8")
    plan, memory = made.plan, made.plan.memory
    return {
        "target": f"{made.target} {plan.profile.version}",
        "allocated_gib": memory.allocated_bytes / GIB,
        "process_gib": memory.process_bytes / GIB,
        "upper_gib": memory.upper_bytes / GIB,
        "tokens_per_s": plan.speed.tokens_per_second,
        "packing": plan.strategy.packing,
    }


if __name__ == "__main__":
    given = asked()
    try:
        answer({"planned": compiled(Path(given["spec"]), given["framework"], Path(given["out"]))})
    except MfcError as error:
        answer({"refused": str(error)})
