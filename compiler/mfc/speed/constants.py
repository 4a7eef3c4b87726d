"""The physical constants of the speed model, each with what it stands for and where it comes from.

`fit` = the round number that agrees best with the published throughputs that benchmarks.score.throughput scores,
all sources together. No constant knows a source, a framework or a model.
"""

from __future__ import annotations

from collections.abc import Mapping

# Matrix products reach  MATMUL[generation] / (1 + BALANCE x peak / bandwidth)  of the dense peak, at most BEST: tiles
# are read again and again, so a chip with much compute for its bandwidth (and for its power) keeps less of it busy.
# BALANCE is bytes per FLOP; peak / bandwidth is FLOPs per byte (3090: 76, A100: 153, 4090: 164, H100: 295, L40S: 419,
# H20: 37). The loss on small batches is not in it: that is the weights' own traffic. BALANCE and Ada's figure (a cache
# of 36 to 96 MB) are fit; generations without a published row take the nearest relative's figure, less what older
# tensor cores and ROCm's libraries are known to lose, and as much for Ascend: assumption.
BALANCE = 0.002
BEST = 0.95
MATMUL: Mapping[str, float] = {
    "pascal": 0.90,
    "volta": 0.75,
    "turing": 0.75,
    "ampere": 1.00,
    "ada": 1.25,
    "hopper": 1.00,
    "blackwell": 1.00,
    "cdna1": 0.60,
    "cdna2": 0.60,
    "cdna3": 0.70,
    "cdna4": 0.70,
    "ascend910b": 0.70,
    "ascend910c": 0.70,
}

# Attention kernels, forward and backward together, as a share of the rate of large products.
FLASH = 0.70  # FlashAttention-2 paper: 50-73 % of the peak forward and 35-60 % backward on A100; 35-40 % on H100
EFFICIENT = 0.40  # the memory-efficient kernel, which a padding mask or an older chip leaves (same paper's figures)
CAUSAL = 0.5  # half of the score matrix is skipped; with a padding mask it is not
FLASH_BACKWARD = 2.5  # backward takes five products where forward takes two (FlashAttention-2 paper)
EAGER_SCORE_BYTES = 24  # traffic per score in forward: write, mask, fp32 softmax, cast, read; counted in the HF code

# Share of the nominal memory bandwidth that streaming kernels reach.
STREAM = 0.90  # fit; copy kernels reach 85-93 % on GDDR and HBM

# Traffic of everything in a block that is no matrix product, forward, per token, in bytes per feature: counted in the
# unfused HF code (a norm in fp32, a residual sum, rotary, the gated MLP's products).
NORM_BYTES, RESIDUAL_BYTES, ROTARY_BYTES, MLP_BYTES = 30, 6, 16, 10
ROUTED_BYTES = 18  # per routed copy of a token: gather, weigh, put back, sum (transformers 5, grouped_mm): counted
FUSED = 0.4  # what is left of it, and of what adapters move, in fused kernels: counted
WIDE = 2.0  # activations in fp32 (k-bit preparation without autocast), casts around each linear included: counted
BACKWARD = 2.0  # backward moves each operand and its gradient

# An adapted linear: its input is cast and read, its output scaled, cast and added: 10 and 20 bytes per feature and
# token, counted in PEFT's code, of which some stays in the cache: fit to 60 %, anything from 50 to 100 % serves.
ADAPTER_IN_BYTES, ADAPTER_OUT_BYTES = 6, 12

# DoRA also runs the adapted matrices once more and takes the norm of each, summed with its adapter, anew in every
# forward: bytes per number of them (counted in PEFT's code: read, product, sum, fp32 norm).
DORA_BYTES = 20
DORA_LAUNCH = 0.3e-3  # seconds the CPU needs for it per adapted linear and pass; fit

# The loss: bytes per logit, forward and backward, with fp32 copies (counted), and with a fused kernel.
LOGIT_BYTES, FUSED_LOGIT_BYTES = 34, 12

