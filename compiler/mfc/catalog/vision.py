"""Vision towers and the projectors that join them to a language model: one small function per tower.

Each gives the linears, which adapters can reach, and the number of all other parameters. Source: the modelling code of
transformers 5.23 and, for `internvl_chat` and `minicpmv`, the models' own code.
"""

from __future__ import annotations

from collections.abc import Callable

from mfc.catalog.architecture import Architecture, Pictures, Vision
from mfc.catalog.families import BESIDE
from mfc.catalog.keys import Keys
from mfc.catalog.mined import mined
from mfc.catalog.towers import (
    Encoder,
    Site,
    Sizes,
    Tower,
    clip,
    grid,
    into,
    linear,
    mlp,
    pixtral,
    projections,
    side,
    siglip,
    sizes,
    square,
)


def add(arch: Architecture, family: str, top: Keys, vision: Keys) -> tuple[Architecture, list[str]]:
    """The architecture with its vision tower, and what had to be assumed when the tower is not known."""
    build = _BUILDERS.get(family) or _BUILDERS.get(vision.text("model_type", ""))
    if build is None:
        hint = f"{top.where}: the vision tower of model_type {family!r} is not known, so it is left out of all counts"
        return arch, [hint]
    t = build(Site(top, vision, arch.hidden))
    shape = t.shape._asdict()
    made = Vision(
        patch_size=shape.pop("patch"),
        tower_parameters=sum(linear.parameters for linear in t.tower) + t.tower_rest,
        projector_parameters=sum(linear.parameters for linear in t.projector) + t.projector_rest,
        linears=(*t.tower, *t.projector),
        **shape,
    )
    return arch._replace(vision=made), []


_ENCODERS: dict[str, Callable[[Keys], Encoder]] = {
    "clip_vision_model": clip,
    "siglip_vision_model": siglip,
    "pixtral": pixtral,
}


def _llava(at: Site) -> Tower:
    kind = at.vision.text("model_type", "clip_vision_model")
    s, linears, rest = _ENCODERS.get(kind, clip)(at.vision)
    chosen = at.top.values.get("vision_feature_layer")
    features = s.hidden * (len(chosen) if isinstance(chosen, list) else 1)
    bias = at.top.flag("multimodal_projector_bias", True)
    newline = at.hidden if at.top.text("model_type") == "llava_next" else 0
    if kind == "clip_vision_model":
        cut = square(at.vision, grid(at.vision, s.patch), class_token=True)
        if newline:  # LLaVA-NeXT: up to 2 x 2 or 1 x 3 tiles (image_grid_pinpoints), the overview beside them
            cut = cut._replace(tiles=4, spare=1, overview=True)
        s = s._replace(pictures=cut)
    return Tower(
        s,
        linears,
        into(("linear_1", features, at.hidden), ("linear_2", at.hidden, at.hidden), bias=bias),
        rest,
        newline,
    )


def _mistral3(at: Site) -> Tower:
    s, linears, rest = pixtral(at.vision)
    merge = at.top.optional("spatial_merge_size") or 2
    bias = at.top.flag("multimodal_projector_bias")
    projector = into(("merging_layer", s.hidden * merge**2, s.hidden), bias=False)
    projector += into(("linear_1", s.hidden, at.hidden), ("linear_2", at.hidden, at.hidden), bias=bias)
    return Tower(s._replace(merge=merge), linears, projector, rest, s.hidden)


def _paligemma(at: Site) -> Tower:
    s, linears, rest = siglip(at.vision)
    out = at.top.optional("projection_dim") or 2048  # the class default; the tower's own key is overwritten by it
    s = s._replace(pictures=square(at.vision, grid(at.vision, s.patch)))
    return Tower(s, linears, into(("linear", s.hidden, out)), rest, 0)


def _gemma3(at: Site) -> Tower:
    s, linears, rest = siglip(at.vision)
    tokens = at.top.optional("mm_tokens_per_image") or 256
    merge = side(at.vision, "image_size") // s.patch // int(tokens**0.5)
    s = s._replace(merge=merge, pictures=square(at.vision, tokens))
    return Tower(s, linears, (), rest, s.hidden * at.hidden + s.hidden)


def _frames(vision: Keys) -> Pictures:
    """Pictures cut by pixels, and videos in patches of several frames."""
    return Pictures(frames=vision.optional("temporal_patch_size") or 2)


