"""Hold the closed forms to the real model code, family by family.

    python -m benchmarks.count.families [FAMILY...] [--json]

For one model of each family of the catalogue that transformers has, full fine-tuning and LoRA, with and without
checkpointing: the peak that mfc predicts against the one that tracing the real code gives (mfc.simulate; needs the
extra `simulate`). Prints the difference in percent of the trace, as a table for docs/oracle.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from mfc.catalog import hf_config, models
from mfc.errors import SpecError
from mfc.memory import Run, Stack
from mfc.simulate import simulate
from mfc.simulate.source import stripped
from mfc.strategy import Lora, Strategy

# Code of their own outside transformers, or images, which are not simulated.
APART = ("baichuan", "chatglm", "internlm2", "internlm3", "internvl_chat", "minicpm", "minicpmv", "qwen")
KINDS = (("full", True), ("full", False), ("lora", True), ("lora", False))


def rows() -> Iterator[dict[str, Any]]:
    """The first model of each family."""
    seen = set(APART)
    for row in models.rows():
        family = row["config"]["model_type"]
        if family not in seen and hf_config.read(row["config"]).architecture.vision is None:
            seen.add(family)
            yield dict(row)


def run_of(config: dict[str, Any], method: str, checkpointing: bool) -> Run:
    """Two sequences of 2048 tokens (one with checkpointing), bf16 weights under autocast, no padding."""
    strategy = Strategy(
        task="sft",
        method="full" if method == "full" else "lora",
        precision="bf16",
        sharding="ddp",
        world_size=1,
        max_length=2048,
        micro_batch=1 if checkpointing else 2,
        gradient_accumulation=1,
        gradient_checkpointing=checkpointing,
        attention="sdpa",
        loss="plain",
        optimizer="adamw",
        packing=True,
        lora=Lora(8, 16) if method == "lora" else None,
    )
    return Run(hf_config.read(config).architecture, strategy, None, 1, Stack())


def difference(config: dict[str, Any], method: str, checkpointing: bool) -> float | str:
    """Percent by which the prediction lies above the trace, or why there is no trace."""
    try:
        made = simulate(run_of(config, method, checkpointing), stripped(config))
    except SpecError as error:
        return str(error)
    return round(made.comparison.peak.difference, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold the closed forms to the real model code of every family.")
    parser.add_argument("families", nargs="*", help="model_type of transformers (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object a family instead of a table")
    options = parser.parse_args()
    if not options.json:
        print("| family | model | full | full, nothing checkpointed | LoRA | LoRA, nothing checkpointed |")
        print("|---|---|---|---|---|---|")
    for row in rows():
        config = row["config"]
        family = config["model_type"]
        if options.families and family not in options.families:
            continue
        found = [difference(config, method, checkpointing) for method, checkpointing in KINDS]
        if options.json:
            print(json.dumps({"family": family, "model": row["id"], "difference_pct": found}), flush=True)
            continue
        for cell in found:
            if isinstance(cell, str):
                print(f"{family}: {cell}", file=sys.stderr)
        shown = " | ".join("not traced" if isinstance(cell, str) else f"{cell:+.2f}" for cell in found)
        print(f"| {family} | {row['id'].split('/')[-1]} | {shown} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
