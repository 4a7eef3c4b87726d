"""A vLLM engine: what it takes of each of its GPUs, and what it must have to start.

Sources: vLLM gpu_worker.py (determine_available_memory) and its bitsandbytes loader.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from mfc.catalog.architecture import Architecture, Mlp
from mfc.memory.shape import shape
from mfc.runtimes import bitsandbytes
from mfc.strategy import Quantization

PREFILL = 8192  # tokens of one prefill step: vLLM's default max_num_batched_tokens


class Engine(NamedTuple):
    """One vLLM engine: bytes on each of its GPUs."""

    weights: float
    work: float  # activations and logits of its largest step
    kv_token: float  # KV cache of one token
    length: int  # tokens of the longest sequence
    sequences: int  # that it generates in one optimizer step
    tensor_parallel: int

    @property
    def least(self) -> float:
        """The smallest share that starts: vLLM refuses a KV cache in which one longest sequence has no room."""
        return self.weights + self.work + self.kv_token * self.length

    @property
    def most(self) -> float:
        """The share beyond which nothing is gained: all sequences at once, each at its longest."""
        return self.weights + self.work + self.kv_token * self.length * self.sequences

    def concurrency(self, share: float) -> int:
        """Longest sequences that a share holds at once."""
        return min(self.sequences, max(0, int((share - self.weights - self.work) / (self.kv_token * self.length))))


@lru_cache(maxsize=512)
def engine(
    architecture: Architecture,
    length: int,
    sequences: int,
    tensor_parallel: int,
    quantization: Quantization | None = None,
    reads: int = PREFILL,
) -> Engine:
    """A vLLM engine over `tensor_parallel` GPUs, its weights in 16 bit or as `quantization` stores linears.

    `reads` is how many tokens of prompts pass its layers at once. The work space is counted from its profile run:
    inferred.
    """
    kv, widest = 0.0, 0
    for repeat, block in architecture.blocks:
        attention, ffn = block.attention, block.ffn
        widest = max(widest, ffn.width if isinstance(ffn, Mlp) else ffn.per_token * ffn.width + ffn.shared_width)
        if attention.kind == "mla":  # one compressed vector for all heads, on every GPU
            kv += repeat * 2.0 * (attention.kv_lora_rank + attention.rope_dim)
        elif attention.kind == "gqa":
            heads = max(attention.kv_heads / tensor_parallel, 1)
            kv += repeat * 2.0 * heads * (attention.head_dim + attention.value_dim)
    work = 2.0 * reads * (2 * widest / tensor_parallel + 6 * architecture.hidden)
    work += 8.0 * architecture.vocab * sequences
    weights = _weights(architecture, quantization) / tensor_parallel
    return Engine(weights, work, kv or 1.0, length, sequences, tensor_parallel)


def _weights(architecture: Architecture, quantization: Quantization | None) -> float:
    """Bytes of the whole model."""
    figure = shape(architecture, True)
    if quantization is None:
        return 2.0 * figure.parameters
    stored = figure.quantised * bitsandbytes.quantised_bytes(quantization)
    return stored + 2.0 * (figure.parameters - figure.quantised)
