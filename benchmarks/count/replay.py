"""Replay recorded training steps through the caching allocator, and hold the closed form of free blocks to it.

    python -m benchmarks.count.replay             # two minutes
    python -m benchmarks.count.replay --record    # trace the steps anew first; needs the extra `simulate`, minutes

Three tables, each with segments of fixed size and with expandable ones. Rows of one length: what the allocator holds
beside the tensors of the peak, and how far mfc.memory.blocks lies from it. Rows of drawn lengths: what it holds after
so many steps. The smallest card: what a step needs beside its tensors where all that can be is given back. The
constants of mfc.memory.blocks come from here.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from mfc.catalog import models
from mfc.memory import prepare
from mfc.memory.overhead import ROUNDING, workspace_bytes
from mfc.simulate.depth import cut

from benchmarks.count.allocator import Allocator, OutOfMemory, Settings
from benchmarks.count.sequence import Steps, read, record, replay, run_of, write

GIB = 1 << 30
CARD = 1 << 42  # more than any step needs
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384, 65536)
STEADY = 3  # steps after which what is held changes no more where all rows have one length
DRAWN, SEEDS = 60, 3
LONGEST = 8192
CLOSE = 0.002  # of its tensors, how closely the smallest card of a step is looked for


class Case(NamedTuple):
    """A step to record. Few layers stand for many, but for what gradients of all of them leave free."""

    model: str
    layers: int
    lora: bool
    autocast: bool
    checkpointing: bool
    head: bool = True  # else a vocabulary so small that the loss does not count: heads in chunks

    @property
    def name(self) -> str:
        """What is recorded, in words."""
        what = "adapters" if self.lora else "fp32 weights under autocast" if self.autocast else "16-bit weights"
        words = [self.model.split("/")[-1], f"{self.layers} layers", what]
        words += ["checkpointing"] if self.checkpointing else []
        return ", ".join(words + ([] if self.head else ["no logits"]))


LLAMA, QWEN = "meta-llama/Meta-Llama-3-8B", "Qwen/Qwen2.5-7B"
CASES = (
    Case(LLAMA, 4, lora=True, autocast=True, checkpointing=True),
    Case(LLAMA, 4, lora=True, autocast=True, checkpointing=False),
    Case(LLAMA, 4, lora=False, autocast=False, checkpointing=True),
    Case(LLAMA, 4, lora=False, autocast=False, checkpointing=False),
    Case(LLAMA, 4, lora=False, autocast=True, checkpointing=True),
    Case(LLAMA, 4, lora=True, autocast=True, checkpointing=True, head=False),
    Case(LLAMA, 4, lora=False, autocast=False, checkpointing=True, head=False),
    Case(LLAMA, 4, lora=False, autocast=False, checkpointing=False, head=False),
    Case(LLAMA, 32, lora=True, autocast=True, checkpointing=True),
    Case(LLAMA, 32, lora=False, autocast=False, checkpointing=True),
    Case(QWEN, 4, lora=True, autocast=True, checkpointing=True),
    Case(QWEN, 4, lora=False, autocast=False, checkpointing=True),
)


def recorded(case: Case) -> Steps:
    """Trace a case."""
    config = dict(next(row["config"] for row in models.rows() if case.model in models.ids(row)))
    config = cut(config, case.layers)
    if not case.head:
        config["vocab_size"] = 1024
    described: dict[str, Any] = {name: getattr(case, name) for name in ("lora", "autocast", "checkpointing")}
    return record(case.name, {"config": config} | described)


class Steady(NamedTuple):
    """Bytes with rows of one length: allocated and reserved by the replay, and the closed form of the latter."""

    allocated: int
    reserved: int
    predicted: float

    @property
    def error(self) -> float:
        """How far the closed form lies above the replay, in percent."""
        return 100 * (self.predicted / self.reserved - 1)


def steady(steps: Steps, length: int, expandable: bool) -> Steady:
    """A step that is always of one length."""
    held = replay(steps, Allocator(Settings(card=CARD, expandable=expandable)), [length] * STEADY)[-1]
    run = run_of(steps.case, length)
    run = run._replace(stack=run.stack._replace(expandable_segments=expandable))
    predicted = max(prepare(run, every=True).reserved(1)) - workspace_bytes(None) - ROUNDING
    return Steady(held.allocated, held.reserved, predicted)


def drawn(steps: Steps, longest: int, expandable: bool, seed: int, count: int = DRAWN) -> int:
    """Bytes reserved after `count` steps of lengths between a tenth of the longest and it."""
    chance = random.Random(seed)
    lengths = [int(longest * chance.uniform(0.1, 1)) for _ in range(count)]
    return replay(steps, Allocator(Settings(card=CARD, expandable=expandable)), lengths)[-1].reserved


def least(steps: Steps, length: int, expandable: bool) -> float:
    """The smallest card on which steps of one length go through, in sizes of their tensors."""
    found = steady(steps, length, expandable)
    low, high = found.allocated, found.reserved
    while high - low > CLOSE * found.allocated:
        middle = (low + high) // 2
        try:
            replay(steps, Allocator(Settings(card=middle, expandable=expandable)), [length] * STEADY)
            high = middle
        except OutOfMemory:
            low = middle
    return high / found.allocated


def _tables(every: list[Steps]) -> Iterator[str]:
    yield "rows of one length: GiB free beside the peak (percent by which the closed form lies above what is reserved)"
    for expandable in (False, True):
        yield "expandable segments" if expandable else "segments of fixed size"
        errors = []
        for steps in every:
            found = [steady(steps, length, expandable) for length in LENGTHS]
            errors += [each.error for each in found]
            cells = [f"{(each.reserved - each.allocated) / GIB:6.2f} ({each.error:+5.1f})" for each in found]
            yield f"  {steps.name:70s}" + " ".join(cells)
        sizes = sorted(map(abs, errors))
        yield (
            f"  error: median {statistics.median(sizes):.1f} %, nine in ten below {sizes[int(0.9 * len(sizes))]:.1f} %,"
            f" largest {sizes[-1]:.1f} %, mean {statistics.fmean(errors):+.1f} %"
        )
    yield f"rows of {LONGEST // 10} to {LONGEST} tokens, {DRAWN} steps: GiB more than with rows of {LONGEST}, by order"
    for steps in every:
        for expandable in (False, True):
            base = steady(steps, LONGEST, expandable).reserved
            grown = [(drawn(steps, LONGEST, expandable, seed) - base) / GIB for seed in range(SEEDS)]
            kind = "expandable" if expandable else ""
            yield f"  {steps.name:70s}{kind:11s}" + " ".join(f"{each:6.2f}" for each in grown)

    yield "smallest card, in percent above the tensors, at 4096 and 16384 tokens; the same with expandable segments"
    for steps in every:
        more = [100 * (least(steps, length, kind) - 1) for kind in (False, True) for length in (4096, 16384)]
        yield f"  {steps.name:70s}" + " ".join(f"{each:6.1f}" for each in more)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Replay recorded steps through the caching allocator.")
    parser.add_argument("--record", action="store_true", help="trace the steps anew first")
    if parser.parse_args().record:
        write(map(recorded, CASES))
    for line in _tables(read()):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
