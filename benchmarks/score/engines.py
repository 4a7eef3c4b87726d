"""The DeepSpeed configuration files that frameworks ship, where a row does not state its own.

What a file leaves out has DeepSpeed's default, for the Trainer fills in "auto" alone.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from benchmarks.score.stacks import LATEST, when

DEFAULT_BUCKET, DEFAULT_PREFETCH, DEFAULT_PERSISTENCE = 500_000_000, 50_000_000, 100_000  # runtime/zero/config.py


class Shipped(NamedTuple):
    """Of one framework's files; None = "auto", or DeepSpeed's own for `overlap`."""

    loop: str  # what rows call the framework
    bucket: int | None  # numbers in a reduce bucket at stages 1 and 2
    overlap: bool | None  # overlap_comm at stages 1 and 2
    plain: bool = False  # stage 3 is left to DeepSpeed's defaults too
    until: tuple[int, ...] = LATEST  # the month in which this ended


SHIPPED = (
    Shipped(r"xtuner", DEFAULT_BUCKET, True, plain=True),  # 0.2.0, configs/deepspeed
    Shipped(r"axolotl", DEFAULT_BUCKET, True),  # deepspeed_configs
    Shipped(r"llama-?factory", DEFAULT_BUCKET, True, until=(2025, 3)),  # examples/deepspeed
    Shipped(r"llama-?factory", DEFAULT_BUCKET, False),
    Shipped(r"ms-swift [34]", 200_000_000, False),  # 3.12 and 4.6, config
    Shipped(r"\btrl\b", DEFAULT_BUCKET, None, plain=True),  # accelerate's plugin, which names no bucket
)


# Of a run that mfc compiled: "auto" in all, which goes by the model.
COMPILED: dict[str, Any] = {
    "reduce_bucket_elements": None,
    "prefetch_bucket_elements": None,
    "persistence_threshold_elements": None,
    "overlap_comm": None,
}


def engine(framework: str, sharding: str) -> dict[str, Any]:
    """The fields of a Stack that a framework's own file for a ZeRO stage decides."""
    text = framework.lower()
    found = next((each for each in SHIPPED if re.search(each.loop, text) and when(text) <= each.until), None)
    if found is None or not sharding.startswith("zero"):
        return {}
    if sharding != "zero3":
        return {"reduce_bucket_elements": found.bucket, "overlap_comm": found.overlap}
    if not found.plain:
        return {}
    return {
        "reduce_bucket_elements": DEFAULT_BUCKET,
        "prefetch_bucket_elements": DEFAULT_PREFETCH,
        "persistence_threshold_elements": DEFAULT_PERSISTENCE,
    }