def _qwen2_vl(at: Site) -> Tower:
    embed = at.vision.number("embed_dim")
    ratio = at.vision.values.get("mlp_ratio") or 4
    merge = at.vision.optional("spatial_merge_size") or 2
    s = Sizes(
        embed,
        at.vision.number("depth"),
        at.vision.number("num_heads"),
        int(embed * ratio),
        side(at.vision, "patch_size"),
        merge,
        quick_gelu=at.vision.text("hidden_act", "quick_gelu") == "quick_gelu",
        pictures=_frames(at.vision),
    )
    linears = projections(("qkv", "proj"), embed, s.layers) + mlp(("fc1", "fc2"), s)
    rest = s.layers * 4 * embed + 3 * (at.vision.optional("temporal_patch_size") or 2) * s.patch**2 * embed
    wide = embed * merge**2
    return Tower(s, linears, into(("0", wide, wide), ("2", wide, at.vision.number("hidden_size"))), rest, 2 * embed)


def _qwen2_5_vl(at: Site) -> Tower:
    merge = at.vision.optional("spatial_merge_size") or 2
    s = sizes(at.vision, merge=merge)
    whole = at.vision.values.get("fullatt_block_indexes")
    s = s._replace(
        gated=True,
        norm="rms",
        window=((at.vision.optional("window_size") or 112) // s.patch) ** 2,
        whole=len(whole) if isinstance(whole, list) else 4,
        pictures=_frames(at.vision),
    )
    linears = projections(("qkv", "proj"), s.hidden, s.layers) + mlp(("gate_proj", "up_proj", "down_proj"), s)
    rest = s.layers * 2 * s.hidden + 3 * (at.vision.optional("temporal_patch_size") or 2) * s.patch**2 * s.hidden
    wide = s.hidden * merge**2
    return Tower(s, linears, into(("0", wide, wide), ("2", wide, at.vision.number("out_hidden_size"))), rest, s.hidden)


def _qwen3_vl(at: Site) -> Tower:
    merge = at.vision.optional("spatial_merge_size") or 2
    s = sizes(at.vision, merge=merge)._replace(hooked=False, pictures=_frames(at.vision))
    linears = projections(("qkv", "proj"), s.hidden, s.layers) + mlp(("linear_fc1", "linear_fc2"), s)
    patch = 3 * (at.vision.optional("temporal_patch_size") or 2) * s.patch**2 + 1
    rest = s.layers * 4 * s.hidden + patch * s.hidden + at.vision.number("num_position_embeddings") * s.hidden
    deep = at.vision.values.get("deepstack_visual_indexes")
    mergers = 1 + (len(deep) if isinstance(deep, list) else 0)
    wide, out = s.hidden * merge**2, at.vision.number("out_hidden_size")
    projector = (
        linear("projector", "linear_fc1", wide, wide, mergers),
        linear("projector", "linear_fc2", wide, out, mergers),
    )
    return Tower(s, linears, projector, rest, 2 * s.hidden + (mergers - 1) * 2 * wide)


def _internvl(at: Site) -> Tower:
    s = sizes(at.vision, merge=round(1 / float(at.top.values.get("downsample_ratio") or 0.5)))
    h = s.hidden
    own_code = at.top.text("model_type") == "internvl_chat"
    if own_code:
        linears = projections(("qkv",), h, s.layers, at.vision.flag("qkv_bias")) + projections(("proj",), h, s.layers)
        absolute, final = True, 0
        qk_norm = at.vision.flag("qk_normalization")
        plain = at.vision.text("norm_type", "layer_norm") == "rms_norm"
    else:
        linears = projections(("q_proj", "k_proj", "v_proj"), h, s.layers, at.vision.flag("attention_bias"))
        linears += projections(("projection_layer",), h, s.layers)
        absolute = at.vision.flag("use_absolute_position_embeddings", True)
        final = 0 if at.vision.flag("use_mean_pooling", True) else 2 * h
        qk_norm, plain = at.vision.flag("use_qk_norm"), at.vision.text("norm_type", "layer_norm") == "rms_norm"
    linears += mlp(("fc1", "fc2"), s)
    per_layer = 2 * h * (1 if plain else 2) + 2 * h + (2 * h if qk_norm else 0)  # norms, two layer scales, q/k norms
    rest = s.layers * per_layer + h + (3 * s.patch**2 + 1) * h + final
    rest += (grid(at.vision, s.patch) + 1) * h if absolute else 0
    rest += h if at.vision.flag("use_mask_token") else 0
    # Its own code cuts up to 12 tiles (dynamic_preprocess), by default as many; HF's processor cuts none unless told to
    tokens = grid(at.vision, s.patch) // s.merge**2
    cut = square(at.vision, tokens, class_token=True)._replace(tiles=12, overview=True)
    s = s._replace(norm="rms" if plain else "layer", layer_scale=True, fused=not own_code, pictures=cut)
    wide = h * s.merge**2
    names = ("1", "3") if own_code else ("linear_1", "linear_2")
    return Tower(s, linears, into((names[0], wide, at.hidden), (names[1], at.hidden, at.hidden)), rest, 2 * wide)


def _mllama(at: Site) -> Tower:
    s = Sizes(
        hidden=at.vision.number("hidden_size"),
        layers=at.vision.number("num_hidden_layers") + at.vision.number("num_global_layers"),
        heads=at.vision.number("attention_heads", "num_attention_heads"),
        width=at.vision.number("intermediate_size"),
        patch=side(at.vision, "patch_size"),
    )
    most = at.vision.number("max_num_tiles")
    s = s._replace(pictures=square(at.vision, 1, class_token=True)._replace(tiles=most, cross=True))
    h, tiles, patches = s.hidden, at.vision.number("max_num_tiles"), grid(at.vision, s.patch) + 1
    ratios = at.vision.values.get("supported_aspect_ratios")
    kinds = 1 + (len(ratios) if isinstance(ratios, list) else 8)
    linears = projections(("q_proj", "k_proj", "v_proj", "o_proj"), h, s.layers, bias=False) + mlp(("fc1", "fc2"), s)
    rest = s.layers * 4 * h + 2 * at.vision.number("num_global_layers")  # norms; two gates in each global layer
    rest += 3 * s.patch**2 * h + h + 4 * h  # patches, class token, norms before and after
    rest += 1 + patches * h + kinds * tiles * patches * h  # gate, positions, positions by aspect ratio
    rest += 2 * (1 + kinds * tiles * h)  # tiles by aspect ratio, before and after
    return Tower(s, linears, into(("multi_modal_projector", at.vision.number("vision_output_dim"), at.hidden)), rest, 0)


def _llama4(at: Site) -> Tower:
    ratio = float(at.vision.values.get("pixel_shuffle_ratio") or 0.5)
    s = sizes(at.vision, merge=round(1 / ratio))
    cut = square(at.vision, grid(at.vision, s.patch) // s.merge**2, class_token=True)
    s = s._replace(pictures=cut._replace(tiles=16, spare=1, overview=True))  # image_processing_llama4.py: max_patches
    h = s.hidden
    linears = projections(("q_proj", "k_proj", "v_proj", "o_proj"), h, s.layers) + mlp(("fc1", "fc2"), s)
    linears += (linear("vision", "linear", 3 * s.patch**2, h, bias=False),)
    rest = s.layers * 4 * h + h + (grid(at.vision, s.patch) + 1) * h + 4 * h
    middle, out = at.vision.number("projector_input_dim"), at.vision.number("projector_output_dim")
    steps = (
        ("fc1", s.width, middle),
        ("fc2", out, out),
        ("linear_1", at.vision.number("vision_output_dim"), at.hidden),
    )
    return Tower(s, linears, into(*steps, bias=False), rest, 0)


def _glm4v(at: Site) -> Tower:
    merge, out = at.vision.optional("spatial_merge_size") or 2, at.vision.number("out_hidden_size")
    s = sizes(at.vision, merge=merge)._replace(gated=True, norm="rms", hooked=False, pictures=_frames(at.vision))
    h = s.hidden
    # the tower's MLP is as wide as its output; `intermediate_size` is the merger's
    tower_mlp = s._replace(width=out)
    linears = projections(("qkv",), h, s.layers, at.vision.flag("attention_bias")) + projections(
        ("proj",), h, s.layers, False
    )
    linears += mlp(("gate_proj", "up_proj", "down_proj"), tower_mlp, bias=False)
    patch = 3 * (at.vision.optional("temporal_patch_size") or 2) * s.patch**2 + 1
    rest = s.layers * 2 * h + patch * h + 2 * h + grid(at.vision, s.patch) * h
    steps = (("proj", out, out), ("gate_proj", out, s.width), ("up_proj", out, s.width), ("down_proj", s.width, out))
    downsample = h * out * merge**2 + out
    return Tower(tower_mlp, linears, into(*steps, bias=False), rest, 2 * out + downsample)


def _minicpmv(at: Site) -> Tower:
    layers = at.vision.number("num_hidden_layers") - (1 if at.top.flag("drop_vision_last_layer") else 0)
    s, linears, rest = siglip(at.vision, layers, head=False)
    queries = at.top.number("query_num")
    projector = into(("kv_proj", s.hidden, at.hidden), bias=False) + into(("out_proj", at.hidden, at.hidden))
    rest_of_resampler = queries * at.hidden + 3 * at.hidden**2 + 3 * at.hidden + 6 * at.hidden + at.hidden**2
    # modeling_navit_siglip.py has no SDPA; image_processing_minicpmv.py: slices of about 448 x 448
    cut = Pictures(tile=448, tiles=9, spare=1, overview=True, tokens=queries)
    return Tower(s._replace(fused=False, pictures=cut), linears, projector, rest, rest_of_resampler)


_BUILDERS: dict[str, Callable[[Site], Tower]] = {
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
    **dict.fromkeys(BESIDE, mined),
}
