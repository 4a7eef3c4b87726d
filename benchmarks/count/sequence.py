"""What a training step asks the allocator for, in order, with sizes that follow the length of the rows.

A sequence is recorded from the real model code (mfc.simulate) at two lengths: every block's size is affine in the
tokens, so the same sequence serves rows of any length. Eager attention, whose scores grow with the square, is left out.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.count.allocator import Allocator
from benchmarks.count.pool import Block

if TYPE_CHECKING:
    from mfc.memory import Run

RECORDED = Path(__file__).parents[2] / "tests" / "memory" / "data" / "sequences.json.gz"
LENGTHS = (2048, 4096)  # tokens at which a sequence is recorded


class Steps(NamedTuple):
    """A recorded step. Blocks are numbered as they are born."""

    name: str
    case: Mapping[str, Any]  # the config of the model, and what of the strategy is not as in `run_of`
    fixed: Sequence[float]  # bytes of each block, and
    slope: Sequence[float]  # what one more token adds
    events: Sequence[int]  # a block's number + 1 as it is born, its negative as it dies
    begins: int  # events before belong to weights and optimizer states

    def size(self, block: int, length: int) -> int:
        """Bytes of a block in a row of `length` tokens."""
        return max(1, round(self.fixed[block] + self.slope[block] * length))


class Held(NamedTuple):
    """Bytes after each step: what the allocator had reserved by then, and the most that the step allocated."""

    reserved: int
    allocated: int


def replay(steps: Steps, allocator: Allocator, lengths: Iterable[int]) -> list[Held]:
    """One step after the other with rows of these lengths, after weights and states were made. Raises OutOfMemory."""
    live: dict[int, Block] = {}

    def play(events: Sequence[int], length: int) -> None:
        for event in events:
            if event > 0:
                live[event] = allocator.take(steps.size(event - 1, length))
            else:
                allocator.give(live.pop(-event))

    play(steps.events[: steps.begins], 0)
    kept, found = set(live), []
    for length in lengths:
        allocator.peak_allocated = allocator.allocated
        play(steps.events[steps.begins :], length)
        for event in set(live) - kept:
            allocator.give(live.pop(event))
        found.append(Held(allocator.peak_reserved, allocator.peak_allocated))
    return found


def read(path: Path = RECORDED) -> list[Steps]:
    """All recorded sequences."""
    return [Steps(**json.loads(line)) for line in gzip.decompress(path.read_bytes()).splitlines()]


def write(recorded: Iterable[Steps], path: Path = RECORDED) -> None:
    """Keep sequences for machines without torch."""
    lines = "".join(json.dumps(steps._asdict(), separators=(",", ":")) + "\n" for steps in recorded)
    path.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))


def run_of(case: Mapping[str, Any], length: int) -> Run:
    """The run of a case on one endless card."""
    from mfc.catalog import hf_config
    from mfc.memory import Run, Stack
    from mfc.strategy import Lora, Strategy

    strategy = Strategy(
        task="sft",
        method="lora" if case["lora"] else "full",
        precision="bf16" if case["autocast"] else "pure_bf16",
        sharding="ddp",
        world_size=1,
        max_length=length,
        micro_batch=1,
        gradient_accumulation=1,
        gradient_checkpointing=case["checkpointing"],
        attention="flash",
        loss="plain",
        optimizer="adamw",
        packing=True,
        lora=Lora(8, 16) if case["lora"] else None,
    )
    stack = Stack(trainable_fp32=case["autocast"])
    return Run(hf_config.read(dict(case["config"])).architecture, strategy, None, 1, stack)


def record(name: str, case: Mapping[str, Any]) -> Steps:
    """Trace a case at two lengths. Needs the extra `simulate`."""
    from mfc.simulate.alone import alone, setup
    from mfc.simulate.source import stripped
    from mfc.simulate.step import trace

    short, long = (trace(setup(alone(run_of(case, each))[0], stripped(dict(case["config"])))) for each in LENGTHS)
    births: dict[int, int] = {}  # the number that the trace gives a block -> ours
    for block, size in long.events:
        if size > 0:
            births[block] = len(births)
    sizes = [[size for _, size in each.events if size > 0] for each in (short, long)]
    if len(sizes[0]) != len(sizes[1]):
        raise ValueError(f"{name}: the step is not the same at {LENGTHS[0]} and at {LENGTHS[1]} tokens")
    slope = [(more - less) / (LENGTHS[1] - LENGTHS[0]) for less, more in zip(*sizes, strict=True)]
    fixed = [less - each * LENGTHS[0] for less, each in zip(sizes[0], slope, strict=True)]
    kept = [(births[block] + 1) * (1 if size > 0 else -1) for block, size in long.events if block in births]
    return Steps(name, case, fixed, slope, kept, long.begins)
