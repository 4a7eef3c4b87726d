"""The moments of one training step, each affine in the micro-batch; the peak is the largest of them.

A phase lists what exists besides weights, optimizer state and buffers: activations and logits per sequence, fixed
scratch, and how many trained numbers have a gradient by then. Where gradients lie is the runtime's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mfc.catalog.architecture import Attention, Moe
from mfc.catalog.parameters import Adapter
from mfc.memory import blocks
from mfc.memory.activations import Inputs, Kept, kept, scratch
from mfc.memory.blocks import Where
from mfc.memory.loss import Head, logits_bytes
from mfc.memory.optimizers import Reach
from mfc.memory.shape import Layer, Shape, adapter_numbers


class Phase(NamedTuple):
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
class Group:
    """`count` equal layers; what one of them keeps and trains."""

    layer: Layer
    count: int
    adapters: tuple[Adapter, ...]
    kept: Kept
    trained: float  # numbers


class Course(NamedTuple):
    """What of a step does not depend on where states lie."""

    phases: tuple[Phase, ...]
    layer_trained: float  # trained numbers of the largest layer


def course(
    shape: Shape,
    adapters: tuple[tuple[Adapter, ...], ...],
    given: Inputs,
    head: Head,
    trained: int,
    copied: int,
    reach: Reach,
    accumulates: bool,
    varies: bool,
) -> Course:
    """Course of one step.

    `trained` are numbers, `copied` those of which autocast makes 16-bit copies, `reach` says in which layers, `varies`:
    batches differ in length.
    """
    formats, architecture, tokens = given.formats, given.architecture, given.tokens
    hidden = architecture.hidden
    full = formats.full
    partly = full and not reach.edges
    groups = _groups(shape, adapters, given, reach.layers)
    head_numbers = head.share * shape.head_rows if head.trains and not partly else 0.0
    edge = 0 if partly or not full else shape.embedding

    stream = formats.stream * hidden * tokens
    checkpoint = 0.0 if given.stack.checkpoint_offload else stream
    rope = 2 * formats.element * _rope_width(shape) * tokens
    per_layer = [checkpoint + _selective(g.layer, given) if given.checkpointing else g.kept.sequence for g in groups]
    per_layer_fixed = [0.0 if given.checkpointing else g.kept.fixed for g in groups]
    saved = sum(g.count * bytes_ for g, bytes_ in zip(groups, per_layer, strict=True)) + 16 * tokens + rope
    saved_fixed = sum(g.count * bytes_ for g, bytes_ in zip(groups, per_layer_fixed, strict=True))
    if not full and not given.checkpointing:
        saved -= (4 * hidden + 4) * tokens  # the frozen embedding's output needs no gradient
    if given.kernel in ("masked", "eager"):
        saved += given.length * tokens * (2 if given.kernel == "eager" else 1)

    _, backward, held = logits_bytes(given, head)
    logits = head.vocab * tokens
    final = (4 * hidden + 4 + ((4 if formats.stream == 4 else 2) * hidden + 2 * hidden if full else 0)) * tokens
    casts, cast_head = _casts(shape, given, copied, partly)
    layer_bytes = max((group.kept.sequence + scratch(group.layer, given) for group in groups), default=0.0)
    layer_fixed = max((group.kept.fixed for group in groups), default=0.0)
    stale = not (head.fused or given.stack.keeps_outputs or formats.logits == 4)
    free = blocks.free(
        blocks.Demand(
            layer=layer_bytes,
            layer_fixed=layer_fixed,
            logits=logits,
            stale=formats.logits * logits if stale else 0.0,
            loss=backward * logits,
            full=full,
            keeps_layers=not given.checkpointing,
            varies=varies,
        )
    )
    phases: list[Phase] = []

    def add(
        name: str, where: Where, activations: float, of_logits: float, fixed: float, done: float, live: float
    ) -> None:
        so_far = 0.0 if accumulates else done
        phases.append(Phase(name, where, activations, of_logits, fixed, so_far, live, *free[where]))

    last = _Saved(saved, saved_fixed, final, casts, cast_head)
    for name, activations, of_logits, fixed in _at_loss(shape, groups, given, head, last):
        add(name, "loss", activations, of_logits, fixed, 0, 0)
    done = 0.0
    if head.trains:
        width = formats.logits + held
        add(
            "head gradient",
            "loss",
            saved + final + formats.logits * hidden * tokens,
            0 if head.fused else width * logits,
            saved_fixed + cast_head,
            0,
            head_numbers,
        )
        done = head_numbers
    below, below_fixed = saved - 16 * tokens - rope, saved_fixed
    first, passed = True, 0
    for index in range(len(groups) - 1, -1, -1):
        group, numbers = groups[index], groups[index].trained * reach.share
        each, each_fixed = per_layer[index], per_layer_fixed[index]
        for position in ("top", "bottom") if group.count > 1 else ("top",):
            if position == "bottom":
                below -= each * (group.count - 2)
                below_fixed -= each_fixed * (group.count - 2)
                done += numbers * (group.count - 2)
                passed += group.count - 2
            below -= each
            below_fixed -= each_fixed
            rest = below + (checkpoint if given.checkpointing else 0.0) + 16 * tokens + rope
            if given.holds_streams and given.checkpointing:  # inputs are not freed either
                rest += (checkpoint + stream) * passed
            where = f"{position} layer"
            if first:  # recomputing starts while nothing of the layers is freed yet
                recomputed = rest + 24 * hidden * tokens + each
                add(f"{where}, first", "layers", recomputed, 0, below_fixed + each_fixed, done, 0)
                first = False
            for name, activations, fixed, live in _within(group, given, accumulates):
                add(f"{where}, {name}", "layers", rest + activations, 0, below_fixed + fixed, done, live)
            done += numbers
            passed += 1
            add(f"{where}, done", "layers", rest + 26 * hidden * tokens, 0, below_fixed, done, 0)
    if edge:
        tied = shape.embedding if architecture.tied and head.trains else 0
        add("embedding", "embedding", stream + 16 * tokens, 0, 0, trained, edge if accumulates else tied)
    add("optimizer step", "optimizer", 0, 0, 0, 0, 0)
    return Course(tuple(phases), max((group.trained for group in groups), default=0.0))


class _Saved(NamedTuple):
    """What lies there when the forward pass ends. Bytes, of one sequence or fixed."""

    sequence: float  # what the layers keep
    fixed: float
    final: float  # of one sequence: the last norm and the gradient of its output
    casts: float  # 16-bit copies until the forward pass ends
    cast_head: float  # and until the head's backward


def _at_loss(
    shape: Shape, groups: list[Group], given: Inputs, head: Head, saved: _Saved
) -> Iterator[tuple[str, float, float, float]]:
    """(name, bytes per sequence, bytes of logits per sequence, fixed bytes) of the moments around the loss."""
    stack, logits, passing = given.stack, head.vocab * given.tokens, 8 * given.architecture.hidden * given.tokens
    forward, backward, _ = logits_bytes(given, head)
    last = 0.0
    if stack.keeps_loss and not given.checkpointing:  # the last step's graph, of which only these inputs are left
        last = sum(group.count * group.kept.inputs for group in groups)
    if stack.kbit_everything and given.kbit:  # the head as fp16 and as bf16, beside the last logits and the new
        matrices = saved.fixed + 4.0 * shape.head_rows
        yield "head forward", saved.sequence + last, (6.0 if stack.keeps_loss else 2.0) * logits, matrices
        yield "head backward", saved.sequence + saved.final, 6.0 * logits, matrices
    yield "loss forward", saved.sequence + last + passing, forward * logits, saved.fixed + saved.casts
    if head.preference is not None and head.preference.reference and not head.fused:
        # No layer's passing tensors come near the logits that it ends with; the policy's own are part of the moment.
        of_logits = (head.preference.reference + (2.0 if given.architecture.logit_softcap else 0.0)) * logits
        fixed = saved.fixed + (saved.casts if stack.preferences.within_autocast else saved.cast_head)
        fixed += head.preference.chunk * head.vocab
        cache = _cache(shape, given.formats.element) * given.tokens if stack.preferences.reference_cache else 0.0
        yield "reference", saved.sequence + passing + cache, of_logits, fixed
    yield "loss backward", saved.sequence + saved.final, backward * logits, saved.fixed + saved.cast_head


def _groups(shape: Shape, adapters: tuple[tuple[Adapter, ...], ...], given: Inputs, trained_layers: int) -> list[Group]:
    """The layers from which gradients flow, bottom to top."""
    groups = []
    skip = shape.depth - trained_layers
    for layer, chosen in zip(shape.layers, adapters, strict=True):
        count = layer.count - min(layer.count, skip)
        skip -= layer.count - count
        if not count:
            continue
        trained = 0
        if given.formats.full:
            trained = layer.parameters
        elif given.lora is not None:
            trained = adapter_numbers(chosen, given.lora, layer.count)
        groups.append(Group(layer, count, chosen, kept(shape, layer, chosen, given), float(trained)))
    return groups


def _casts(shape: Shape, given: Inputs, trained: int, partly: bool) -> tuple[float, float]:
    """Bytes of 16-bit copies of fp32 weights under autocast: (until forward ends, until the head's backward).

    Autocast keeps the copies of what trains; without checkpointing each layer counts its own. Where the last layers
    train (`partly`), the others and the head are in 16 bits already.
    """
    formats = given.formats
    if not formats.autocast:
        return 0.0, 0.0
    if partly:
        return (2.0 * trained if formats.trained == 4 and given.checkpointing else 0.0), 0.0
    head = 2.0 * shape.head_rows if formats.fp32_autocast or formats.weights == 4 else 0.0
    if not given.checkpointing:
        return head, head
    if formats.fp32_autocast:
        return 2.0 * (shape.parameters - (0 if given.architecture.tied else shape.embedding)), head
    return head + (2.0 * trained if formats.adapters and formats.trained == 4 else 0.0), head


def _within(group: Group, given: Inputs, accumulates: bool) -> list[tuple[str, float, float, float]]:
    """(name, bytes per sequence, fixed bytes, gradients in the making) of the moments inside one layer's backward."""
    layer, k = group.layer, group.kept
    hidden, tokens, ffn = given.architecture.hidden, given.tokens, layer.block.ffn
    attention = layer.block.attention
    matrix = 2.0 * layer.largest_linear if given.kbit or given.dequantised else 0.0  # one dequantised matrix
    if given.stack.kbit_everything:
        matrix *= 2
    moments = [("busy", k.sequence + scratch(layer, given), k.fixed + matrix, 0.0)]
    ffn_numbers = 0.0
    if given.formats.full:  # gradients that are being accumulated into exist already: one fresh one at a time
        one = 2 * ffn.experts * hidden * ffn.width if isinstance(ffn, Moe) else hidden * ffn.width
        ffn_numbers = float(one if accumulates else layer.ffn_parameters)
    if given.formats.full:
        middle = (
            (4 * hidden + 4 * ffn.per_token * ffn.width) + 2 * hidden * ffn.per_token
            if isinstance(ffn, Moe)
            else 6 * hidden
        )
        activations = k.attention + (8.0 * hidden * layer.block.norms + middle) * tokens
        moments.append(("feed-forward gradients", activations, k.fixed, ffn_numbers))
    if given.kernel == "eager" or attention.softcap:
        # softmax backward: gradient, their product and the result in fp32; a 16-bit copy of what was saved is gone
        scores = (12.0 if given.formats.element == 4 else 10.0) * attention.heads * given.length * tokens
        moments.append(("attention scores", k.attention + scores + 6 * hidden * tokens, k.fixed, ffn_numbers))
    if isinstance(ffn, Moe) and any(adapter.linear.fused_expert for adapter in group.adapters):
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
    return given.formats.element * (attention.out_width + outputs / 2) * given.tokens


def _cache(shape: Shape, element: int) -> float:
    """Bytes of keys and values per token, all layers."""
    attentions = [(layer.block.attention, layer.count) for layer in shape.layers]
    return sum(2.0 * element * attention.kv_width * count for attention, count in attentions)


def _rope_width(shape: Shape) -> int:
    attention = shape.layers[0].block.attention
    return attention.rope_dim or attention.head_dim
