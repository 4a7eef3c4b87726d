"""Vision towers and the projectors that join them to a language model: one small function per tower.

Each gives the linears, which adapters can reach, and the number of all other parameters. Source: the modelling code of
transformers 5.23 and, for `internvl_chat` and `minicpmv`, the models' own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from mfc.catalog.architecture import Architecture, Linear, Part, Vision
from mfc.catalog.keys import Keys


@dataclass(frozen=True, slots=True)
class _Shape:
    """Sizes that every tower has."""

    hidden: int
    layers: int
    heads: int
    width: int
    patch: int
    merge: int = 1
    gated: bool = False
    image_tokens: int = 0


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a tower is built: the whole config, its vision section, the width of the language model."""

    top: Keys
    vision: Keys
    hidden: int


@dataclass(frozen=True, slots=True)
class _Tower:
    shape: _Shape
    tower: tuple[Linear, ...]
    projector: tuple[Linear, ...]
    tower_rest: int  # parameters of the tower outside its linears
    projector_rest: int


def add(arch: Architecture, family: str, top: Keys, vision: Keys) -> tuple[Architecture, list[str]]:
    """The architecture with its vision tower, and what had to be assumed when the tower is not known."""
    build = _BUILDERS.get(family) or _BUILDERS.get(vision.text("model_type", ""))
    if build is None:
        hint = f"{top.where}: the vision tower of model_type {family!r} is not known, so it is left out of all counts"
        return arch, [hint]
    t = build(_Site(top, vision, arch.hidden))
    made = Vision(
        hidden=t.shape.hidden,
        layers=t.shape.layers,
        heads=t.shape.heads,
        width=t.shape.width,
        patch_size=t.shape.patch,
        merge=t.shape.merge,
        tower_parameters=sum(linear.parameters for linear in t.tower) + t.tower_rest,
        projector_parameters=sum(linear.parameters for linear in t.projector) + t.projector_rest,
        gated=t.shape.gated,
        image_tokens=t.shape.image_tokens,
        linears=(*t.tower, *t.projector),
    )
    return arch._replace(vision=made), []


def _linear(part: Part, name: str, in_: int, out: int, count: int = 1, bias: bool = True) -> Linear:
    return Linear(name, part, "mlp", in_, out, count, bias=bias)


def _projections(names: Iterable[str], hidden: int, layers: int, bias: bool = True) -> tuple[Linear, ...]:
    """Square projections of attention layers, or a fused `qkv`, which is three times as wide."""
    return tuple(_linear("vision", name, hidden, hidden * (3 if name == "qkv" else 1), layers, bias) for name in names)


def _mlp(names: tuple[str, ...], s: _Shape, bias: bool = True) -> tuple[Linear, ...]:
    """Feed-forward layers: every name but the last widens."""
    *wide, narrow = names
    return (
        *(_linear("vision", name, s.hidden, s.width, s.layers, bias) for name in wide),
        _linear("vision", narrow, s.width, s.hidden, s.layers, bias),
    )


def _into(*steps: tuple[str, int, int], bias: bool = True) -> tuple[Linear, ...]:
    return tuple(_linear("projector", name, in_, out, 1, bias) for name, in_, out in steps)


def _shape(v: Keys, merge: int = 1) -> _Shape:
    return _Shape(
        hidden=v.number("hidden_size"),
        layers=v.number("num_hidden_layers", "depth"),
        heads=v.number("num_attention_heads", "num_heads"),
        width=v.number("intermediate_size"),
        patch=_side(v, "patch_size"),
        merge=merge,
    )


def _side(v: Keys, name: str) -> int:
    """A number that some configs write as a pair."""
    pair = v.values.get(name)
    return int(pair[0]) if isinstance(pair, list) and pair else v.number(name)


