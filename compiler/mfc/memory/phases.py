"""The moments of one training step, each affine in the micro-batch; the peak is the largest of them.

A phase lists what exists besides weights, optimizer state and buffers: activations and logits per sequence, fixed
scratch, and how many trained numbers have a gradient by then. Where gradients lie is the runtime's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mfc.catalog.architecture import Mlp, Moe
from mfc.memory import blocks
from mfc.memory.blocks import Free, Where
from mfc.memory.forward import Group, Saved, saved
from mfc.memory.inputs import Inputs, Loop, Sight, Trains
from mfc.memory.loss import Head, Logits, logits_bytes, tiled
from mfc.memory.running import Running, scoring
from mfc.memory.shape import Layer, Shape, shape
from mfc.memory.tower import Seen, seen


class Phase(NamedTuple):
    """One moment: bytes of activations and logits per sequence, fixed scratch, gradients finished and in the making."""

    name: str
    where: Where
    activations: float = 0.0
    logits: float = 0.0
    scratch: float = 0.0
    done: float = 0.0  # trained numbers whose gradients are finished, none where they are added to older ones
    live: float = 0.0  # trained numbers whose gradients are being made, whole

    def plus(self, name: str, activations: float, scratch: float = 0.0, live: float = 0.0) -> Phase:
        """A moment within this one, at which more is alive."""
        return Phase(
            f"{self.name}, {name}",
            self.where,
            self.activations + activations,
            self.logits,
            self.scratch + scratch,
            self.done,
            self.live + live,
        )


class Course(NamedTuple):
    """A step, as far as it does not depend on where states lie."""

    phases: tuple[Phase, ...]
    free: Mapping[Where, Free]  # blocks that the allocator holds and such a moment cannot use
    layer_trained: float  # trained numbers of the largest layer
    offloaded: float = 0.0  # bytes of host memory per sequence: layer inputs that checkpointing keeps there


def course(given: Inputs, head: Head, trains: Trains, loop: Loop, sight: Sight | None = None) -> Course:
    """The course of one step, its phases in order; `sight` where samples hold pictures."""
    model = shape(given.architecture, given.stack.fused_experts)
    pictures = seen(sight) if sight else None
    left = saved(model, given, trains, bool(sight and (sight.graph or sight.trains)))
    if pictures:
        left = left._replace(batch=left.batch + pictures.pixels + pictures.kept)
    logits = logits_bytes(given, head)
    edges = given.formats.full and trains.reach.edges  # the embedding trains
    of_head = head.share * model.head_rows if head.trains and (edges or given.formats.adapters) else 0.0
    phases = [_sees(left, pictures)] if pictures else []
    phases += _loss(model, given, head, left, logits)
    if head.trains:
        phases.append(_head(model, given, head, left, logits, of_head))
    phases += _layers(given, trains, loop, left, done=0.0 if loop.accumulates else of_head)
    if edges:
        phases.append(_embedding(model, given, head, trains, loop, left))
    if pictures:
        phases += _tower(pictures, given, trains, loop)
    phases.append(Phase("optimizer step", "optimizer"))
    edge = float(given.formats.gradient * model.embedding) if edges else 0.0
    free = blocks.free(_demand(given, head, loop, left, logits, edge))
    offloaded = (
        sum(group.size for group in left.groups) * given.stream if given.offloads and given.checkpointing else 0.0
    )
    return Course(tuple(phases), free, max((group.trained for group in left.groups), default=0.0), offloaded)


def _loss(model: Shape, given: Inputs, head: Head, left: Saved, logits: Logits) -> Iterator[Phase]:
    """The head's forward pass and the loss."""
    stack, vocab = given.stack, head.vocab * given.tokens
    passing = 8 * given.architecture.hidden * given.tokens
    last = 0.0
    if stack.keeps_loss and not given.checkpointing:  # the last step's graph, of which only these inputs are left
        last = sum(group.size * group.kept.inputs for group in left.groups)
    if stack.kbit_everything and given.kbit:  # the head as fp16 and as bf16, beside the last logits and the new
        matrices = left.fixed + 4.0 * model.head_rows
        held = 6.0 if stack.keeps_loss else 2.0
        yield Phase("head forward", "loss", left.sequence + last, held * vocab, matrices)
        yield Phase("head backward", "loss", left.sequence + left.final, 6.0 * vocab, matrices)
    yield Phase("head gathered", "gather", left.sequence + last, scratch=left.fixed + left.casts)
    forward = left.sequence + last + passing
    runs = left.groups[-1].running if left.groups else Running()
    if runs.sequence and not given.checkpointing:
        yield Phase("top layer forward", "loss", left.sequence + last + runs.sequence, 0.0, left.fixed + runs.fixed)
    tiles = tiled(given, head, model.head_rows)
    fixed = left.fixed + left.casts + tiles.tile
    yield Phase("loss forward", "loss", forward + tiles.hidden, logits.forward * vocab, fixed)
    if head.preference is not None and head.preference.reference:
        yield from _reference(model, given, head, left, passing)
    fixed = left.fixed + left.cast_head + tiles.tile
    backward = left.sequence + left.final + tiles.hidden + tiles.gradient
    if head.preference is not None and head.preference.made and not head.fused:
        made = head.preference.made * vocab
        yield Phase("comparison forward", "loss", left.sequence + left.final, made, fixed)
    yield Phase("loss backward", "loss", backward, logits.backward * vocab, fixed)


