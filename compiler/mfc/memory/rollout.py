"""Memory of rollouts: what vLLM takes of a card, and what training leaves for it.

A colocated vLLM reserves a share of the whole card, weights included, and takes it at its start. A step has three
moments: weights are handed over, answers are generated, training steps. Without sleep mode the share lies beside all of
them; with it, vLLM leaves the card while training steps, and only its weights are awake when they are handed over.
Sources: vLLM gpu_worker.py, its sleep mode documentation, and the order of trainers that park their states
(docs/rollout-model.md, "One step").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.memory.costs import Between
from mfc.memory.engine import Engine
from mfc.memory.model import Memory
from mfc.memory.stack import HandOver, Stack
from mfc.runtimes.deepspeed import POWER_OF_TWO_MEAN

GIB = 1 << 30
SERVER_UTILIZATION = 0.9  # vLLM's own default, right for a card that it has to itself
STEP = 0.01  # utilizations are chosen in steps of this
# Outside the share: CUDA graphs are captured after the KV cache has been sized. vLLM logs 0.4 to 0.7 GiB: assumption.
GRAPHS = GIB // 2
# What a sleeping engine keeps beside its graphs: workspaces and communicators. vLLM logs about 1 GiB: assumption.
ASLEEP = GIB
ANY = HandOver()  # of a trainer that can do all that there is


class Training(NamedTuple):
    """What training takes of one card: upper bounds in bytes."""

    upper: float  # peak of a step
    between: Between
    gpus_per_node: int
    budget: float  # bytes that may be used
    card: float  # bytes of the whole card, of which vLLM's utilization is a share
    host: float | None = None  # bytes of a node's RAM that are free beside training; None = unknown


@dataclass(frozen=True, slots=True)
class Share:
    """How generation and training share the cards. Bytes are bounds on one GPU, both processes together."""

    tensor_parallel: int
    utilization: float  # 0 = no vLLM, or one on other hardware
    sleep_level: int  # 0: vLLM stays; 1: its weights wait in host memory; 2: they are dropped and sent again
    offload: bool  # training's weights and optimizer wait in host memory while answers are generated
    sequences: int  # that one engine generates in an optimizer step
    concurrency: int  # sequences at a time, each at its longest
    generating_bytes: int
    stepping_bytes: int  # 0 = training is on other cards
    host_bytes: int  # of a node, beside training's
    starved: bool = False  # vLLM does not start: no room for the KV cache of one longest sequence
    kept_bytes: int = 0  # training's part of `generating_bytes`
    handing_bytes: int = 0  # while weights go to vLLM, on a card that trains
    gathered_bytes: int = 0  # of these, whole weights on their way

    @property
    def peak_bytes(self) -> int:
        """The largest of the moments."""
        return max(self.generating_bytes, self.handing_bytes, self.stepping_bytes)


@lru_cache(maxsize=512)
def served(made: Engine, training: Training, pinned: float | None, bucket: int) -> Share:
    """A server's share of cards of its own, equal to those that train, to which `bucket` bytes are sent at a time."""
    utilization = pinned or SERVER_UTILIZATION
    share = utilization * training.card
    between = training.between
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
        handing_bytes=int(between.idle + between.gathered + bucket),
        gathered_bytes=int(between.gathered + bucket),
    )


def elsewhere(training: Training, sequences: int, bucket: int) -> Share:
    """A server on hardware that the spec does not describe: training holds what it sends, no more is known."""
    between = training.between
    return Share(
        tensor_parallel=1,
        utilization=0.0,
        sleep_level=0,
        offload=False,
        sequences=sequences,
        concurrency=sequences,
        generating_bytes=0,
        stepping_bytes=0,
        host_bytes=0,
        handing_bytes=int(between.idle + between.gathered + bucket),
        gathered_bytes=int(between.gathered + bucket),
    )


def native(made: Engine, training: Training, scored: float = 0.0) -> Share:
    """Generation by the trainer itself: its weights, gathered as its sharding gathers them, and a KV cache.

    `scored`: bytes that the answers take afterwards, while they are scored all at once (`scoring`).
    """
    idle = training.between.idle
    cache = max(made.kv_token * made.length * made.sequences + made.work, scored)
    return Share(
        tensor_parallel=1,
        utilization=0.0,
        sleep_level=0,
        offload=False,
        sequences=made.sequences,
        concurrency=made.sequences,
        generating_bytes=int(idle + training.between.whole + cache),
        stepping_bytes=int(training.upper),
        host_bytes=0,
        kept_bytes=int(idle),
    )


def scoring(architecture: Architecture, stack: Stack, length: int, sequences: int) -> float:
    """Bytes of all answers of a generation while they are scored at once in fp32: logits, or a layer's scores."""
    if not stack.scores_at_once:
        return 0.0
    heads = max(block.attention.heads for _, block in architecture.blocks)
    scores = 8.0 * heads * length if "ppo" in stack.eager_tasks else 0.0  # those of a layer, and their softmax
    return max(stack.scores_at_once * architecture.vocab, scores) * length * sequences