def _grid(v: Keys, patch: int) -> int:
    """Patches of one image."""
    return int((_side(v, "image_size") // patch) ** 2)


def _clip_parts(v: Keys) -> tuple[_Shape, tuple[Linear, ...], int]:
    s = _shape(v)
    linears = _projections(("q_proj", "k_proj", "v_proj", "out_proj"), s.hidden, s.layers) + _mlp(("fc1", "fc2"), s)
    rest = s.layers * 4 * s.hidden + 3 * s.patch**2 * s.hidden  # norms; patch embedding without bias
    return s, linears, rest + s.hidden + (_grid(v, s.patch) + 1) * s.hidden + 4 * s.hidden


def _siglip_parts(v: Keys, layers: int = 0, head: bool | None = None) -> tuple[_Shape, tuple[Linear, ...], int]:
    s = replace(_shape(v), layers=layers) if layers else _shape(v)
    linears = _projections(("q_proj", "k_proj", "v_proj", "out_proj"), s.hidden, s.layers) + _mlp(("fc1", "fc2"), s)
    rest = s.layers * 4 * s.hidden + (3 * s.patch**2 + 1) * s.hidden + _grid(v, s.patch) * s.hidden + 2 * s.hidden
    if v.flag("vision_use_head", True) if head is None else head:  # pools by attention over one learned probe
        linears += _projections(("out_proj",), s.hidden, 1) + _mlp(("fc1", "fc2"), replace(s, layers=1))
        rest += s.hidden + 3 * s.hidden**2 + 3 * s.hidden + 2 * s.hidden
    return s, linears, rest


def _pixtral_parts(v: Keys) -> tuple[_Shape, tuple[Linear, ...], int]:
    s = replace(_shape(v), gated=True)
    linears = _projections(("q_proj", "k_proj", "v_proj", "o_proj"), s.hidden, s.layers, bias=False)
    linears += _mlp(("gate_proj", "up_proj", "down_proj"), s, bias=False)
    return s, linears, s.layers * 2 * s.hidden + 3 * s.patch**2 * s.hidden + s.hidden


_PARTS: dict[str, Callable[[Keys], tuple[_Shape, tuple[Linear, ...], int]]] = {
    "clip_vision_model": _clip_parts,
    "siglip_vision_model": _siglip_parts,
    "pixtral": _pixtral_parts,
}


def _llava(at: _Site) -> _Tower:
    kind = at.vision.text("model_type", "clip_vision_model")
    s, linears, rest = _PARTS.get(kind, _clip_parts)(at.vision)
    chosen = at.top.values.get("vision_feature_layer")
    features = s.hidden * (len(chosen) if isinstance(chosen, list) else 1)
    bias = at.top.flag("multimodal_projector_bias", True)
    newline = at.hidden if at.top.text("model_type") == "llava_next" else 0
    if kind == "clip_vision_model" and not newline:
        s = replace(s, image_tokens=_grid(at.vision, s.patch))
    return _Tower(
        s,
        linears,
        _into(("linear_1", features, at.hidden), ("linear_2", at.hidden, at.hidden), bias=bias),
        rest,
        newline,
    )


def _mistral3(at: _Site) -> _Tower:
    s, linears, rest = _pixtral_parts(at.vision)
    merge = at.top.optional("spatial_merge_size") or 2
    bias = at.top.flag("multimodal_projector_bias")
    projector = _into(("merging_layer", s.hidden * merge**2, s.hidden), bias=False)
    projector += _into(("linear_1", s.hidden, at.hidden), ("linear_2", at.hidden, at.hidden), bias=bias)
    return _Tower(replace(s, merge=merge), linears, projector, rest, s.hidden)


def _paligemma(at: _Site) -> _Tower:
    s, linears, rest = _siglip_parts(at.vision)
    out = at.top.optional("projection_dim") or 2048  # the class default; the tower's own key is overwritten by it
    s = replace(s, image_tokens=_grid(at.vision, s.patch))
    return _Tower(s, linears, _into(("linear", s.hidden, out)), rest, 0)


def _gemma3(at: _Site) -> _Tower:
    s, linears, rest = _siglip_parts(at.vision)
    tokens = at.top.optional("mm_tokens_per_image") or 256
    side = _side(at.vision, "image_size") // s.patch
    merge = side // int(tokens**0.5)
    return _Tower(replace(s, merge=merge, image_tokens=tokens), linears, (), rest, s.hidden * at.hidden + s.hidden)


def _qwen2_vl(at: _Site) -> _Tower:
    embed = at.vision.number("embed_dim")
    ratio = at.vision.values.get("mlp_ratio") or 4
    merge = at.vision.optional("spatial_merge_size") or 2
    s = _Shape(
        embed,
        at.vision.number("depth"),
        at.vision.number("num_heads"),
        int(embed * ratio),
        _side(at.vision, "patch_size"),
        merge,
    )
    linears = _projections(("qkv", "proj"), embed, s.layers) + _mlp(("fc1", "fc2"), s)
    rest = s.layers * 4 * embed + 3 * (at.vision.optional("temporal_patch_size") or 2) * s.patch**2 * embed
    wide = embed * merge**2
    return _Tower(s, linears, _into(("0", wide, wide), ("2", wide, at.vision.number("hidden_size"))), rest, 2 * embed)


def _qwen2_5_vl(at: _Site) -> _Tower:
    merge = at.vision.optional("spatial_merge_size") or 2
    s = replace(_shape(at.vision, merge=merge), gated=True)
    linears = _projections(("qkv", "proj"), s.hidden, s.layers) + _mlp(("gate_proj", "up_proj", "down_proj"), s)
    rest = s.layers * 2 * s.hidden + 3 * (at.vision.optional("temporal_patch_size") or 2) * s.patch**2 * s.hidden
    wide = s.hidden * merge**2
    return _Tower(
        s, linears, _into(("0", wide, wide), ("2", wide, at.vision.number("out_hidden_size"))), rest, s.hidden
    )


def _qwen3_vl(at: _Site) -> _Tower:
    merge = at.vision.optional("spatial_merge_size") or 2
    s = _shape(at.vision, merge=merge)
    linears = _projections(("qkv", "proj"), s.hidden, s.layers) + _mlp(("linear_fc1", "linear_fc2"), s)
    patch = 3 * (at.vision.optional("temporal_patch_size") or 2) * s.patch**2 + 1
    rest = s.layers * 4 * s.hidden + patch * s.hidden + at.vision.number("num_position_embeddings") * s.hidden
    deep = at.vision.values.get("deepstack_visual_indexes")
    mergers = 1 + (len(deep) if isinstance(deep, list) else 0)
    wide, out = s.hidden * merge**2, at.vision.number("out_hidden_size")
    projector = (
        _linear("projector", "linear_fc1", wide, wide, mergers),
        _linear("projector", "linear_fc2", wide, out, mergers),
    )
    return _Tower(s, linears, projector, rest, 2 * s.hidden + (mergers - 1) * 2 * wide)


def _internvl(at: _Site) -> _Tower:
    s = _shape(at.vision, merge=round(1 / float(at.top.values.get("downsample_ratio") or 0.5)))
    h = s.hidden
    own_code = at.top.text("model_type") == "internvl_chat"
    if own_code:
        linears = _projections(("qkv",), h, s.layers, at.vision.flag("qkv_bias")) + _projections(("proj",), h, s.layers)
        absolute, final = True, 0
        qk_norm = at.vision.flag("qk_normalization")
        plain = at.vision.text("norm_type", "layer_norm") == "rms_norm"
    else:
        linears = _projections(("q_proj", "k_proj", "v_proj"), h, s.layers, at.vision.flag("attention_bias"))
        linears += _projections(("projection_layer",), h, s.layers)
        absolute = at.vision.flag("use_absolute_position_embeddings", True)
        final = 0 if at.vision.flag("use_mean_pooling", True) else 2 * h
        qk_norm, plain = at.vision.flag("use_qk_norm"), at.vision.text("norm_type", "layer_norm") == "rms_norm"
    linears += _mlp(("fc1", "fc2"), s)
    per_layer = 2 * h * (1 if plain else 2) + 2 * h + (2 * h if qk_norm else 0)  # norms, two layer scales, q/k norms
    rest = s.layers * per_layer + h + (3 * s.patch**2 + 1) * h + final
    rest += (_grid(at.vision, s.patch) + 1) * h if absolute else 0
    rest += h if at.vision.flag("use_mask_token") else 0
    wide = h * s.merge**2
    names = ("1", "3") if own_code else ("linear_1", "linear_2")
    return _Tower(s, linears, _into((names[0], wide, at.hidden), (names[1], at.hidden, at.hidden)), rest, 2 * wide)


def _mllama(at: _Site) -> _Tower:
    s = replace(
        _Shape(at.vision.number("hidden_size"), 0, at.vision.number("attention_heads", "num_attention_heads"),
               at.vision.number("intermediate_size"), _side(at.vision, "patch_size")),
        layers=at.vision.number("num_hidden_layers") + at.vision.number("num_global_layers"),
    )  # fmt: skip
    h, tiles, patches = s.hidden, at.vision.number("max_num_tiles"), _grid(at.vision, s.patch) + 1
    ratios = at.vision.values.get("supported_aspect_ratios")
    kinds = 1 + (len(ratios) if isinstance(ratios, list) else 8)
    linears = _projections(("q_proj", "k_proj", "v_proj", "o_proj"), h, s.layers, bias=False) + _mlp(("fc1", "fc2"), s)
    rest = s.layers * 4 * h + 2 * at.vision.number("num_global_layers")  # norms; two gates in each global layer
    rest += 3 * s.patch**2 * h + h + 4 * h  # patches, class token, norms before and after
    rest += 1 + patches * h + kinds * tiles * patches * h  # gate, positions, positions by aspect ratio
    rest += 2 * (1 + kinds * tiles * h)  # tiles by aspect ratio, before and after
    return _Tower(
        s, linears, _into(("multi_modal_projector", at.vision.number("vision_output_dim"), at.hidden)), rest, 0
    )


def _llama4(at: _Site) -> _Tower:
    ratio = float(at.vision.values.get("pixel_shuffle_ratio") or 0.5)
    s = _shape(at.vision, merge=round(1 / ratio))
    h = s.hidden
    linears = _projections(("q_proj", "k_proj", "v_proj", "o_proj"), h, s.layers) + _mlp(("fc1", "fc2"), s)
    linears += (_linear("vision", "linear", 3 * s.patch**2, h, bias=False),)
    rest = s.layers * 4 * h + h + (_grid(at.vision, s.patch) + 1) * h + 4 * h
    middle, out = at.vision.number("projector_input_dim"), at.vision.number("projector_output_dim")
    steps = (
        ("fc1", s.width, middle),
        ("fc2", out, out),
        ("linear_1", at.vision.number("vision_output_dim"), at.hidden),
    )
    return _Tower(s, linears, _into(*steps, bias=False), rest, 0)


def _glm4v(at: _Site) -> _Tower:
    merge, out = at.vision.optional("spatial_merge_size") or 2, at.vision.number("out_hidden_size")
    s = replace(_shape(at.vision, merge=merge), gated=True)
    h = s.hidden
    # the tower's MLP is as wide as its output; `intermediate_size` is the merger's
    tower_mlp = replace(s, width=out)
    linears = _projections(("qkv",), h, s.layers, at.vision.flag("attention_bias")) + _projections(
        ("proj",), h, s.layers, False
    )
    linears += _mlp(("gate_proj", "up_proj", "down_proj"), tower_mlp, bias=False)
    patch = 3 * (at.vision.optional("temporal_patch_size") or 2) * s.patch**2 + 1
    rest = s.layers * 2 * h + patch * h + 2 * h + _grid(at.vision, s.patch) * h
    steps = (("proj", out, out), ("gate_proj", out, s.width), ("up_proj", out, s.width), ("down_proj", s.width, out))
    downsample = h * out * merge**2 + out
    return _Tower(tower_mlp, linears, _into(*steps, bias=False), rest, 2 * out + downsample)


def _minicpmv(at: _Site) -> _Tower:
    layers = at.vision.number("num_hidden_layers") - (1 if at.top.flag("drop_vision_last_layer") else 0)
    s, linears, rest = _siglip_parts(at.vision, layers, head=False)
    queries = at.top.number("query_num")
    projector = _into(("kv_proj", s.hidden, at.hidden), bias=False) + _into(("out_proj", at.hidden, at.hidden))
    rest_of_resampler = queries * at.hidden + 3 * at.hidden**2 + 3 * at.hidden + 6 * at.hidden + at.hidden**2
    return _Tower(replace(s, image_tokens=queries), linears, projector, rest, rest_of_resampler)


_BUILDERS: dict[str, Callable[[_Site], _Tower]] = {
    "gemma3": _gemma3,
    "glm4v": _glm4v,
    "internvl": _internvl,
    "internvl_chat": _internvl,
    "llama4": _llama4,
    "llava": _llava,
    "llava_next": _llava,
    "minicpmv": _minicpmv,
    "mistral3": _mistral3,
    "mllama": _mllama,
    "paligemma": _paligemma,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen2_vl": _qwen2_vl,
    "qwen3_5": _qwen3_vl,
    "qwen3_5_moe": _qwen3_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3_vl_moe": _qwen3_vl,
}
