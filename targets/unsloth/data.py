"""Data sets: one of the hub, or files of one kind, whose rows Unsloth takes as one of its layouts.

Source: unsloth_cli/config.py and the trainer behind `unsloth train` of Unsloth 2026.10.9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc import rows
from mfc.target.paths import located

if TYPE_CHECKING:
    from mfc.target.codecs import Writing

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
# What Unsloth calls each layout.
FORMATS = {
    "sft": {"messages": "chatml", "sharegpt": "sharegpt", "alpaca": "alpaca"},
    "pretrain": {"text": "raw"},
}


def files(at: Writing) -> list[str]:
    """The files to train on, as seen from the output folder."""
    return [located(str(one.path), at.out_to_spec) for one in at.value("data.train")]


def form(at: Writing) -> str:
    """The layout of the rows: one for all sets (rule rows-are-alike)."""
    task = at.value("task")
    return FORMATS[task][rows.layout(at.value("data.train")[0], task)]
