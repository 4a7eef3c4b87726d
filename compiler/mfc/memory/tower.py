"""The vision tower as the memory model reads it: a run of blocks over patches, before the language model.

Its layers keep what those of a language model keep (`activations`); held to the real towers of transformers, tensor by
tensor, in tests/oracle. All figures are bytes of one sequence on one GPU, which runs the whole tower even where
sequences are split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from mfc.catalog.architecture import Architecture, Attention, Block, Linear, Mlp, Vision
from mfc.catalog.parameters import Adapter
from mfc.memory.forward import Group, group_of
from mfc.memory.inputs import Inputs, Sight
from mfc.memory.shape import Layer, Shape

_ATTENTION = frozenset({"qkv", "q_proj", "k_proj", "v_proj", "proj", "out_proj", "o_proj", "projection_layer"})
_OUT = frozenset({"proj", "out_proj", "o_proj", "projection_layer"})
# Beside qkv and the stream, while rotary embeddings run in fp32: q and k (8), and of one of them its product with the
# cosines, its rotated halves, their product and the sum (16); per number of the hidden size.
ROTARY = 24


class Seen(NamedTuple):
    """What pictures hold on the GPU in one step."""

    pixels: float  # the pictures themselves, from the first moment to the last
    passing: float  # one layer at its busiest while the tower runs forward
    groups: tuple[tuple[Group, Inputs], ...]  # layers through which gradients flow; none where the tower has no graph
    projector: float  # what the projector keeps, the attention to a second tower's map with it
    mined: float = 0.0  # of this, beside it, while that attention runs backward

    @property
    def kept(self) -> float:
        """What waits for the tower's backward pass."""
        return sum(group.size * group.waits for group, _ in self.groups) + self.projector


def seen(sight: Sight) -> Seen:
    """What the pictures of one sequence hold."""
    vision, given = sight.vision, sight.given
    patch = 3 * vision.pictures.frames * vision.patch_size**2 * sight.pixel
    projector = _projector(sight) if sight.graph or sight.projector else 0.0
    groups = tuple(_groups(sight)) if sight.graph else ()
    pixels, passing = patch * given.tokens, _passing(sight)
    if sight.mined is None:
        return Seen(pixels, passing, groups, projector)
    second = sight.mined
    kept, backward = (second.kept, second.backward) if sight.projector else (0.0, 0.0)
    return Seen(pixels + second.pixels, max(passing, second.passing), groups, projector + kept, backward)


@lru_cache(maxsize=256)
def blocks(vision: Vision) -> tuple[Architecture, Shape]:
    """The tower as a run of equal blocks, and its shape."""
    own = [
        replace(each, kind="attention") if each.name in _ATTENTION else each
        for each in vision.linears
        if each.part == "vision" and each.count == vision.layers
    ]
    width = vision.hidden // vision.heads
    fused = any(each.name == "qkv" for each in own)
    block = Block(
        Attention("gqa", vision.heads, vision.heads, width, width, fused_qkv=fused),
        Mlp(vision.width, gated=vision.gated, quick_gelu=vision.quick_gelu),
    )
    architecture = Architecture(
        "vision", vision.hidden, 0, ((vision.layers, block),), True, vision.norm, norm_bias=vision.norm == "layer"
    )
    numbers = sum(each.weights for each in own) // vision.layers
    layer = Layer(
        size=vision.layers,
        block=block,
        linears=tuple(own),
        experts=0,
        parameters=vision.tower_parameters // vision.layers,
        ffn_parameters=sum(each.parameters for each in own if each.kind == "mlp") // vision.layers,
        linear_numbers=numbers,
        largest_linear=max(each.in_features * each.out_features for each in own),
        active_width=vision.width,
    )
    shape = Shape(
        architecture=architecture,
        layers=(layer,),
        depth=vision.layers,
        embedding=0,
        head=0,
        vision=0,
        projector=0,
        parameters=vision.tower_parameters,
        quantised=numbers * vision.layers,
        down=next(each.name for each in reversed(own) if each.kind == "mlp"),
        out=_OUT,
    )
    return architecture, shape


def _groups(sight: Sight) -> Iterator[tuple[Group, Inputs]]:
    """Layers that see windows, then those that see whole pictures."""
    vision, given = sight.vision, sight.given
    _, shape = blocks(vision)
    [layer] = shape.layers
    names = {each.name for each in layer.linears}
    chosen = tuple(
        Adapter(_as_own(each.linear, layer), each.rank)
        for each in sight.adapters
        if each.linear.part == "vision" and each.linear.name in names and each.linear.count == vision.layers
    )
    narrow = vision.layers - vision.whole if vision.window else 0
    for size, length in ((narrow, min(vision.window, given.length)), (vision.layers - narrow, given.length)):
        if size:
            at = given._replace(length=length)
            group = group_of(shape, layer, size, chosen, at)
            if vision.layer_scale and given.formats.full and not given.checkpointing:
                group = group._replace(waits=group.waits + 2 * given.formats.element * vision.hidden * given.tokens)
            yield group, at


def _as_own(linear: Linear, layer: Layer) -> Linear:
    return next(each for each in layer.linears if (each.name, each.count) == (linear.name, linear.count))


def _projector(sight: Sight) -> float:
    """Inputs of linears that train, and what activations between them keep."""
    linears = [each for each in sight.vision.linears if each.part == "projector"]
    element = sight.given.formats.element
    own = sum(each.in_features * each.count for each in linears) if sight.projector else 0
    between = sum(each.out_features * each.count for each in linears[:-1])
    norm = (4 if sight.vision.norm == "rms" else 2) * sight.vision.hidden * sight.given.tokens
    return element * (own + between) * sight.tokens + norm


def _passing(sight: Sight) -> float:
    """One layer while it runs forward: the attention half or the feed-forward half, whichever is larger.

    Eager attention makes scores in 16 bits, their softmax in fp32 and its copy in 16 bits: by pictures where the code
    goes from one to the next, of all tiles at once where these are a batch.
    """
    vision, given = sight.vision, sight.given
    element = given.formats.element
    attention: float = 6 * element * vision.hidden + (0 if vision.pictures.tile else ROTARY * vision.hidden)
    feed = element * (2 * vision.hidden + (3 if vision.gated or vision.quick_gelu else 2) * vision.width)
    scores = 0.0
    if given.kernel == "eager":
        rows = given.tokens if vision.pictures.tile else min(given.length, given.tokens)
        scores = (2.0 * element + 4) * vision.heads * given.length * rows
    return max(attention * given.tokens + scores, feed * given.tokens)
