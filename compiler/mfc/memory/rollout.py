"""Memory of rollouts: what vLLM takes of a card, and what training leaves for it.

A colocated vLLM reserves a share of the whole card, weights included. Without sleep mode that share lies beside the
peak of training; with it, vLLM leaves the card while training steps, and only what training keeps between steps lies
beside the share. Sources: vLLM gpu_worker.py (determine_available_memory) and its sleep mode documentation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mfc.catalog.architecture import Architecture, Mlp
from mfc.catalog.parameters import count
from mfc.memory.model import Memory
from mfc.strategy import Strategy

GIB = 1 << 30
SERVER_UTILIZATION = 0.9  # vLLM's own default, right for a card that it has to itself
STEP = 0.01  # utilizations are chosen in steps of this
PREFILL = 8192  # tokens of one prefill step: vLLM's default max_num_batched_tokens
# Outside the share: CUDA graphs are captured after the KV cache has been sized. vLLM logs 0.4 to 0.7 GiB: assumption.
GRAPHS = GIB // 2
# What a sleeping engine keeps beside its graphs: workspaces and communicators. vLLM logs about 1 GiB: assumption.
ASLEEP = GIB


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


class Training(NamedTuple):
    """What training takes of one card: upper bounds in bytes."""

    upper: float  # peak of a step
    idle: float  # between steps
    parked: float  # between steps, with weights and optimizer moved to the host
    gpus_per_node: int
    budget: float  # bytes that may be used
    card: float  # bytes of the whole card, of which vLLM's utilization is a share
    host: float | None = None  # bytes of a node's RAM that are free beside training; None = unknown


@dataclass(frozen=True, slots=True)
class Share:
    """How generation and training share the cards. Bytes are bounds on one GPU, both processes together."""

    tensor_parallel: int
    utilization: float  # 0 = no vLLM
    sleep_level: int  # 0: vLLM stays; 1: its weights wait in host memory; 2: they are dropped and sent again
    offload: bool  # training's weights and optimizer wait in host memory while answers are generated
    sequences: int  # that one engine generates in an optimizer step
    concurrency: int  # sequences at a time, each at its longest
    generating_bytes: int
    stepping_bytes: int  # 0 = training is on other cards
    host_bytes: int  # of a node, beside training's
    starved: bool = False  # vLLM does not start: no room for the KV cache of one longest sequence
    kept_bytes: int = 0  # training's part of `generating_bytes`

    @property
    def peak_bytes(self) -> int:
        """The larger of the two moments."""
        return max(self.generating_bytes, self.stepping_bytes)


@lru_cache(maxsize=512)
def engine(architecture: Architecture, length: int, sequences: int, tensor_parallel: int) -> Engine:
    """A vLLM engine in 16 bit over `tensor_parallel` GPUs. The work space is counted from its profile run: inferred."""
    kv, widest = 0.0, 0
    for repeat, block in architecture.blocks:
        attention, ffn = block.attention, block.ffn
        widest = max(widest, ffn.width if isinstance(ffn, Mlp) else ffn.per_token * ffn.width + ffn.shared_width)
        if attention.kind == "mla":  # one compressed vector for all heads, on every GPU
            kv += repeat * 2.0 * (attention.kv_lora_rank + attention.rope_dim)
        elif attention.kind == "gqa":
            heads = max(attention.kv_heads / tensor_parallel, 1)
            kv += repeat * 2.0 * heads * (attention.head_dim + attention.value_dim)
    work = 2.0 * PREFILL * (2 * widest / tensor_parallel + 6 * architecture.hidden)
    work += 8.0 * architecture.vocab * sequences
    return Engine(
        2.0 * count(architecture).total / tensor_parallel, work, kv or 1.0, length, sequences, tensor_parallel
    )


@lru_cache(maxsize=512)
def served(made: Engine, card: float, pinned: float | None) -> Share:
    """A server's share of cards of its own, equal to those that train: `card` bytes."""
    utilization = pinned or SERVER_UTILIZATION
    share = utilization * card
    return Share(
        made.tensor_parallel,
        utilization,
        sleep_level=0,
        offload=False,
        sequences=made.sequences,
        concurrency=made.concurrency(share),
        generating_bytes=int(share + GRAPHS),
        stepping_bytes=0,
        host_bytes=0,
        starved=share < made.least,
    )


