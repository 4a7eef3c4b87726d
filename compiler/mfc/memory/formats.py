"""The number formats of one run: what a strategy and a stack together make of weights, streams and logits."""

from __future__ import annotations

from typing import NamedTuple

from mfc.memory.stack import Stack
from mfc.strategy import Strategy


class Formats(NamedTuple):
    """All fields are bytes per number, or whether something happens."""

    full: bool  # base weights train, all of them or the last blocks
    adapters: bool
    weights: float  # base weights that are not quantised, as stored
    trained: int  # trained numbers, as stored
    gradient: int
    state: int  # one optimizer moment
    master: int  # fp32 copy of trained weights inside the optimizer
    element: int  # activations
    stream: int  # residual stream
    logits: int
    autocast: bool
    fp32_autocast: bool  # fp32 trained base weights under autocast: casts are cached until the backward pass
    casts_base: bool  # frozen fp32 weights under autocast: each layer keeps 16-bit copies for its backward
    adapter_matches: bool  # adapters have the activations' type, so their input is saved as it is, once


def formats(strategy: Strategy, stack: Stack) -> Formats:
    """Formats by strategy and stack; the rules are in docs/memory-model.md, section "Number formats"."""
    adapters = strategy.method in ("lora", "qlora")
    full = not adapters
    if strategy.precision == "fp32":
        return Formats(full, adapters, 4, 4, 4, 4, 0, 4, 4, 4, False, False, False, adapters)
    mixed = strategy.precision in ("bf16", "fp16")
    deepspeed = strategy.deepspeed
    fsdp = strategy.sharding == "fsdp2"
    autocast = stack.autocast and mixed and not deepspeed
    # PEFT's preparation leaves GPTQ, AQLM, EETQ and HQQ models as they are, and sharded ones cannot mix formats.
    kind = strategy.quantization.kind if strategy.quantization is not None else ""
    kbit = kind in ("nf4", "fp4", "int8") and stack.kbit_fp32 and not (fsdp or strategy.sharding == "zero3")
    if full:
        if deepspeed or strategy.optimizer == "badam":
            trained, master = 2, 4
        elif fsdp:
            trained, master = (4 if mixed and stack.fsdp_fp32_shards else 2), 0
        else:  # torch cannot unscale fp16 gradients: fp16 always trains fp32 weights
            trained, master = (4 if mixed and (stack.trainable_fp32 or strategy.precision == "fp16") else 2), 0
        fp32_autocast = autocast and trained == 4 and not fsdp
        weights = trained
    else:
        cast = deepspeed and strategy.sharding != "zero3"  # the engine casts adapters to 16 bit below stage 3
        fp32_adapters = stack.adapter_fp32 and strategy.precision != "pure_bf16" and not cast
        trained, master = (4 if fp32_adapters else 2), (4 if deepspeed else 0)
        fp32_autocast = False
        weights = 4 if kbit or (stack.frozen_fp32 and not kind and not deepspeed) else 2
    element = 4 if weights == 4 and adapters and not autocast else 2
    stream = 4 if weights == 4 and (adapters or fp32_autocast) else element
    matches = adapters and not autocast and (trained == element)
    state = 4 if master else trained
    return Formats(
        full,
        adapters,
        weights,
        trained,
        trained,
        state,
        master,
        element,
        stream,
        element,
        autocast,
        fp32_autocast,
        adapters and autocast and weights == 4 and not kind,
        matches,
    )