# Adapters on experts that are one parameter are added to it whole, in every forward: bytes per number of them (PEFT's
# ParamWrapper: product written, scaled, cast, added).
MERGE_BYTES = 16

# Unpacking one quantised weight: read, written in 16 bit (stacks that unpack to fp16 cast it once more), and arithmetic
# on the ordinary cores, in operations at their fp32 peak: fit (runs with and without).
CAST_BYTES = 4
UNPACK_OPERATIONS: Mapping[str, float] = {"nf4": 120, "fp4": 120}
OTHER_UNPACK_OPERATIONS = 160

# Time the CPU needs to launch what one block does in one pass (forward, recompute or backward), one adapted linear's
# share, and one quantised linear's: eager PyTorch, about 50-100 kernels a block at 15-20 microseconds; fit.
BLOCK_LAUNCH, ADAPTER_LAUNCH, QUANTISED_LAUNCH = 1.2e-3, 0.2e-3, 0.2e-3
SHARDED_LAUNCH = 1.8e-3  # gathering and freeing one block's weights, per pass; fit
EXPERT_LAUNCH = 0.2e-3  # one expert in a Python loop, per pass: about 12 kernels (transformers' eager experts); counted
ROUTED_LAUNCH = 0.4e-3  # one layer of grouped experts, per pass: about 25 kernels (transformers 5); counted

# Share of a link's nominal rate that collectives reach, and how much of them hides behind compute. HCCS as xGMI, which
# is a mesh of links too: assumption.
LINK: Mapping[str, float] = {"pcie3": 0.3, "pcie4": 0.3, "pcie5": 0.3, "nvlink": 0.75, "xgmi": 0.65, "hccs": 0.65}
OTHER_LINK = 0.8  # a figure the user gave, or a network
OVERLAP = 0.3  # backward sends gradients as it goes, full sharding fetches the next block: fit, 0.5 serves as well

# Optimizer step. Moments of other formats than the run's own: bytes per trained number, both together.
STATE_BYTES: Mapping[str, float] = {"adamw_8bit": 2, "paged_adamw_8bit": 2, "adafactor": 5, "sgd": 0, "lion": 4}
CLIP_ACCESSES = 3  # clipping reads each gradient, then reads and writes it
FOREACH_ACCESSES = 20  # torch's foreach AdamW goes over its lists operation by operation: counted in its code
# GaLore looks for its subspace anew from time to time: an assumption of about ten minutes for a model of 7 billion
# (Q-GaLore, arXiv 2407.08296, as remembered), every 200 steps (galore-torch's examples). With 8-bit states nothing of
# it shows in the published runs, and APOLLO projects at random.
SVD_SECONDS, SVD_STEPS = 0.9e-7, 200  # per trained number
# The same on the host, per trained number. DeepSpeed: fp32 weight and moments read and written, gradient read (28); the
# gradient scaled in place before (8), the 16-bit copy made after it (6): stage3.py `unscale_and_clip_grads`,
# `_reassign_or_swap_out_partitioned_parameters`; counted.
CPU_STEP_BYTES = 42
CPU_ADAM_BYTES = 28  # of these what an optimizer on NVMe reads and writes
HOST_BANDWIDTH = 100e9  # bytes per second of one node's memory that CPU Adam reaches: assumption
# Of the nominal rate of the host's link, pinned: nvbandwidth has 24.8 of 32 GB/s on eight A100s (NVIDIA developer
# forum, thread 352186). Collectives over the same link reach LINK.
HOST_LINK = 0.78
PAGEABLE = 0.5  # of that, for memory that is not pinned: assumption
FRESH = 0.2  # of that, for memory that is new each time, whose pages the kernel clears first: assumption
NVME_BANDWIDTH = 3e9  # bytes per second of one NVMe disk, read and write: assumption
