"""The time of rollouts: seconds to generate the answers of one optimizer step, and to move weights for it.

Decoding is bound by memory: each step reads the weights and the KV cache of all sequences under way. Answers are
counted at their longest, which is the same for every layout that is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.catalog.gpu import Gpu, Link
from mfc.memory.engine import Engine
from mfc.memory.rollout import Share
from mfc.speed.constants import BLOCK_LAUNCH, HOST_LINK, LINK, OTHER_LINK, STREAM
from mfc.speed.work import work

STEP_OVERHEAD = 4e-3  # seconds of scheduling and sampling per decode step with CUDA graphs: assumption
EXCHANGE = 30e-6  # seconds of one small all-reduce between GPUs of a node: assumption
DENSE = 0.5  # share of the peak that prefill and decode products reach: assumption


class Generation(NamedTuple):
    """Seconds per optimizer step beside training; `parts` add up to `seconds`."""

    seconds: float
    parts: Mapping[str, float]


def generation(
    architecture: Architecture,
    gpu: Gpu,
    link: Link,
    made: Engine,
    share: Share,
    completion: int,
    answers: int,
    moved_bytes: float,
    iterations: int,
) -> Generation:
    """The time of rollouts for one optimizer step, of which `iterations` learn from the same answers.

    `completion`: tokens of the longest answer. `answers`: answers per prompt, which share its prefill. `moved_bytes`:
    what training moves to the host and back on each GPU, where `share` says so.
    """
    flops = gpu.tflops.get("bf16" if gpu.bf16 else "fp16", gpu.tflops["fp16"]) * 1e12 * DENSE
    moved = work(architecture)
    active = 2 * (moved.active + moved.head) / share.tensor_parallel  # FLOPs per token
    at_once = max(min(share.concurrency, share.sequences), 1)
    steps = completion * -(-share.sequences // at_once)
    prompt = made.length - completion
    cache = at_once * made.kv_token * (prompt + completion / 2)
    reading = (made.weights + cache) / (gpu.memory_bandwidth * STREAM)
    once = max(reading, active * at_once / flops)
    if share.utilization:
        once += STEP_OVERHEAD
    else:  # eager: the processor launches every block
        once += architecture.layers * BLOCK_LAUNCH
    if share.tensor_parallel > 1:
        once += 2 * architecture.layers * EXCHANGE
    parts = {"decode": steps * once, "prefill": active * prompt * (share.sequences / answers) / flops}
    if share.utilization:
        parts["weights to vLLM"] = made.weights / (link.bytes_per_second * LINK.get(link.kind, OTHER_LINK))
    host = gpu.host_link.bytes_per_second * HOST_LINK  # both are pinned
    if share.sleep_level == 1:
        parts["vLLM to sleep and awake"] = 2 * made.weights / host
    if share.offload:
        parts["states to the host and back"] = 2 * moved_bytes / host
    parts = {name: seconds / iterations for name, seconds in parts.items()}
    return Generation(fsum(parts.values()), parts)
