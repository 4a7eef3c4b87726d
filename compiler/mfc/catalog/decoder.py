"""The language model of a config.json: its decoder blocks, of each kind once.

Keys are read as the family's class in transformers reads them, with its defaults; `Traits` says the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from mfc.catalog.architecture import Architecture, Attention, Block, Mlp, Moe
from mfc.catalog.families import DEFAULTS, Flag, Traits
from mfc.catalog.keys import Keys
from mfc.errors import SpecError


def decoder(text: Keys, family: str, text_family: str, traits: Traits, top: Keys) -> Architecture:
    """The architecture of a language model, whose keys are `text`: the whole config `top`, or a section of it."""
    if text is not top:
        text = text.with_defaults(DEFAULTS.get(text_family, {}))
    hidden = text.number("hidden_size", "n_embd", "d_model")
    vocab = text.number("padded_vocab_size", "vocab_size")
    if text.has("inner_hidden_size"):  # the first ChatGLM: tied, biased, two plain matrices per MLP
        traits = Traits(True, True, True, fused_qkv=True, gated=False, norm="layer", norm_bias=True, tied=True)
    kinds = [_kind(text, text_family, index) for index in range(_layers(text))]
    distinct = list(dict.fromkeys(kinds))
    order = tuple(distinct.index(kind) for kind in kinds)
    blocks = [_block(text, text_family, traits, hidden, kind) for kind in distinct]
    positions = (
        text.optional("max_position_embeddings", "n_positions", "seq_length", "max_sequence_length", "model_max_length")
        or 0
    )
    extra = 0
    if family == "mllama":  # eight embeddings for image tokens, beside the vocabulary
        extra = 8 * hidden
    return Architecture(
        family=family,
        hidden=hidden,
        vocab=vocab,
        blocks=tuple((order.count(index), block) for index, block in enumerate(blocks)),
        tied=_tied(text, top, traits),
        norm=traits.norm,
        norm_bias=traits.norm_bias,
        norm_weight=traits.norm_weight,
        embedding_norm=traits.embedding_norm,
        head_bias=_flag(text, traits.head_bias),
        learned_positions=positions if traits.learned_positions else 0,
        logit_softcap=bool(text.values.get("final_logit_softcapping")),
        max_positions=positions,
        extra_parameters=extra,
        text="" if text_family == family else text_family,
        order=() if list(order) == sorted(order) else order,
    )


def _tied(text: Keys, top: Keys, traits: Traits) -> bool:
    for keys in (top, text):
        if keys.has("tie_word_embeddings"):
            return keys.flag("tie_word_embeddings")
    return traits.tied


def _layers(text: Keys) -> int:
    layers = text.number("num_hidden_layers", "n_layer", "num_layers", "n_layers")
    if layers > 1000:
        raise SpecError(f"{text.where}: {layers} layers: that cannot be right")
    return layers


def _flag(text: Keys, flag: Flag) -> bool:
    if isinstance(flag, bool):
        return flag
    key, _, default = flag.partition("=")
    return text.flag(key, default == "yes")


class _Kind(NamedTuple):
    """What sets one layer apart from another of the same model."""

    linear: bool  # gated delta net instead of attention
    cross: bool  # attends to the image
    sparse: bool  # mixture of experts


def _kind(text: Keys, family: str, index: int) -> _Kind:
    kinds = text.values.get("layer_types")
    if isinstance(kinds, list) and index < len(kinds):
        linear = kinds[index] == "linear_attention"
    else:
        interval = text.optional("full_attention_interval")
        if interval is None and text.has("linear_num_value_heads"):
            interval = 4  # what the Qwen hybrids take when they are not told
        linear = interval is not None and (index + 1) % interval != 0
    cross = family == "mllama_text_model" and index in _indices(text.values.get("cross_attention_layers"))
    return _Kind(linear, cross, _experts(text) > 0 and _sparse(text, family, index))


def _block(text: Keys, family: str, traits: Traits, hidden: int, kind: _Kind) -> Block:
    attention = _attention(text, family, traits, hidden, kind)
    ffn = _moe(text, family, traits) if kind.sparse else _mlp(text, family, traits, hidden)
    parallel = _flag(text, traits.parallel)
    norms, extra = traits.norms, traits.extra
    if family == "gpt_neox":
        parallel = text.flag("use_parallel_residual", True)
    elif family == "falcon":
        parallel, norms = _falcon_norms(text)
    elif family == "stablelm" and parallel:
        norms = 1
    if attention.cross:
        extra += 2  # the gates of attention and MLP
    return Block(attention, ffn, norms, parallel, extra)


def _falcon_norms(text: Keys) -> tuple[bool, int]:
    new = text.flag("new_decoder_architecture")
    parallel = text.flag("parallel_attn", True)
    norms = text.optional("num_ln_in_parallel_attn") or (2 if new else 1)
    return parallel or new, norms if parallel or new else 2


def _attention(text: Keys, family: str, traits: Traits, hidden: int, kind: _Kind) -> Attention:
    heads = text.number("num_attention_heads", "n_head", "num_heads", "n_heads")
    if kind.linear:
        return Attention(
            kind="linear",
            heads=text.number("linear_num_value_heads"),
            kv_heads=text.number("linear_num_value_heads"),
            head_dim=text.number("linear_key_head_dim"),
            value_dim=text.number("linear_value_head_dim"),
            fused_qkv=family == "qwen3_next",
            conv_kernel=text.number("linear_conv_kernel_dim"),
            key_heads=text.number("linear_num_key_heads"),
        )
    if traits.mla or text.optional("kv_lora_rank"):
        rope = text.number("qk_rope_head_dim")
        return Attention(
            kind="mla",
            heads=heads,
            kv_heads=heads,
            head_dim=text.number("qk_nope_head_dim") + rope,
            value_dim=text.optional("v_head_dim") or hidden // heads,
            qkv_bias=_flag(text, traits.qkv_bias),
            out_bias=_flag(text, traits.out_bias),
            q_lora_rank=text.optional("q_lora_rank") or 0,
            kv_lora_rank=text.number("kv_lora_rank"),
            rope_dim=rope,
        )
    width = text.optional("head_dim", "kv_channels", "attention_head_dim") or traits.head_dim or hidden // heads
    qk_norm = traits.qk_norm
    if traits.qk_norm_key and not text.flag(traits.qk_norm_key):
        qk_norm = "none"
    return Attention(
        kind="gqa",
        heads=heads,
        kv_heads=_kv_heads(text, family, heads),
        head_dim=width,
        value_dim=width,
        qkv_bias=_flag(text, traits.qkv_bias),
        out_bias=_flag(text, traits.out_bias),
        qk_norm="head" if kind.cross else qk_norm,
        fused_qkv=traits.fused_qkv,
        output_gate=traits.output_gate,
        softcap=bool(traits.softcap and text.values.get("attn_logit_softcapping", 50.0)),
        sinks=traits.sinks,
        cross=kind.cross,
    )


def _kv_heads(text: Keys, family: str, heads: int) -> int:
    if family == "falcon":
        if text.flag("new_decoder_architecture"):
            return text.optional("num_kv_heads") or heads
        return 1 if text.flag("multi_query", True) else heads
    if family == "gpt_bigcode":
        return 1 if text.flag("multi_query", True) else heads
    if family == "chatglm":
        return text.number("multi_query_group_num") if text.flag("multi_query_attention") else heads
    return text.optional("num_key_value_heads", "num_kv_heads") or heads


def _experts(text: Keys) -> int:
    return text.optional("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts") or 0


def _mlp(text: Keys, family: str, traits: Traits, hidden: int) -> Mlp:
    names = ["ffn_hidden_size", "inner_hidden_size", "n_inner", "intermediate_size"]
    if family == "llama4_text":
        names = ["intermediate_size_mlp"]
    if family in ("falcon", "bloom", "gpt2", "gpt_bigcode"):
        width = text.optional("ffn_hidden_size", "n_inner") or 4 * hidden
    else:
        width = text.number(*names)
    if family == "qwen":
        width //= 2  # the first Qwen counts gate and up together
    act = next((text.text(key) for key in _ACTIVATIONS if text.has(key)), traits.activation)
    written = act == "gelu_new" and not traits.gated
    return Mlp(width, traits.gated, _flag(text, traits.mlp_bias), traits.fused_gate_up, written)


_ACTIVATIONS = ("hidden_act", "activation_function", "hidden_activation", "activation")


def _sparse(text: Keys, family: str, index: int) -> bool:
    """Whether layer `index` has experts."""
    if text.has("use_moe"):
        return text.flag("use_moe")
    if isinstance(layers := text.values.get("moe_layers"), list) and layers:
        return index in layers
    if (step := text.optional("interleave_moe_layer_step")) is not None:
        return (index + 1) % step == 0
    if isinstance(kinds := text.values.get("mlp_layer_types"), list) and index < len(kinds):
        return bool(kinds[index] == "sparse")
    if family == "ernie4_5_moe":
        start, step = text.optional("moe_layer_start_index") or 0, text.optional("moe_layer_interval") or 1
        last = text.optional("moe_layer_end_index")
        end = _layers(text) - 1 if last in (None, -1) else last
        return (index + 1) % step == 0 and start <= index <= (end or 0)
    if index in _indices(text.values.get("mlp_only_layers")):
        return False
    if (step := text.optional("decoder_sparse_step")) and (index + 1) % step != 0:
        return False
    if index < (text.optional("first_k_dense_replace") or 0):
        return False
    frequency = text.values.get("moe_layer_freq")
    if isinstance(frequency, list):
        return bool(frequency[index])
    return not isinstance(frequency, int) or index % frequency == 0


def _indices(value: Any) -> Iterable[int]:
    return value if isinstance(value, list) else ()


def _moe(text: Keys, family: str, traits: Traits) -> Moe:
    width = text.number("moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size")
    shared = text.optional("shared_expert_intermediate_size", "shared_intermediate_size")
    if shared is None:
        shared = (text.optional("n_shared_experts", "moe_num_shared_experts", "num_shared_experts") or 0) * width
    if family == "llama4_text":
        shared = width
    return Moe(
        experts=_experts(text),
        per_token=text.number("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk"),
        width=width,
        shared_width=shared,
        shared_gate=traits.shared_gate and shared > 0,
        router_bias=traits.router_bias,
        correction_bias=traits.correction_bias,
        expert_bias=traits.expert_bias,
        router_fp32=traits.router_fp32,
    )
