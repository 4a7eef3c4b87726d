"""What to trace, in the words of the model code: no choice is left to a library's default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mfc.strategy import Lora

Kernel = Literal["flash", "masked", "blocks", "eager"]


@dataclass(frozen=True, slots=True)
class Setup:
    """One training step of one model on one GPU. `config` is a Hugging Face config as plain data.

    Widths are bytes per number: 2 is traced as bf16, 4 as fp32. `targets` are PEFT's target modules for `lora`.
    """

    config: Mapping[str, Any]
    sequences: int
    length: int
    checkpointing: bool
    weights: int = 2
    lora: Lora | None = None
    targets: str | tuple[str, ...] = "all-linear"
    adapter: int = 4
    autocast: bool = False  # forward runs under autocast and returns fp32 logits, as accelerate's models do
    kernel: Kernel = "flash"  # masked, blocks: SDPA with a mask of padding, of packed samples
    optimizer: Literal["adamw", "sgd"] = "adamw"
    foreach: bool = False
    accumulates: bool = False  # gradients of an earlier micro-batch are there already
    keeps_outputs: bool = False  # the loop holds the model's outputs during backward
