"""The moments of one training step, each affine in the micro-batch; the peak is the largest of them.

A phase lists what exists besides weights, optimizer state and buffers: activations and logits per sequence, fixed
scratch, and how many trained numbers have a gradient by then. Where gradients lie is the runtime's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mfc.catalog.architecture import Attention, Moe
from mfc.catalog.parameters import Adapter
from mfc.memory.activations import Inputs, Kept, kept, scratch
from mfc.memory.shape import Layer, Shape, adapter_numbers

Where = Literal["forward", "loss", "layers", "embedding", "optimizer"]


# Free blocks that the allocator cannot reuse, as shares of what one layer takes while it runs, or bytes per token and
# vocabulary row. Fitted to the caching allocator replayed over 310 traced steps: with checkpointing and adapters 0.56
# to 1.04 (tenth to ninetieth percentile) of a layer is cached while the loss peaks, without 0.4 to 2.1.
CACHED_LAYER = 0.75
CACHED_LAYER_SAVED = 1.3
CACHED_BUSY = 0.5
CACHED_LOGITS = 4.0
# Batches of changing length leave blocks of every length behind. The allocator replayed over 300 to 900 steps of random
# lengths outgrows its steady state by 1.4 to 5.6 times the logits of the longest batch (median 2.1, mean 2.7), and by
# about one layer (benchmarks/replay.py).
GROWN_LOGITS = 2.4
GROWN_LAYER = 1.2


@dataclass(frozen=True, slots=True)
class Phase:
    """One moment: bytes of activations and logits per sequence, fixed scratch, gradients finished and in the making."""

    name: str
    where: Where
    activations: float
    logits: float
    scratch: float
    done: float  # trained numbers whose gradients are finished
    live: float  # trained numbers whose gradients are being made, whole
    cached: float  # per sequence: free blocks that the allocator holds and this moment cannot use
    cached_fixed: float


@dataclass(frozen=True, slots=True)
class Head:
    """The last linear and the loss."""

    vocab: int  # 0 for tasks without logits
    trains: bool
    fused: bool  # the head and the loss run in chunks
    chunked_logits: bool  # only the loss runs in chunks, logits exist whole
    unscored: bool = False  # logits are made and upcast, and no loss takes them


@dataclass(frozen=True, slots=True)
class Profile:
    """What of a step does not depend on where states lie."""

    phases: tuple[Phase, ...]
    layer_trained: float  # trained numbers of the largest layer


def logits_bytes(given: Inputs, head: Head) -> tuple[float, float, float]:
    """(forward, backward, held while layers run backward) bytes per token and vocabulary row."""
    recipe, stack = given.recipe, given.stack
    width = recipe.logits
    cap = 2.0 if given.architecture.logit_softcap else 0.0
    if head.fused:
        return 0.0, 0.0, 0.0
    if head.unscored:
        return (4.0 if width == 4 else width + 4.0) + cap, 0.0, 0.0
    if (
        head.chunked_logits
    ):  # whole logits, the fp32 log-softmax that each chunk saves; backward, an fp32 gradient as well
        return width + 4.0 + cap, width + 8.0 + cap, 0.0
    if width == 4:
        forward, backward = 8.0, 12.0
    elif stack.logits_fp32_copy:
        forward, backward = width + 8.0, 12.0
    else:
        forward, backward = 2.0 * width, 3.0 * width
    held = 0.0
    if stack.keeps_outputs:
        held = 4.0 if recipe.autocast or width == 4 or stack.logits_shift_copy else float(width)
    if stack.logits_shift_copy and width == 2 and stack.logits_fp32_copy:
        forward = 12.0  # fp32 logits, their shifted copy, log-softmax
    return forward + cap, backward + held + cap, held + cap


def profile(
    shape: Shape,
    adapters: tuple[tuple[Adapter, ...], ...],
    given: Inputs,
    head: Head,
    trained: int,
    trained_layers: int,
    accumulates: bool,
    varies: bool,
) -> Profile:
    """Phases of one step.

    `trained` are numbers, `trained_layers` counts layers from the top, `varies`: batches differ in length.
    """
    recipe, architecture, tokens = given.recipe, given.architecture, given.tokens
    hidden = architecture.hidden
    full = recipe.full
    partly = full and trained_layers < shape.depth
    groups: list[
        tuple[Layer, int, tuple[Adapter, ...], Kept, float]
    ] = []  # bottom to top; count, adapters, trained numbers
    skip = shape.depth - trained_layers
    for layer, chosen in zip(shape.layers, adapters, strict=True):
        count = layer.count - min(layer.count, skip)
        skip -= layer.count - count
        if not count:
            continue
        owned = layer.parameters if full else adapter_numbers(chosen, given.lora, layer.count) if given.lora else 0
        groups.append((layer, count, chosen, kept(shape, layer, chosen, given), float(owned)))
    head_numbers = shape.head_rows if head.trains and not partly else 0
    edge = 0 if partly or not full else shape.embedding

    stream = recipe.stream * hidden * tokens
    checkpoint = 0.0 if given.stack.checkpoint_offload else stream
    rope = 2 * recipe.element * _rope_width(shape) * tokens
    per_layer = [
        checkpoint + _selective(layer, given) if given.checkpointing else k.sequence for layer, _, _, k, _ in groups
    ]
    per_layer_fixed = [0.0 if given.checkpointing else k.fixed for _, _, _, k, _ in groups]
    saved = sum(n * bytes_ for (_, n, _, _, _), bytes_ in zip(groups, per_layer, strict=True)) + 16 * tokens + rope
    saved_fixed = sum(n * bytes_ for (_, n, _, _, _), bytes_ in zip(groups, per_layer_fixed, strict=True))
    if not full and not given.checkpointing:
        saved -= (4 * hidden + 4) * tokens  # the frozen embedding's output needs no gradient
    if given.kernel in ("masked", "eager"):
        saved += given.length * tokens * (2 if given.kernel == "eager" else 1)

    forward, backward, held = logits_bytes(given, head)
    logits = head.vocab * tokens
    final = (4 * hidden + 4 + ((4 if recipe.stream == 4 else 2) * hidden + 2 * hidden if full else 0)) * tokens
    # Under fp32 autocast 16-bit copies of all linear weights live until forward ends, the head's until its backward.
    casts = cast_head = 0.0
    if recipe.fp32_autocast:
        cast_head = 2.0 * shape.head_rows
        casts = cast_head
        if given.checkpointing and full:  # autocast keeps copies only of what trains
            casts = 2.0 * (shape.parameters - (0 if architecture.tied else shape.embedding))
    elif recipe.autocast and recipe.weights == 4:  # an fp32 head beside quantised layers is cast as well
        cast_head = casts = 2.0 * shape.head_rows
    if recipe.autocast and recipe.adapters and recipe.trained == 4 and given.checkpointing:
        casts += 2.0 * trained
    phases: list[Phase] = []
    # What one layer takes while it runs, kept or passing: freed before the loss, in blocks too small for logits.
    layer_bytes = max((k.sequence + scratch(layer, given) for layer, _, _, k, _ in groups), default=0.0)
    layer_fixed = max((k.fixed for _, _, _, k, _ in groups), default=0.0)
    stale = 0.0 if head.fused or given.stack.keeps_outputs or recipe.logits == 4 else recipe.logits * logits
    share = CACHED_LAYER if given.checkpointing and not full else CACHED_LAYER_SAVED
    own = stale + share * layer_bytes
    after = (CACHED_LOGITS * logits if forward else 0.0) + CACHED_BUSY * layer_bytes
    if varies:
        own += GROWN_LOGITS * backward * logits + GROWN_LAYER * layer_bytes
    cached = {
        "loss": (own, share * layer_fixed),
        "layers": (max(stale + CACHED_BUSY * layer_bytes, own - backward * logits), CACHED_BUSY * layer_fixed),
        "embedding": (max(after, own - backward * logits), 0.0),
        "optimizer": (max(after if full else 0.0, own - backward * logits), 0.0),
    }

    def add(
        name: str, where: Where, activations: float, of_logits: float, fixed: float, done: float, live: float
    ) -> None:
        so_far = 0.0 if accumulates else done
        phases.append(Phase(name, where, activations, of_logits, fixed, so_far, live, *cached[where]))

    add("loss forward", "loss", saved + 8 * hidden * tokens, forward * logits, saved_fixed + casts, 0, 0)
    add("loss backward", "loss", saved + final, backward * logits, saved_fixed + cast_head, 0, 0)
    done = 0.0
    if head.trains:
        width = recipe.logits + held
        add(
            "head gradient",
            "loss",
            saved + final + recipe.logits * hidden * tokens,
            0 if head.fused else width * logits,
            saved_fixed + cast_head,
            0,
            head_numbers,
        )
        done = float(head_numbers)
    below, below_fixed = saved - 16 * tokens - rope, saved_fixed
    first = True
    for index in range(len(groups) - 1, -1, -1):
        layer, repeat, chosen, k, numbers = groups[index]
        each, each_fixed = per_layer[index], per_layer_fixed[index]
        for position in ("top", "bottom") if repeat > 1 else ("top",):
            if position == "bottom":
                below -= each * (repeat - 2)
                below_fixed -= each_fixed * (repeat - 2)
                done += numbers * (repeat - 2)
            below -= each
            below_fixed -= each_fixed
            rest = below + (checkpoint if given.checkpointing else 0.0) + 16 * tokens + rope
            where = f"{position} layer"
            if first:  # recomputing starts while nothing of the layers is freed yet
                recomputed = rest + 24 * hidden * tokens + each
                add(f"{where}, first", "layers", recomputed, 0, below_fixed + each_fixed, done, 0)
                first = False
            for name, activations, fixed, live in _within(layer, chosen, given, k, accumulates):
                add(f"{where}, {name}", "layers", rest + activations, 0, below_fixed + fixed, done, live)
            done += numbers
            add(f"{where}, done", "layers", rest + 26 * hidden * tokens, 0, below_fixed, done, 0)
    if edge:
        tied = shape.embedding if architecture.tied and head.trains else 0
        add("embedding", "embedding", stream + 16 * tokens, 0, 0, trained, edge if accumulates else tied)
    add("optimizer step", "optimizer", 0, 0, 0, 0, 0)
    largest = max((numbers for *_, numbers in groups), default=0.0)
    return Profile(tuple(phases), largest)


def _within(
    layer: Layer, chosen: tuple[Adapter, ...], given: Inputs, k: Kept, accumulates: bool
) -> list[tuple[str, float, float, float]]:
    """(name, bytes per sequence, fixed bytes, gradients in the making) of the moments inside one layer's backward."""
    hidden, tokens, ffn = given.architecture.hidden, given.tokens, layer.block.ffn
    attention = layer.block.attention
    matrix = 2.0 * layer.largest_linear if given.kbit or given.dequantised else 0.0  # one dequantised matrix
    moments = [("busy", k.sequence + scratch(layer, given), k.fixed + matrix, 0.0)]
    ffn_numbers = 0.0
    if given.recipe.full:  # gradients that are being accumulated into exist already: one fresh one at a time
        one = 2 * ffn.experts * hidden * ffn.width if isinstance(ffn, Moe) else hidden * ffn.width
        ffn_numbers = float(one if accumulates else layer.ffn_parameters)
    if given.recipe.full:
        middle = (
            (4 * hidden + 4 * ffn.per_token * ffn.width) + 2 * hidden * ffn.per_token
            if isinstance(ffn, Moe)
            else 6 * hidden
        )
        activations = k.attention + (8.0 * hidden * layer.block.norms + middle) * tokens
        moments.append(("feed-forward gradients", activations, k.fixed, ffn_numbers))
    if given.kernel == "eager" or attention.softcap:  # softmax backward: two more score matrices beside the saved one
        scores = 6.0 * attention.heads * given.length * tokens
        moments.append(("attention scores", k.attention + scores + 6 * hidden * tokens, k.fixed, ffn_numbers))
    if isinstance(ffn, Moe) and any(adapter.linear.fused_expert for adapter in chosen):
        merged = 2.0 * ffn.experts * hidden * ffn.width
        width = ffn.width * ffn.per_token * tokens
        moments.append(("merged experts", k.sequence + 2 * width, k.fixed + merged, 0.0))
        moments.append(("merged experts' gradient", k.attention + 6 * width, k.fixed + merged, 0.0))
    return moments


def _selective(layer: Layer, given: Inputs) -> float:
    """Selective checkpointing keeps attention outputs and every second matrix product (torchtitan's default)."""
    if given.stack.checkpoint != "selective":
        return 0.0
    attention: Attention = layer.block.attention
    outputs = sum(linear.out_features for linear in layer.linears)
    return given.recipe.element * (attention.out_width + outputs / 2) * given.tokens


def _rope_width(shape: Shape) -> int:
    attention = shape.layers[0].block.attention
    return attention.rope_dim or attention.head_dim
