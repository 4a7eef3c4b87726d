"""Starting one drawn run and looking at what it left: what all targets' tests share."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.starts import rows
from tests.conformance.starts.runs import (
    CASES,
    DRIVERS,
    STEPS,
    Machine,
    Matrix,
    Run,
    compiled,
    losses,
    samples_a_step,
    warmed,
)


def name_of(run: Run) -> str:
    """A name for a run: its values."""
    return "-".join(run.values())


@contextlib.contextmanager
def ready(of: Matrix, folder: Path) -> Iterator[Machine]:
    """A target's machine, with its tiny models and rows of data in a folder."""
    rows.make(folder / "rows")
    with warmed(of, folder / "programs") as machine:
        make = ["python", str(DRIVERS / "make_models.py"), ".", str(CASES / "models.json")]
        made = machine.start([*make, *of.models()], folder)
        assert made.code == 0, made.said[-4000:]
        yield machine


def trains(run: Run, of: Matrix, machine: Machine) -> None:
    """Compile a run beside the current folder's models, start it as it is, and look for two optimizer steps in it."""
    folder = Path.cwd() / "out" / name_of(run)
    strategy = (made := compiled(run, of, folder)).plan.strategy
    left = machine.start(of.command(run), folder)
    end = left.said[-30000:]
    assert left.code is not None, f"it hangs\n{end}"
    assert left.code == 0, end
    found = losses(left.said)
    assert len(found) >= STEPS, end
    assert all(math.isfinite(loss) for loss in found), found
    assert not re.search(r"([{,] ?'[^']+'|\bgrad_norm): '?(nan|inf)\b", left.said), (
        end
    )  # nor any other number of a step
    seen = samples_a_step(folder, rows.ROWS)
    if seen is not None and not strategy.packing:  # packed rows hold several samples
        answers = made.plan.values.get("num_generations") or 1  # that the batch counts, to each row
        assert round(seen * answers, 3) == made.plan.values["batch_size"]
    if "ds_config.json" in made.files:
        said = json.loads(made.files["ds_config.json"])
        ranks = strategy.world_size // strategy.sequence_parallel
        assert said.get("train_micro_batch_size_per_gpu") == strategy.micro_batch
        assert said["gradient_accumulation_steps"] == strategy.gradient_accumulation
        assert ranks * strategy.micro_batch * strategy.gradient_accumulation == made.plan.values["batch_size"]


# nvidia-smi as a machine with one card has it: 500 MiB in use when it is asked first, as much as is said afterwards.
SMI = """#!/usr/bin/env bash
[ -e "$0.asked" ] && echo "GPU-0, {used}" || echo "GPU-0, 500"
touch "$0.asked"
"""
TOOK = 12_000  # MiB


def proves(run: Run, sets: list[str], of: Matrix, machine: Machine) -> None:
    """Start a run's probe with nvidia-smi's stand-in: every process is seen, and rows are as long as they may be."""
    folder = Path.cwd() / "probes" / name_of(run)
    made = compiled(run, of, folder, ["run.probe=true", *sets])
    cards = folder / "cards"
    cards.mkdir()
    (cards / "nvidia-smi").write_text(SMI.format(used=TOOK), encoding="utf-8")
    (cards / "nvidia-smi").chmod(0o755)
    asked = machine.told(PATH=str(cards), MFC_LONGEST=str(folder / "longest"))
    left = asked.start(["bash", "probe/probe.sh", *of.command(run)[2:]], folder)
    end = left.said[-30000:]
    assert left.code == 0, end
    assert f"peak {TOOK / 1024:.1f} of 79.2 GiB, predicted " in left.said.splitlines()[-1], end
    assert left.said.splitlines()[-1].endswith(": fits"), end
    assert len(losses(left.said)) >= STEPS, end
    record = json.loads((folder / "probe" / "record.json").read_text(encoding="utf-8"))
    assert record["ranks"] == [str(rank) for rank in range(made.plan.strategy.world_size)]
    lengths = [int(line) for line in (folder / "longest").read_text(encoding="utf-8").split()]
    if made.plan.strategy.rollout is None:  # else the model's answers decide
        assert max(lengths) == made.plan.strategy.max_length // made.plan.strategy.sequence_parallel
    assert not (folder / "probe" / str(made.plan.values["output_dir"])).exists()