def native(made: Engine, training: Training, gathers: bool) -> Share:
    """Generation by the trainer itself: its weights, gathered whole under full sharding, and a KV cache."""
    whole = made.weights if gathers else 0.0
    cache = made.kv_token * made.length * made.sequences + made.work
    return Share(
        tensor_parallel=1,
        utilization=0.0,
        sleep_level=0,
        offload=False,
        sequences=made.sequences,
        concurrency=made.sequences,
        generating_bytes=int(training.idle + whole + cache),
        stepping_bytes=int(training.upper),
        host_bytes=0,
        kept_bytes=int(training.idle),
    )


def colocated(made: Engine, training: Training, pinned: float | None, sleeps: tuple[bool, ...]) -> Share:
    """The share of an engine that lives on the training GPUs.

    Three arrangements are tried: both side by side; vLLM asleep while training steps; training's states on the host
    besides, while vLLM generates. The first whose KV cache holds every sequence is taken, else the one that holds
    most; when none fits, the one nearest to fitting. Host memory of unknown size is not used.
    """
    ways = [(False, False), (True, False)] + ([(True, True)] if training.host is not None else [])
    shares = [_colocated(made, training, pinned, *way) for way in ways if way[0] in sleeps]
    return best([share for share in shares if share.host_bytes <= (training.host or 0)], training.budget)


def best(shares: Sequence[Share], budget: float) -> Share:
    """Of those that fit, the first of those that generate most at once; else the one nearest to fitting."""
    fitting = [share for share in shares if share.peak_bytes <= budget and not share.starved]
    if fitting:
        return max(fitting, key=lambda share: share.concurrency / share.sequences)
    return min(shares, key=lambda share: (share.starved, share.peak_bytes))


def _colocated(made: Engine, training: Training, pinned: float | None, sleep: bool, offload: bool) -> Share:
    card = training.card
    beside = (training.parked if offload else training.idle) + GRAPHS
    room = training.budget - beside
    if not sleep:
        room = min(room, training.budget - GRAPHS - training.upper)
    # Never below what starts: a share too large for the card is refused, with its own numbers.
    utilization = pinned or max(_down(min(room, made.most + STEP * card) / card), _up(made.least / card))
    share = utilization * card
    host = training.gpus_per_node * (training.idle - training.parked) if offload else 0.0
    level, weights = 0, training.gpus_per_node * made.weights
    if sleep:
        level = 1 if training.host is not None and host + weights <= training.host else 2
        host += weights if level == 1 else 0.0
    return Share(
        made.tensor_parallel,
        utilization,
        sleep_level=level,
        offload=offload,
        sequences=made.sequences,
        concurrency=made.concurrency(share),
        generating_bytes=int(beside + share),
        stepping_bytes=int(training.upper + GRAPHS + (ASLEEP if sleep else share)),
        host_bytes=int(host),
        starved=share < made.least,
        kept_bytes=int(training.parked if offload else training.idle),
    )


def with_share(training: Memory, share: Share) -> Memory:
    """The memory of a step with generation on the same GPUs. A server has its own, and changes nothing."""
    if not share.stepping_bytes:
        return training
    beside = max(share.stepping_bytes - training.upper_bytes, 0)
    process, moment = training.process_bytes + beside, training.moment
    components = {**training.components, **({"vLLM": beside} if beside else {})}
    if share.generating_bytes > share.stepping_bytes:
        process, moment = share.generating_bytes, "generation"
        kept = share.kept_bytes
        components = {"generation": share.generating_bytes - kept, **({"training between steps": kept} if kept else {})}
    moments = {name: size + beside for name, size in training.moments.items()}
    return training._replace(
        process_bytes=process,
        upper_bytes=share.peak_bytes,
        held_bytes=max(training.held_bytes + beside, share.peak_bytes),
        moment=moment,
        components=components,
        moments={**moments, "generation": share.generating_bytes},
        host_bytes_per_node=training.host_bytes_per_node + share.host_bytes,
        save_host_bytes=training.save_host_bytes + share.host_bytes,
    )


def scored_share(strategy: Strategy) -> float:
    """The share of a sequence's tokens that get logits: answers only, where answers are generated."""
    return strategy.rollout.max_completion_length / strategy.max_length if strategy.rollout else 1.0


def trained_models(strategy: Strategy) -> int:
    """How many models train at once: PPO's policy and critic share a step, so both keep activations."""
    return 2 if strategy.rollout and strategy.rollout.critic else 1


def _down(share: float) -> float:
    return round(math.floor(max(share, 0.0) / STEP + 1e-9) * STEP, 2)


def _up(share: float) -> float:
    return round(math.ceil(share / STEP - 1e-9) * STEP, 2)
