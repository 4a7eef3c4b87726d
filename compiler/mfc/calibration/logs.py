"""Peaks in the logs that trainers write, recognised by their keys.

All are of one process. Values of several records and files are joined by their maximum.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from mfc.errors import SpecError
from mfc.files import read as read_file

Metric = Literal["nvidia-smi", "reserved", "allocated"]
Peaks = Mapping[Metric, int]

GIB = 2**30
SUFFIXES = (".json", ".jsonl")
LARGEST = 256 * 2**20  # bytes; a longer file is no training log

# Condition of a record -> what it measures, and bytes of its unit.
KEYS: Mapping[str, tuple[Metric, int]] = {
    "memory(GiB)": ("reserved", GIB),
    "vram_reserved": ("reserved", GIB),
    "vram_allocated": ("allocated", GIB),
    "probe_reserved_bytes": ("reserved", 1),  # the record of a probe that ended well
    "probe_allocated_bytes": ("allocated", 1),
    "probe_process_bytes": ("nvidia-smi", 1),
}
# Deltas of one trainer, in bytes: together the most that was allocated while it trained.
DELTAS = ("before_init_mem_gpu", "init_mem_gpu_alloc_delta", "train_mem_gpu_alloc_delta", "train_mem_gpu_peaked_delta")
# Records with all of these tell MiB of tensors under `memory`, reset at each record.
ITERATIONS = {"iter", "memory", "time"}
SIGNS = (*KEYS, DELTAS[-1], '"iter"')  # a text without any of these tells nothing


def peaks(path: Path) -> dict[Metric, int]:
    """Bytes by metric, from a log file or from all logs in a folder; empty when nothing there tells of memory.

    Raises SpecError when the path does not exist or cannot be read.
    """
    if not os.path.exists(path):
        raise SpecError(f"{path}: no such log")
    found: dict[Metric, int] = {}
    for file in _logs(path) if os.path.isdir(path) else [path]:
        for record in _records(file):
            for metric, size in _of(record):
                found[metric] = max(found.get(metric, 0), size)
    return found


def _logs(folder: Path) -> list[Path]:
    """The logs in a folder and below, links to other folders not followed."""
    below = (Path(where, name) for where, _, names in os.walk(folder) for name in names)
    return sorted(file for file in below if file.suffix in SUFFIXES and not file.name.startswith("."))


def _of(record: Mapping[str, Any]) -> Iterator[tuple[Metric, int]]:
    for key, (metric, unit) in KEYS.items():
        if _positive(record.get(key)):
            yield metric, int(record[key] * unit)
    if _positive(record.get("train_mem_gpu_peaked_delta")):
        yield "allocated", int(sum(record[key] for key in DELTAS if _positive(record.get(key))))
    if record.keys() >= ITERATIONS and _positive(record["memory"]):
        yield "allocated", int(record["memory"] * 2**20)


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 2**50


def _records(file: Path) -> Iterator[Mapping[str, Any]]:
    """The object in a JSON file and those of its `log_history`, or those in the lines of a JSONL file."""
    try:
        data = read_file(file, LARGEST)
    except OSError as error:
        raise SpecError(f"{file}: cannot read the log: {error.strerror}") from None
    text = data.decode("utf-8", "replace") if len(data) <= LARGEST else ""
    if not any(sign in text for sign in SIGNS):
        return
    whole = _object(text)
    if whole is not None:
        yield whole
        history = whole.get("log_history")
        yield from (entry for entry in history if isinstance(entry, dict)) if isinstance(history, list) else ()
        return
    for line in text.splitlines():
        if (entry := _object(line)) is not None:
            yield entry


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
