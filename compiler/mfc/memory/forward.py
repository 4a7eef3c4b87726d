"""What lies on a GPU when the forward pass ends: what layers keep, the batch itself, 16-bit copies of weights.

Bytes of one sequence, or fixed: whatever the sequences.
"""

from __future__ import annotations

from typing import NamedTuple

from mfc.catalog.parameters import Adapter
from mfc.memory.activations import Kept, experts_element, kept, scratch
from mfc.memory.inputs import Inputs, Trains
from mfc.memory.running import Running, running
from mfc.memory.shape import Layer, Shape, adapted, adapter_numbers

BATCH = 16  # bytes of a batch per token: ids and what comes with them


class Group(NamedTuple):
    """Equal layers; what one of them keeps and trains."""

    layer: Layer
    size: int  # how many there are
    adapters: tuple[Adapter, ...]
    trained: float  # numbers
    kept: Kept  # while its backward pass runs
    busy: float  # the same and its scratch, at its busiest moment
    waits: float  # from the forward pass until then: all of it, or what checkpointing leaves
    waits_fixed: float
    running: Running  # beside what is kept, while it runs forward

    @property
    def most(self) -> float:
        """Bytes of one sequence at its busiest, forward or backward."""
        return max(self.busy, self.kept.sequence + self.running.sequence)


class Saved(NamedTuple):
    """What lies there when the forward pass ends, logits and the loss apart."""

    groups: tuple[Group, ...]  # the layers from which gradients flow, bottom to top
    layers: float  # what all layers keep
    fixed: float  # and fixed
    batch: float  # the batch itself
    rotary: float  # cosines and sines
    checkpoint: float  # the input of one layer, which checkpointing keeps or fetches back from the host
    final: float  # the last norm and the gradient of its output
    casts: float  # fixed: 16-bit copies until the forward pass ends
    cast_head: float  # fixed: of these, what lives until the head's backward pass

    @property
    def sequence(self) -> float:
        """All that waits for the layers' backward pass."""
        return self.layers + self.batch + self.rotary


def saved(model: Shape, given: Inputs, trains: Trains, seen: bool = False) -> Saved:
    """What the forward pass of `model` leaves. `seen`: its input carries gradients to the pictures that it shows."""
    groups = _groups(model, given, trains)
    formats, hidden, tokens = given.formats, given.architecture.hidden, given.tokens
    layers = sum(group.size * group.waits for group in groups)
    passes = formats.full and trains.reach.edges  # gradients reach the embedding, from a norm and a head that train
    if not passes and not given.checkpointing and not seen:
        layers -= (4 * hidden + 4) * tokens  # the lowest layer's input needs no gradient
    layers += given.length * tokens * _mask(given)
    attention = model.layers[0].block.attention
    last_norm = (4 if formats.stream == 4 else 2) * hidden + 2 * hidden if passes else 0
    casts, cast_head = _casts(model, given, trains)
    return Saved(
        groups=groups,
        layers=layers,
        fixed=sum(group.size * group.waits_fixed for group in groups),
        batch=BATCH * tokens,
        rotary=2 * formats.element * (attention.rope_dim or attention.head_dim) * tokens,
        checkpoint=given.stream * (given.stack.offload_window if given.offloads else 1) if given.checkpointing else 0.0,
        final=(4 * hidden + 4 + last_norm) * tokens,
        casts=casts,
        cast_head=cast_head,
    )


def _mask(given: Inputs) -> int:
    """Bytes per pair of tokens of the mask that all layers share: bits of padding, or numbers."""
    return {"masked": 1, "eager": 2, "blocks": given.formats.element}.get(given.kernel, 0)


def _groups(model: Shape, given: Inputs, trains: Trains) -> tuple[Group, ...]:
    stack = given.stack
    adapters: tuple[tuple[Adapter, ...], ...] = ((),) * len(model.layers)
    if given.lora is not None:
        adapters = adapted(given.architecture, given.lora, stack.fused_experts, stack.expert_adapters, trains.frozen)
    groups = []
    skip = model.depth - trains.reach.layers
    for layer, chosen in zip(model.layers, adapters, strict=True):
        size = layer.size - min(layer.size, skip)
        skip -= layer.size - size
        if size:
            groups.append(group_of(model, layer, size, chosen, given))
    return tuple(groups)


def group_of(model: Shape, layer: Layer, size: int, chosen: tuple[Adapter, ...], given: Inputs) -> Group:
    """`size` layers like `layer` of `model`, with the adapters `chosen`."""
    trained = 0
    if given.formats.full:
        trained = layer.parameters
    elif given.lora is not None:
        trained = adapter_numbers(chosen, given.lora, layer.size)
    keeps = kept(model, layer, chosen, given)
    waits, waits_fixed = keeps.sequence, keeps.fixed
    if given.checkpointing:
        waits, waits_fixed = (0.0 if given.offloads else given.stream) + _selective(layer, given), 0.0
    runs = running(model, layer, chosen, given)
    busy = keeps.sequence + scratch(layer, chosen, given, runs.sequence > 0)
    return Group(layer, size, chosen, float(trained), keeps, busy, waits, waits_fixed, runs)


def _selective(layer: Layer, given: Inputs) -> float:
    """Selective checkpointing keeps attention outputs and every second matrix product (torchtitan's default)."""
    if given.stack.checkpoint != "selective":
        return 0.0
    outputs = sum(linear.out_features for linear in layer.linears)
    return given.formats.element * (layer.block.attention.out_width + outputs / 2) * given.tokens


def _casts(model: Shape, given: Inputs, trains: Trains) -> tuple[float, float]:
    """16-bit copies of fp32 weights under autocast: (until forward ends, until the head's backward).

    Autocast keeps the copies of what trains; without checkpointing each layer counts its own. Where the last layers
    train, the others and the head are in 16 bits already.
    """
    formats = given.formats
    if not formats.autocast:
        return 0.0, 0.0
    copies = 2.0 * trains.copied if formats.computed == 4 and given.checkpointing else 0.0
    if formats.full and not trains.reach.edges:
        return copies, 0.0
    wide = (formats.fp32_norms or formats.weights == 4 or trains.wide_head) and not trains.headless
    head = 2.0 * model.head_rows if wide else 0.0
    if formats.fp32_autocast and given.checkpointing:
        experts = sum(layer.size * layer.experts for layer in model.layers)
        uncast = experts if experts_element(given) > formats.element else 0
        return 2.0 * (model.parameters - uncast - (0 if given.architecture.tied else model.embedding)), head
    return head + (copies if formats.adapters else 0.0), head
