"""What quantised weights and 8-bit optimizers cost. Bytes per number, measured with bitsandbytes 0.50."""

from __future__ import annotations

from mfc.strategy import Quantization

OPTIMIZER_8BIT = 1 + 4 / 256  # one moment: a byte, and an fp32 absmax per block of 256


def quantised_bytes(quantization: Quantization) -> float:
    """Bytes per quantised number.

    NF4 and FP4: block 64 with an fp32 absmax, itself in 8 bit when double. GPTQ and AWQ: groups of 128 with a 16-bit
    scale and a zero point. Other kinds: groups of 64 with a scale and a zero of 16 bit.
    """
    if quantization.kind in ("nf4", "fp4"):
        return 0.5 + scale_bytes(quantization)
    if quantization.kind == "int8":
        return 1.0 + 1 / 1024
    if quantization.kind in ("gptq", "awq"):
        return quantization.bits / 8 + (2 + quantization.bits / 8) / 128
    return quantization.bits / 8 + 4 / 64


def scale_bytes(quantization: Quantization) -> float:
    """The part of `quantised_bytes` that stays whole on every GPU.

    bitsandbytes keeps the scales of 4-bit weights in a QuantState, an attribute of the parameter: FSDP and ZeRO shard,
    gather and offload parameters only.
    """
    if quantization.kind in ("nf4", "fp4"):
        return 1 / 64 + 4 / (64 * 256) if quantization.double else 4 / 64
    return 0.0