def colocated(
    made: Engine,
    training: Training,
    pinned: float | None,
    sleeps: tuple[bool, ...],
    drops: bool = True,
    hand_over: HandOver = ANY,
) -> Share:
    """The share of an engine that lives on the training GPUs.

    Three arrangements are tried: both side by side; vLLM asleep while training steps; training's states on the host
    besides, while vLLM generates. The first whose KV cache holds every sequence is taken, else the one that holds
    most; when none fits, the one nearest to fitting. Host memory of unknown size is not used, but for weights that a
    sleeping vLLM cannot drop (`drops`) because it could not be sent them anew. `hand_over`: what of it the trainer can.
    """
    parks = training.host is not None and hand_over.parks
    ways = [(False, False), (True, False)] + ([(True, True)] if parks else [])
    always = drops and hand_over.always_drops
    shares = [_colocated(made, training, pinned, *way, drops, always) for way in ways if way[0] in sleeps]
    room = math.inf if training.host is None else training.host
    return best([share for share in shares if share.host_bytes <= room] or shares, training.budget)


def best(shares: Sequence[Share], budget: float) -> Share:
    """Of those that fit, the first of those that generate most at once; else the one nearest to fitting."""
    fitting = [share for share in shares if share.peak_bytes <= budget and not share.starved]
    if fitting:
        return max(fitting, key=lambda share: share.concurrency / share.sequences)
    return min(shares, key=lambda share: (share.starved, share.peak_bytes))


def _colocated(
    made: Engine, training: Training, pinned: float | None, sleep: bool, offload: bool, drops: bool, always: bool
) -> Share:
    card, between = training.card, training.between
    kept = between.parked if offload else between.idle
    room = training.budget - GRAPHS - kept
    if not sleep:
        room = min(room, training.budget - GRAPHS - max(training.upper, between.idle + between.gathered))
    # Never below what starts: a share too large for the card is refused, with its own numbers.
    utilization = pinned or max(_down(min(room, made.most + STEP * card) / card), _up(made.least / card))
    share = utilization * card
    host = training.gpus_per_node * between.host if offload else 0.0
    level, weights = 0, training.gpus_per_node * made.weights * POWER_OF_TWO_MEAN  # vLLM cumem.py: pinned
    if sleep:
        stay = training.host is not None and host + weights <= training.host and not always
        level = 1 if stay or not drops else 2
        host += weights if level == 1 else 0.0
    # Weights are handed over while training's own are all there, whatever waits on the host later.
    handing = between.idle + between.gathered + GRAPHS + (made.weights if sleep else share)
    return Share(
        made.tensor_parallel,
        utilization,
        sleep_level=level,
        offload=offload,
        sequences=made.sequences,
        concurrency=made.concurrency(share),
        generating_bytes=int(kept + GRAPHS + share),
        stepping_bytes=int(
            training.upper + GRAPHS + (ASLEEP if sleep else share) + (between.twice if offload else 0.0)
        ),
        host_bytes=int(host),
        starved=share < made.least,
        kept_bytes=int(kept),
        handing_bytes=int(handing),
        gathered_bytes=int(between.gathered),
    )


def with_share(training: Memory, share: Share) -> Memory:
    """The memory of a step with its rollouts: the moments of a card that trains."""
    if not share.stepping_bytes:  # vLLM has other cards
        return _largest(training, share, {"hand-over": share.handing_bytes}, training.upper_bytes)
    beside = max(share.stepping_bytes - training.upper_bytes, 0)
    made = training._replace(
        process_bytes=training.process_bytes + beside,
        components={**training.components, **({"vLLM": beside} if beside else {})},
        held_bytes=training.held_bytes + beside,
        moments={name: size + beside for name, size in training.moments.items()},
        host_bytes_per_node=training.host_bytes_per_node + share.host_bytes,
        save_host_bytes=training.save_host_bytes + share.host_bytes,
    )
    moments = {"generation": share.generating_bytes}
    if share.handing_bytes:
        moments["hand-over"] = share.handing_bytes
    return _largest(made, share, moments, share.stepping_bytes)


def _largest(made: Memory, share: Share, moments: dict[str, int], stepping: int) -> Memory:
    """The memory with further moments, of which the largest is the peak where it is above that of a step."""
    upper = max(stepping, *moments.values())
    made = made._replace(moments={**made.moments, **moments}, upper_bytes=upper, held_bytes=max(made.held_bytes, upper))
    name = max(moments, key=lambda each: moments[each])
    if moments[name] <= stepping:
        return made
    kept = share.kept_bytes
    if name == "generation":
        parts = {"generation": moments[name] - kept, "training between steps": kept}
    else:
        parts = {"gathered": share.gathered_bytes, "between steps": moments[name] - share.gathered_bytes}
    components = {part: size for part, size in parts.items() if size}
    return made._replace(process_bytes=moments[name], moment=name, components=components)


def _down(share: float) -> float:
    return round(math.floor(max(share, 0.0) / STEP + 1e-9) * STEP, 2)


def _up(share: float) -> float:
    return round(math.ceil(share / STEP - 1e-9) * STEP, 2)
