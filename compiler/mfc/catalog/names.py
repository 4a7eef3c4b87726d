"""What each family's code calls its modules, and what adapters can reach in it.

Source: the modelling code of transformers 5.23 (and 4.57 for `*_was_*`), PEFT 0.21.2, and the remote code of the
families that transformers does not carry.
"""

from __future__ import annotations

from typing import NamedTuple


class Names(NamedTuple):
    """Module names of one family; the defaults are Llama's."""

    embedding: str = "embed_tokens"
    q: str = "q_proj"
    k: str = "k_proj"
    v: str = "v_proj"
    qkv: str = "qkv_proj"
    o: str = "o_proj"
    gate: str = "gate_proj"
    up: str = "up_proj"
    gate_up: str = "gate_up_proj"
    down: str = "down_proj"
    router: str = "gate"
    expert_gate: str = "gate_proj"  # before experts were fused
    expert_up: str = "up_proj"
    expert_down: str = "down_proj"
    head: str = "lm_head"
    shared_fused: bool = False  # the shared expert's gate and up are one linear
    always_fused: bool = False  # experts were 3-D parameters in transformers 4 already
    router_is_linear: bool = False  # transformers 5: the router is an nn.Linear that all-linear reaches
    router_was_linear: bool = True  # transformers 4
    remapped: bool = False  # PEFT turns targets on experts into targets on their fused parameters


_LLAMA = Names()
_NEOX = Names("embed_in", qkv="query_key_value", o="dense", up="dense_h_to_4h", down="dense_4h_to_h", head="embed_out")
_FALCON = _NEOX._replace(embedding="word_embeddings", head="lm_head")
_GPT = Names("wte", qkv="c_attn", o="c_proj", up="c_fc", down="c_proj")
_PHI = Names(o="dense", up="fc1", down="fc2")
_MIXTRAL = Names(expert_gate="w1", expert_up="w3", expert_down="w2", remapped=True)
_QWEN_MOE = Names(remapped=True)
_DEEPSEEK = Names(remapped=True, router_was_linear=False)

FAMILIES: dict[str, Names] = {
    "baichuan": Names(qkv="W_pack"),
    "bloom": _FALCON,
    "chatglm": _NEOX._replace(embedding="word_embeddings", gate_up="dense_h_to_4h", head="output_layer"),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "dots1": _DEEPSEEK,
    "ernie4_5_moe": _QWEN_MOE._replace(router_was_linear=True),
    "falcon": _FALCON,
    "glm4_moe": _DEEPSEEK,
    "gpt_bigcode": _GPT,
    "gpt_neox": _NEOX,
    "gpt_oss": Names(router="router", always_fused=True, router_was_linear=False),
    "granitemoe": Names(router="layer", always_fused=True),
    "internlm2": Names("tok_embeddings", qkv="wqkv", o="wo", gate="w1", up="w3", down="w2", head="output"),
    "llama4": Names(router="router", always_fused=True, router_is_linear=True),
    "llama4_text": Names(router="router", always_fused=True, router_is_linear=True),
    "minimax": _MIXTRAL,
    "minimax_m2": _MIXTRAL,
    "mixtral": _MIXTRAL,
    "olmoe": _QWEN_MOE,
    "phi": _PHI,
    "phimoe": Names(router="router", router_is_linear=True, expert_gate="w1", expert_up="w3", expert_down="w2"),
    "qwen": Names("wte", qkv="c_attn", o="c_proj", gate="w2", up="w1", down="c_proj"),
    "qwen3_moe": _QWEN_MOE,
    "qwen3_next": _QWEN_MOE,
    "starcoder2": Names(up="c_fc", down="c_proj"),
}


def names(family: str, text: str = "") -> Names:
    """The module names of the family of a language model, `text`, within a model of type `family`; else Llama's.

    PEFT remaps experts by the whole model's type, and finds names in the modules themselves.
    """
    found = FAMILIES.get(text or family, _LLAMA)
    outer = FAMILIES.get(family, _LLAMA)
    return found if found.remapped == outer.remapped else found._replace(remapped=outer.remapped)