def _reference(model: Shape, given: Inputs, head: Head, left: Saved, passing: float) -> Iterator[Phase]:
    """The reference scores the same tokens while the policy's graph waits: one of its layers, then its head."""
    moments, preferences = head.preference, given.stack.preferences
    assert moments is not None
    cache = 0.0
    if preferences.reference_cache:
        attentions = [(layer.block.attention, layer.size) for layer in model.layers]
        cache = sum(2.0 * given.formats.element * each.kv_width * count for each, count in attentions) * given.tokens
    busiest = max(model.layers, key=lambda layer: scoring(layer, given))
    activations = left.sequence + passing + cache
    held = activations + tiled(given, head, model.head_rows).hidden + scoring(busiest, given)
    yield Phase("reference's layers", "loss", held, scratch=left.fixed + left.casts + _dequantised(busiest, given))
    if head.fused:  # it passes its head as the policy does
        tile = tiled(given, head, model.head_rows).tile
        yield Phase("reference", "loss", activations, scratch=left.fixed + left.casts + tile)
        return
    width = moments.reference + (2.0 if given.architecture.logit_softcap else 0.0)
    casts = left.casts if preferences.within_autocast else left.cast_head
    yield Phase(
        "reference",
        "loss",
        activations=activations,
        logits=width * head.vocab * given.tokens,
        scratch=left.fixed + casts + moments.chunk * head.vocab,
    )


def _head(model: Shape, given: Inputs, head: Head, left: Saved, logits: Logits, trained: float) -> Phase:
    """The gradients of the head's weight and of its input, from 16-bit gradients of the logits."""
    width, tiles = given.formats.logits, tiled(given, head, model.head_rows)
    own = width * given.architecture.hidden * given.tokens + tiles.hidden + tiles.gradient
    return Phase(
        "head gradient",
        "loss",
        activations=left.sequence + left.final + own,
        logits=0.0 if head.fused else (width + logits.held) * head.vocab * given.tokens,
        scratch=left.fixed + left.cast_head + tiles.tile + tiles.weight,
        live=trained,
    )


def _layers(given: Inputs, trains: Trains, loop: Loop, left: Saved, done: float) -> Iterator[Phase]:
    """The layers' backward pass, from the top. Of equal layers the first and the last of them are looked at."""
    below, below_fixed, passed = left.layers, left.fixed, 0
    token = given.architecture.hidden * given.tokens
    for group in reversed(left.groups):
        trained = 0.0 if loop.accumulates else group.trained * trains.reach.share
        looks = [("top", 0), ("bottom", group.size - 2)] if group.size > 1 else [("top", 0)]
        for position, between in looks:
            below -= group.waits * (between + 1)
            below_fixed -= group.waits_fixed * (between + 1)
            done += trained * between
            passed += between
            beside = below + left.checkpoint + left.batch + left.rotary
            if given.holds_streams and given.checkpointing:  # inputs are not freed either
                beside += (given.stream if given.offloads else 2 * given.stream) * passed
            at = Phase(f"{position} layer", "layers", beside, scratch=below_fixed, done=done)
            if not passed and given.checkpointing:  # running again starts while nothing of the layers is freed yet
                yield at.plus("first", 24 * token + group.waits, group.waits_fixed)
            yield from _layer(at, group, given, loop)
            done += trained
            passed += 1
            yield at._replace(done=done).plus("done", 26 * token)


