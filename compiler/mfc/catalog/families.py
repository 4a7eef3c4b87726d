"""What each family's code does that its config.json does not say: one line per `model_type`.

A trait that is text names the config key that switches it on (`"attention_bias"`), with `key=yes` where a config that
lacks the key means yes. Source: the modelling and configuration code of transformers 5.23 and the remote code of the
families that transformers does not carry.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Flag = bool | str


class Traits(NamedTuple):
    """The defaults are Llama's. `*_bias` are of linears, `tied` of configs that do not say."""

    qkv_bias: Flag = False
    out_bias: Flag = False
    mlp_bias: Flag = False
    head_bias: Flag = False
    fused_qkv: bool = False
    fused_gate_up: bool = False
    gated: bool = True
    activation: str = ""  # where the config may leave it out and it is written out in operators
    norm: Literal["rms", "layer"] = "rms"
    norm_bias: bool = False
    norm_weight: bool = True
    norms: int = 2
    parallel: Flag = False
    qk_norm: Literal["none", "head", "full"] = "none"
    qk_norm_key: str = ""  # the config key that switches qk_norm on; "" = always
    embedding_norm: bool = False
    learned_positions: bool = False
    softcap: bool = False
    sinks: bool = False
    output_gate: bool = False
    tied: bool = False
    mla: bool = False
    head_dim: int = 0  # when the config may leave it out and it is not hidden / heads
    expert_bias: bool = False
    router_bias: bool = False
    router_fp32: bool = False
    correction_bias: bool = False
    shared_gate: bool = False
    extra: int = 0  # parameters of each block that no other trait covers


_LLAMA = Traits("attention_bias", "attention_bias", "mlp_bias")
_PLAIN = Traits()
_QWEN2 = Traits(qkv_bias=True)
_QWEN3 = Traits("attention_bias", "attention_bias", qk_norm="head")
_GPT = Traits(
    True, True, True, gated=False, norm="layer", norm_bias=True, fused_qkv=True, learned_positions=True, tied=True
)
_GEMMA = Traits("attention_bias", "attention_bias", tied=True, head_dim=256)
_GEMMA2 = _GEMMA._replace(norms=4, softcap=True)
_GEMMA3 = _GEMMA._replace(norms=4, qk_norm="head")
_GLM = Traits("attention_bias=yes", fused_gate_up=True, head_dim=128)
_COHERE = Traits("attention_bias", "attention_bias", norm="layer", norms=1, parallel=True, tied=True)
_DEEPSEEK = Traits("attention_bias", "attention_bias", mla=True, router_fp32=True)
_OLMO2 = Traits("attention_bias", "attention_bias", qk_norm="full")
_QWEN_HYBRID = _QWEN3._replace(output_gate=True, shared_gate=True, head_dim=256)

