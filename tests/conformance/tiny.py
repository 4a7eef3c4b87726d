"""A tiny model, small data sets in every format, and two real steps of training with them on the CPU."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.conformance.environments import Environment

ROWS = 16
DRIVERS = Path(__file__).parent / "drivers"
# What a launch on GPUs needs to be told to run on this machine's CPU: each a key of the command line, not of the file.
ON_CPU = ("use_cpu=true", "max_steps=2", "logging_steps=1")


def make_model(folder: Path, where: Environment) -> Path:
    """A random two-layer Qwen2 with a tokenizer, loadable offline; gives the folder back."""
    where.run(["python", DRIVERS / "make_tiny.py", folder])
    return folder


def make_data(folder: Path) -> dict[str, Path]:
    """One small file per data format of the spec language, by the name of the format."""
    turns = [{"role": "user", "content": "one and one is"}, {"role": "assistant", "content": "two"}]
    talk = [{"from": "human", "value": "one and one is"}, {"from": "gpt", "value": "two"}]
    rows: dict[str, dict[str, Any]] = {
        "alpaca": {"instruction": "one and one is", "input": "", "output": "two"},
        "messages": {"messages": turns},
        "sharegpt": {"conversations": talk},
        "text": {"text": "the model learns to answer a short question " * 20},
        "preference": {"prompt": "one and one is", "chosen": "two", "rejected": "the model"},
        "prompt": {"prompt": "one and one is"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for name, row in rows.items():
        made[name] = folder / f"{name}.jsonl"
        made[name].write_text("".join(f"{json.dumps(row)}\n" for _ in range(ROWS)), encoding="utf-8")
    return made


def train(folder: Path, where: Environment, processes: int = 1, overrides: tuple[str, ...] = ()) -> list[float]:
    """Run a compiled folder's own `launch.sh` for two optimizer steps on the CPU; gives the losses.

    The command line only moves the run from GPUs to CPUs and stops it early; all else is as compiled. Raises
    EnvironmentFailed with the end of the log when training fails.
    """
    gloo = ("ddp_backend=gloo",) if processes > 1 else ()
    done = where.run(
        ["bash", "launch.sh", *ON_CPU, *gloo, *overrides],
        env={"NPROC_PER_NODE": str(processes)},
        cwd=folder,
        timeout=600,
    )
    return [float(loss) for loss in re.findall(r"'loss': '?([0-9.e+-]+|nan)", done.stdout + done.stderr)]
