"""A tiny model, and small data sets in every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conformance.environments import Environment

ROWS = 16
DRIVERS = Path(__file__).parent / "drivers"


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
