"""The physical constants of the speed model, each with what it stands for and where it comes from.

`fit` = chosen as the round number that agrees best with the published throughputs that benchmarks/throughput.py scores,
all sources together. No constant knows a source, a framework or a model.
"""

from __future__ import annotations

from collections.abc import Mapping

# Matrix products reach  MATMUL[generation] / (1 + BALANCE x peak / bandwidth)  of the dense peak: tiles are read again
# and again, so a chip with much compute for its bandwidth (and for its power) keeps less of it busy. BALANCE is bytes
# per FLOP; peak / bandwidth is FLOPs per byte (3090: 76, A100: 153, H100: 295, H20: 37). The loss on small batches is
# not in it: that is the weights' own traffic. Both fit; generations without a published row take the nearest relative's
# figure, less what older tensor cores and ROCm's libraries are known to lose: assumption.
BALANCE = 0.0022
MATMUL: Mapping[str, float] = {
    "pascal": 0.90,
    "volta": 0.75,
    "turing": 0.75,
    "ampere": 1.00,
    "ada": 1.00,
    "hopper": 1.00,
    "blackwell": 1.00,
    "cdna1": 0.60,
    "cdna2": 0.60,
    "cdna3": 0.70,
    "cdna4": 0.70,
}

# Share of the dense peak that attention kernels reach, forward and backward together.
FLASH = 0.45  # FlashAttention-2 paper: 50-73 % forward and 35-60 % backward on A100; about 35-40 % on H100
NO_FLASH = 0.20  # memory-efficient kernels on chips that FlashAttention-2 leaves out: assumption
CAUSAL = 0.5  # half of the score matrix is skipped
FLASH_BACKWARD = 2.5  # backward takes five products where forward takes two (FlashAttention-2 paper)
EAGER_SCORE_BYTES = 24  # traffic per score in forward: write, mask, fp32 softmax, cast, read; counted in the HF code

# Share of the nominal memory bandwidth that streaming kernels reach.
STREAM = 0.90  # fit; copy kernels reach 85-93 % on GDDR and HBM

# Traffic of everything in a block that is no matrix product, forward, per token, in bytes per feature. Counted in the
# unfused HF code, a norm in fp32 moves 30 bytes per feature, a residual sum 6, rotary 16, the gated MLP's products 10;
# a good half of that reaches the memory, the rest stays in the cache: fit.
CACHED = 0.55
NORM_BYTES, RESIDUAL_BYTES, ROTARY_BYTES, MLP_BYTES = 30 * CACHED, 6 * CACHED, 16 * CACHED, 10 * CACHED
FUSED = 0.4  # what is left of it with fused norm, rotary and MLP kernels: counted
BACKWARD = 2.0  # backward moves each operand and its gradient

# An adapted linear: its input is cast and read, its output scaled, cast and added (counted in PEFT's code), in bytes
# per feature and token; fit within 25 % of the count (10, 20).
ADAPTER_IN_BYTES, ADAPTER_OUT_BYTES = 9, 15

# DoRA also runs the adapted matrices once more and takes the norm of each, summed with its adapter, anew in every
# forward: bytes per number of them (counted in PEFT's code: read, product, sum, fp32 norm).
DORA_BYTES = 20
DORA_LAUNCH = 0.3e-3  # seconds the CPU needs for it per adapted linear and pass; fit

# The loss: bytes per logit, forward and backward, with fp32 copies (counted), and with a fused kernel.
LOGIT_BYTES, FUSED_LOGIT_BYTES = 34, 12

DEQUANTISE_BYTES = 15  # time to unpack one 4-bit weight, as bytes of traffic; fit (runs with and without)

# Time the CPU needs to launch what one block does in one pass (forward, recompute or backward), one adapted linear's
# share, and one quantised linear's: eager PyTorch, about 50-100 kernels a block at 15-20 microseconds; fit.
BLOCK_LAUNCH, ADAPTER_LAUNCH, QUANTISED_LAUNCH = 1.6e-3, 0.17e-3, 0.08e-3
SHARDED_LAUNCH = 1.2e-3  # gathering and freeing one block's weights, per pass; fit
BLEND = 2.5  # CPU and GPU work side by side: the p-norm of both, between the sum (1) and the larger; assumption

# Share of a link's nominal rate that collectives reach, and how much of them hides behind compute.
LINK: Mapping[str, float] = {"pcie3": 0.4, "pcie4": 0.4, "pcie5": 0.4, "nvlink": 0.75, "xgmi": 0.65}
OTHER_LINK = 0.8  # a figure the user gave, or a network
OVERLAP = 0.5  # backward sends gradients as it goes, full sharding fetches the next block: fit on sharded runs

# Optimizer step: bytes moved per trained number.
OPTIMIZER_BYTES: Mapping[str, float] = {
    "adamw": 30,  # fp32 weight, two moments read and written, gradient, 16-bit copy
    "adamw_8bit": 14,
    "paged_adamw": 30,
    "paged_adamw_8bit": 14,
    "adafactor": 20,
    "sgd": 10,
    "lion": 18,
}
OTHER_OPTIMIZER_BYTES = 30
CPU_ADAM_BYTES = 28  # the same on the host: fp32 weight, moments, gradient
HOST_BANDWIDTH = 100e9  # bytes per second of one node's memory that CPU Adam reaches: assumption
NVME_BANDWIDTH = 3e9  # bytes per second of one NVMe disk, read and write: assumption

# A padded batch is as long as its longest row. Between the mean (one row) and the limit (many): n ** -0.25 of the gap
# is left at n rows; fit to one published batch-size series.
PADDING_TAIL = 0.25
