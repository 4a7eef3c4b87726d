"""Memory of rollouts: what vLLM takes of a card, and what training leaves for it.

A colocated vLLM reserves a share of the whole card, weights included. Without sleep mode that share lies beside the
peak of training; with it, vLLM leaves the card while training steps, and only what training keeps between steps lies
beside the share. Sources: vLLM gpu_worker.py (determine_available_memory) and its sleep mode documentation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from mfc.catalog.architecture import Architecture, Mlp
from mfc.catalog.parameters import count

GIB = 1 << 30
SERVER_UTILIZATION = 0.9  # vLLM's own default, right for a card that it has to itself
STEP = 0.01  # utilizations are chosen in steps of this
PREFILL = 8192  # tokens of one prefill step: vLLM's default max_num_batched_tokens
# Outside the share: CUDA graphs are captured after the KV cache has been sized. vLLM logs 0.4 to 0.7 GiB: assumption.
GRAPHS = GIB // 2
# What a sleeping engine keeps beside its graphs: workspaces and communicators. vLLM logs about 1 GiB: assumption.
ASLEEP = GIB


@dataclass(frozen=True, slots=True)
class Engine:
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


@dataclass(frozen=True, slots=True)
class Training:
    """What training takes of one card, in bytes: bounds."""

    upper: float  # peak of a step
    idle: float  # between steps
    parked: float  # between steps, with weights and optimizer moved to the host
    host: float  # per node, without rollouts


@dataclass(frozen=True, slots=True)
class Share:
    """How vLLM and training share one card. Bytes are bounds on the process, both together."""

    engine: Engine
    utilization: float
    sleep: bool
    offload: bool  # training's weights and optimizer wait in host memory while answers are generated
    generating: float  # bytes while answers are generated
    stepping: float  # bytes at the peak of a training step
    concurrency: int
    host: float  # bytes of one node's RAM
    starved: bool  # the share is below the engine's least

    @property
    def peak(self) -> float:
        """Bytes at the larger of the two moments."""
        return max(self.generating, self.stepping)


@lru_cache(maxsize=512)
def engine(architecture: Architecture, length: int, sequences: int, tensor_parallel: int) -> Engine:
    """A vLLM engine in 16 bit over `tensor_parallel` GPUs. The work space is counted from its profile run: inferred."""
    kv = 0.0
    widest = 0
    for repeat, block in architecture.blocks:
        attention, ffn = block.attention, block.ffn
        widest = max(widest, ffn.width if isinstance(ffn, Mlp) else ffn.per_token * ffn.width + ffn.shared_width)
        if attention.kind == "mla":  # one compressed vector for all heads, on every GPU
            kv += repeat * 2.0 * (attention.kv_lora_rank + attention.rope_dim)
        elif attention.kind == "gqa":
            heads = max(attention.kv_heads / tensor_parallel, 1)
            kv += repeat * 2.0 * heads * (attention.head_dim + attention.value_dim)
    work = 2.0 * PREFILL * (2 * widest / tensor_parallel + 6 * architecture.hidden) + 8.0 * architecture.vocab * sequences
    weights = 2.0 * count(architecture).total / tensor_parallel
    return Engine(weights, work, kv or 1.0, length, sequences, tensor_parallel)


def served(made: Engine, card: float, pinned: float | None) -> Share:
    """A server's share of a card of its own."""
    utilization = pinned or SERVER_UTILIZATION
    share = utilization * card
    concurrency = made.concurrency(share)
    return Share(made, utilization, False, False, share + GRAPHS, 0.0, concurrency, 0.0, share < made.least)


def colocated(
    made: Engine,
    training: Training,
    card: float,
    budget: float,
    gpus_per_node: int,
    pinned: float | None,
    sleeps: tuple[bool, ...],
) -> Share:
    """The share of an engine that lives on the training GPUs.

    Of three arrangements (both side by side, vLLM asleep while training steps, training's states also parked on the
    host while vLLM generates) the first whose KV cache holds every sequence, or else the one that holds most. When
    none fits, the one nearest to fitting.
    """
    shares = [_share(made, training, card, budget, gpus_per_node, pinned, *way) for way in _ways(sleeps)]
    fitting = [share for share in shares if share.peak <= budget and not share.starved]
    if fitting:
        return max(fitting, key=lambda share: share.concurrency)  # of equals the first: the simplest
    return min(shares, key=lambda share: share.peak)


def _ways(sleeps: tuple[bool, ...]) -> tuple[tuple[bool, bool], ...]:
    """(sleep, offload), simplest first."""
    ways = ((False, False), (True, False), (True, True))
    return tuple(way for way in ways if way[0] in sleeps)


def _share(
    made: Engine,
    training: Training,
    card: float,
    budget: float,
    gpus_per_node: int,
    pinned: float | None,
    sleep: bool,
    offload: bool,
) -> Share:
    beside = (training.parked if offload else training.idle) + GRAPHS
    room = budget - beside
    if not sleep:
        room = min(room, budget - GRAPHS - training.upper)
    # Never below what starts: a share that is too large for the card is refused with its own numbers.
    utilization = pinned or max(_down(min(room, made.most + STEP * card) / card), _up(made.least / card))
    share = utilization * card
    stepping = training.upper + GRAPHS + (ASLEEP if sleep else share)
    host = training.host
    if sleep:
        host += gpus_per_node * made.weights
    if offload:
        host += gpus_per_node * (training.idle - training.parked)
    starved = share < made.least
    return Share(made, utilization, sleep, offload, beside + share, stepping, made.concurrency(share), host, starved)


def native(made: Engine, training: Training, gathers: bool) -> Share:
    """Generation by the trainer itself: its weights are there (gathered whole under full sharding), its cache is added."""
    whole = made.weights if gathers else 0.0
    cache = made.kv_token * made.length * made.sequences + made.work
    at_once = made.sequences
    return Share(made, 0.0, False, False, training.idle + whole + cache, training.upper, at_once, training.host, False)


def _down(share: float) -> float:
    return round(math.floor(max(share, 0.0) / STEP + 1e-9) * STEP, 2)


def _up(share: float) -> float:
    return round(math.ceil(share / STEP - 1e-9) * STEP, 2)
