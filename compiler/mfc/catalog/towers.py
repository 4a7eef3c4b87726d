"""What vision towers are made of: sizes, linears, and the encoders that several models share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from mfc.catalog.architecture import Linear, Mining, Part, Pictures
from mfc.catalog.keys import Keys


class Sizes(NamedTuple):
    """Sizes that every tower has."""

    hidden: int
    layers: int
    heads: int
    width: int
    patch: int
    merge: int = 1
    gated: bool = False
    quick_gelu: bool = False
    norm: Literal["rms", "layer"] = "layer"
    layer_scale: bool = False
    window: int = 0
    whole: int = 0
    fused: bool = True
    hooked: bool = True
    pictures: Pictures = Pictures()
    mining: Mining | None = None


# An encoder: its sizes, its linears, and how many parameters lie outside these.
Encoder = tuple[Sizes, tuple[Linear, ...], int]


class Site(NamedTuple):
    """Where a tower is built: the whole config, its vision section, the width of the language model."""

    top: Keys
    vision: Keys
    hidden: int


class Tower(NamedTuple):
    """A tower with its projector."""

    shape: Sizes
    tower: tuple[Linear, ...]
    projector: tuple[Linear, ...]
    tower_rest: int  # parameters of the tower outside its linears
    projector_rest: int


def linear(part: Part, name: str, in_: int, out: int, count: int = 1, bias: bool = True) -> Linear:
    """`count` equal linears of a part."""
    return Linear(name, part, "mlp", in_, out, count, bias=bias)


def projections(names: Iterable[str], hidden: int, layers: int, bias: bool = True) -> tuple[Linear, ...]:
    """Square projections of attention layers, or a fused `qkv`, which is three times as wide."""
    return tuple(linear("vision", name, hidden, hidden * (3 if name == "qkv" else 1), layers, bias) for name in names)


def mlp(names: tuple[str, ...], s: Sizes, bias: bool = True) -> tuple[Linear, ...]:
    """Feed-forward layers: every name but the last widens."""
    *wide, narrow = names
    return (
        *(linear("vision", name, s.hidden, s.width, s.layers, bias) for name in wide),
        linear("vision", narrow, s.width, s.hidden, s.layers, bias),
    )


def into(*steps: tuple[str, int, int], bias: bool = True) -> tuple[Linear, ...]:
    """A projector into the language model: the name, input and output width of each linear."""
    return tuple(linear("projector", name, in_, out, 1, bias) for name, in_, out in steps)


def sizes(v: Keys, merge: int = 1) -> Sizes:
    """Sizes under the keys that most towers use."""
    return Sizes(
        hidden=v.number("hidden_size"),
        layers=v.number("num_hidden_layers", "depth"),
        heads=v.number("num_attention_heads", "num_heads"),
        width=v.number("intermediate_size"),
        patch=side(v, "patch_size"),
        merge=merge,
    )


def side(v: Keys, name: str) -> int:
    """A number that some configs write as a pair."""
    pair = v.values.get(name)
    return int(pair[0]) if isinstance(pair, list) and pair else v.number(name)


def grid(v: Keys, patch: int) -> int:
    """Patches of one image."""
    return int((side(v, "image_size") // patch) ** 2)


def square(v: Keys, tokens: int, class_token: bool = False) -> Pictures:
    """Every picture is scaled to one square."""
    return Pictures(tile=side(v, "image_size"), tokens=tokens, class_token=class_token)


def clip(v: Keys) -> Encoder:
    """CLIP's."""
    quick = v.text("hidden_act", "quick_gelu") == "quick_gelu"
    s = sizes(v)._replace(quick_gelu=quick)
    linears = projections(("q_proj", "k_proj", "v_proj", "out_proj"), s.hidden, s.layers) + mlp(("fc1", "fc2"), s)
    rest = s.layers * 4 * s.hidden + 3 * s.patch**2 * s.hidden  # norms; patch embedding without bias
    return s, linears, rest + s.hidden + (grid(v, s.patch) + 1) * s.hidden + 4 * s.hidden


def siglip(v: Keys, layers: int = 0, head: bool | None = None) -> Encoder:
    """SigLIP's, of all layers or the first `layers`; `head` says whether it pools, None = as the config says."""
    s = sizes(v)._replace(layers=layers) if layers else sizes(v)
    linears = projections(("q_proj", "k_proj", "v_proj", "out_proj"), s.hidden, s.layers) + mlp(("fc1", "fc2"), s)
    rest = s.layers * 4 * s.hidden + (3 * s.patch**2 + 1) * s.hidden + grid(v, s.patch) * s.hidden + 2 * s.hidden
    if v.flag("vision_use_head", True) if head is None else head:  # pools by attention over one learned probe
        linears += projections(("out_proj",), s.hidden, 1) + mlp(("fc1", "fc2"), s._replace(layers=1))
        rest += s.hidden + 3 * s.hidden**2 + 3 * s.hidden + 2 * s.hidden
    return s, linears, rest


def pixtral(v: Keys) -> Encoder:
    """Pixtral's."""
    most = side(v, "image_size") ** 2
    s = sizes(v)._replace(gated=True, norm="rms", pictures=Pictures(pixels=most))
    linears = projections(("q_proj", "k_proj", "v_proj", "o_proj"), s.hidden, s.layers, bias=False)
    linears += mlp(("gate_proj", "up_proj", "down_proj"), s, bias=False)
    return s, linears, s.layers * 2 * s.hidden + 3 * s.patch**2 * s.hidden + s.hidden