def _layer(at: Phase, group: Group, given: Inputs, loop: Loop) -> Iterator[Phase]:
    """The moments inside one layer's backward pass. `at` is what is alive beside the layer."""
    layer, k, tokens = group.layer, group.kept, given.tokens
    attention, ffn = layer.block.attention, layer.block.ffn
    yield at.plus("busy", group.busy, k.fixed + _dequantised(layer, given))
    if given.checkpointing and group.running.sequence:  # the gradient of its result waits
        again = k.sequence + group.running.sequence + given.formats.element * given.architecture.hidden * tokens
        yield at.plus("run again", again, k.fixed + group.running.fixed + _dequantised(layer, given))
    fresh = 0.0
    if given.formats.full:
        fresh = _ffn_gradients(layer, given, loop)
        held = group.busy if given.tiled and isinstance(ffn, Mlp) else k.attention + _ffn_backward(layer, given)
        yield at.plus("feed-forward gradients", held, k.fixed, fresh)
    if given.kernel == "eager" or attention.softcap:
        # softmax backward: gradient, their product and the result in fp32; a 16-bit copy of what was saved is gone
        scores = (12.0 if given.formats.element == 4 else 10.0) * attention.heads * given.length * tokens
        passing = 6 * given.architecture.hidden * tokens
        yield at.plus("attention scores", k.attention + scores + passing, k.fixed, fresh)
    if isinstance(ffn, Moe) and any(adapter.linear.fused_expert for adapter in group.adapters):
        merged = 2.0 * ffn.experts * given.architecture.hidden * ffn.width
        width = ffn.width * ffn.per_token * tokens
        yield at.plus("merged experts", k.sequence + 2 * width, k.fixed + merged)
        yield at.plus("merged experts' gradient", k.attention + 6 * width, k.fixed + merged)


def _dequantised(layer: Layer, given: Inputs) -> float:
    """Fixed bytes: one dequantised matrix at a time, the largest."""
    matrix = 2.0 * layer.largest_linear if given.kbit or given.dequantised else 0.0
    return 2 * matrix if given.stack.kbit_everything else matrix


def _ffn_gradients(layer: Layer, given: Inputs, loop: Loop) -> float:
    """Numbers of the feed-forward half whose gradients are in the making at once."""
    ffn, hidden = layer.block.ffn, given.architecture.hidden
    if given.tiled and isinstance(ffn, Mlp):  # their sum over the tiles, and those of one tile
        return 2.0 * layer.ffn_parameters
    if not loop.accumulates:
        return float(layer.ffn_parameters)
    return float(2 * ffn.experts * hidden * ffn.width if isinstance(ffn, Moe) else hidden * ffn.width)


def _ffn_backward(layer: Layer, given: Inputs) -> float:
    """Bytes per sequence that the feed-forward half holds while its weights get gradients."""
    ffn, hidden = layer.block.ffn, given.architecture.hidden
    middle = 6 * hidden
    if isinstance(ffn, Moe):
        middle = (4 * hidden + 4 * ffn.per_token * ffn.width) + 2 * hidden * ffn.per_token
    return (8.0 * hidden * layer.block.norms + middle) * given.tokens


def _embedding(model: Shape, given: Inputs, head: Head, trains: Trains, loop: Loop, left: Saved) -> Phase:
    """The embedding's gradient, when all others are there. A tied head's waits to be added to it."""
    tied = model.embedding if given.architecture.tied and head.trains else 0
    return Phase(
        "embedding",
        "embedding",
        activations=given.stream + left.batch,
        done=0.0 if loop.accumulates else trains.numbers,
        live=model.embedding if loop.accumulates else tied,
    )


def _sees(left: Saved, pictures: Seen) -> Phase:
    """The tower's forward pass, at its last layer."""
    return Phase("tower forward", "loss", left.batch + pictures.passing)


def _tower(pictures: Seen, given: Inputs, trains: Trains, loop: Loop) -> Iterator[Phase]:
    """The tower's backward pass, which comes last; the gradient of the language model's input is there."""
    numbers = 0.0 if loop.accumulates else float(trains.numbers)
    if pictures.mined:
        yield Phase("mining", "layers", pictures.pixels + pictures.kept + pictures.mined, done=numbers)
    own = 0.0 if loop.accumulates else sum(group.size * group.trained for group, _ in pictures.groups)
    for group, at in reversed(pictures.groups):
        beside = pictures.pixels + pictures.kept - group.waits + given.stream
        fixed, done = group.size * group.waits_fixed, max(0.0, numbers - own)
        yield from _layer(Phase("tower's top layer", "layers", beside, scratch=fixed, done=done), group, at, loop)
        done = max(0.0, numbers - group.trained)
        yield from _layer(Phase("tower's bottom layer", "layers", pictures.pixels, done=done), group, at, loop)


def _demand(given: Inputs, head: Head, loop: Loop, left: Saved, logits: Logits, edge: float) -> blocks.Demand:
    vocab, width = head.vocab * given.tokens, given.formats.logits
    stale = not (head.fused or given.stack.keeps_outputs or width == 4)
    return blocks.Demand(
        layer=max((group.most for group in left.groups), default=0.0),
        layer_fixed=max((group.kept.fixed for group in left.groups), default=0.0),
        kept=left.layers,
        stale=width * vocab if stale else 0.0,
        loss=max(logits.forward, logits.backward) * vocab,
        edge=edge,
        full=given.formats.full,
        keeps_layers=not given.checkpointing,
        varies=loop.varies,
        grows=given.stack.expandable_segments,
    )