FAMILIES: dict[str, Traits] = {
    "apertus": Traits("attention_bias", "attention_bias", gated=False, qk_norm="head", extra=2),  # two numbers of xIELU
    "arcee": _LLAMA._replace(gated=False),
    "baichuan": Traits(fused_qkv=True),
    "bloom": Traits(
        True, True, True, fused_qkv=True, gated=False, norm="layer", norm_bias=True, embedding_norm=True, tied=True
    ),
    "chatglm": Traits(
        "add_qkv_bias", "add_bias_linear", "add_bias_linear", fused_qkv=True, fused_gate_up=True, head_dim=128
    ),
    "cohere": _COHERE._replace(qk_norm="full", qk_norm_key="use_qk_norm"),
    "cohere2": _COHERE,
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "dots1": Traits("attention_bias", "attention_bias", qk_norm="head"),
    "ernie4_5": Traits("use_bias", "use_bias", "use_bias", tied=True, head_dim=128),
    "ernie4_5_moe": Traits("use_bias", "use_bias", "use_bias", "use_bias", correction_bias=True, router_fp32=True),
    "exaone4": Traits(qk_norm="head"),
    "falcon": Traits(
        "bias", "bias", "bias", fused_qkv=True, gated=False, norm="layer", norm_bias=True, parallel=True, tied=True
    ),
    "gemma": _GEMMA,
    "gemma2": _GEMMA2,
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "glm": _GLM,
    "glm4": _GLM._replace(norms=4),
    "glm4v_text": _GLM._replace(norms=4, head_dim=0),
    "glm4_moe": Traits("attention_bias", qk_norm="head", qk_norm_key="use_qk_norm", router_fp32=True),
    "gpt2": _GPT._replace(activation="gelu_new"),
    "gpt_bigcode": _GPT,
    "gpt_neox": Traits(
        "attention_bias=yes", "attention_bias=yes", True, fused_qkv=True, gated=False, norm="layer", norm_bias=True
    ),
    "gpt_oss": Traits("attention_bias=yes", "attention_bias=yes", sinks=True, expert_bias=True, router_bias=True),
    "granite": _LLAMA,
    "granitemoe": Traits("attention_bias", "attention_bias"),
    "hunyuan_v1_dense": Traits("attention_bias", "attention_bias", qk_norm="head"),
    "internlm": Traits("bias=yes", "bias=yes"),
    "internlm2": Traits("bias", "bias", fused_qkv=True),
    "internlm3": Traits("qkv_bias", "bias", "bias"),
    "llama": _LLAMA,
    "llama4_text": Traits("attention_bias", "attention_bias"),
    "minicpm": _LLAMA._replace(tied=True),
    "minicpm3": _DEEPSEEK._replace(router_fp32=False),
    "minimax_m2": Traits(qk_norm="full", router_fp32=True),
    "mllama_text_model": _PLAIN,
    "minimind": Traits(tied=True, qk_norm="head", qk_norm_key="head_dim"),  # its second generation has neither
    "ministral": _PLAIN,
    "ministral3": _PLAIN,
    "mistral": _PLAIN,
    "mixtral": _PLAIN,
    "olmo": Traits("attention_bias", "attention_bias", norm="layer", norm_weight=False),
    "olmo2": _OLMO2,
    "olmo3": _OLMO2,
    "olmoe": _OLMO2,
    "phi": Traits(
        True, True, True, True, gated=False, norm="layer", norm_bias=True, norms=1, parallel=True, activation="gelu_new"
    ),
    "phi3": Traits(fused_qkv=True, fused_gate_up=True),
    "phimoe": Traits("attention_bias", "attention_bias", head_bias="lm_head_bias", norm="layer", norm_bias=True),
    "qwen": Traits(qkv_bias=True, fused_qkv=True),
    "qwen2": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    "qwen2_moe": Traits("qkv_bias=yes", shared_gate=True),
    "qwen2_vl_text": _QWEN2,
    "qwen3": _QWEN3,
    "qwen3_5_moe_text": _QWEN_HYBRID,
    "qwen3_5_text": _QWEN_HYBRID,
    "qwen3_moe": _QWEN3,
    "qwen3_next": _QWEN_HYBRID,
    "qwen3_vl_moe_text": _QWEN3,
    "qwen3_vl_text": _QWEN3,
    "seed_oss": Traits("attention_bias", "attention_out_bias", "mlp_bias"),
    "smollm3": _LLAMA._replace(tied=True),
    "stablelm": Traits(
        "use_qkv_bias", norm="layer", norm_bias=True, qk_norm="full", qk_norm_key="qk_layernorm",
        parallel="use_parallel_residual",
    ),
    "starcoder2": Traits(
        "use_bias=yes", "use_bias=yes", "use_bias=yes", gated=False, norm="layer", norm_bias=True, tied=True
    ),
}  # fmt: skip

# Models whose config has the keys of a language model of another type, and those of towers beside them (Mini-Gemini).
BESIDE = {"mgm": "llama", "mgm_gemma": "gemma", "mgm_mistral": "mistral", "mgm_mixtral": "mixtral"}

# What transformers leaves out of a nested text_config because it equals the class default.
DEFAULTS: dict[str, dict[str, int]] = {
    "llama": {
        "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 11008,
        "vocab_size": 32000,
    },
    "mistral": {
        "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "intermediate_size": 14336, "vocab_size": 32000,
    },
}  # fmt: skip
