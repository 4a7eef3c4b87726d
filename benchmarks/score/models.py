"""The model of a row of the truth files, from its dimensions."""

from __future__ import annotations

import re
from functools import lru_cache

from mfc.catalog.architecture import Architecture, Attention, Block, Mlp, Moe

from benchmarks.truth import Row, dimensions


class Unsupported(Exception):
    """mfc has no strategy for the row, or the row leaves out what memory depends on."""


# Which model code a dims_key runs; the first match counts. Others are read as Llama.
FAMILIES = (
    ("qwen3-next", "qwen3_next"), ("qwen3-.*a\\d", "qwen3_moe"), ("qwen3", "qwen3"),
    ("qwen1.5-moe|qwen2.*a14b", "qwen2_moe"),
    ("qwen-\\d", "qwen"), ("qwen", "qwen2"), ("mixtral", "mixtral"), ("mistral", "mistral"), ("gemma-2-", "gemma2"),
    ("gemma-3", "gemma3_text"), ("gemma", "gemma"), ("phi-3|phi-4", "phi3"), ("phi", "phi"), ("falcon", "falcon"),
    ("stablelm-base-alpha|pythia|neox|redpajama", "gpt_neox"), ("chatglm", "chatglm"),
    ("glm-4.5", "glm4_moe"), ("glm", "glm"),
    ("baichuan", "baichuan"), ("internlm2", "internlm2"), ("bloom", "bloom"), ("gpt-oss", "gpt_oss"),
    ("granite.*a\\d", "granitemoe"), ("granite", "granite"), ("santacoder|starcoder(?!2)", "gpt_bigcode"),
    ("olmo", "olmo2"),
    ("deepseek-v[23]", "deepseek_v3"),
)  # fmt: skip
FUSED_QKV = frozenset(
    {"qwen", "baichuan", "chatglm", "internlm2", "falcon", "gpt_neox", "bloom", "phi3", "gpt_bigcode"}
)
FUSED_GATE_UP = frozenset({"chatglm", "phi3", "glm"})


def architecture_of(row: Row) -> Architecture:
    """The model of a row. Raises Unsupported when its dimensions are not known."""
    key = row.get("dims_key")
    if key is None or key not in dimensions():
        raise Unsupported(f"no dimensions for {key or row.get('model')}")
    own_code = bool(re.search(r"lit-?gpt", str(row.get("framework") or "").lower()))
    made = _architecture(key, own_code)
    if str(row.get("method")) != "llamapro":
        return made
    (layers, block), *rest = made.blocks  # copies of blocks are spread over the model
    return made._replace(blocks=((layers + (blocks_of(row) or 0), block), *rest))


@lru_cache(maxsize=256)
def _architecture(key: str, litgpt: bool) -> Architecture:
    """`litgpt`: its model code fuses q, k and v in every family and ties no head."""
    dims = dimensions()[key]
    family = next((family for pattern, family in FAMILIES if re.match(pattern, key.lower())), "llama")
    bias = bool(dims["linear_bias"])
    layer = dims["norm"] == "LayerNorm"
    gemma2 = family == "gemma2"
    attention = Attention(
        kind="gqa",
        heads=dims["heads"],
        kv_heads=dims["kv_heads"],
        head_dim=dims["head_dim"],
        value_dim=dims["head_dim"],
        qkv_bias=dims["qkv_bias"] or bias,
        out_bias=bias,
        qk_norm="head" if dims["qk_norm"] else "none",
        fused_qkv=litgpt or family in FUSED_QKV,
        softcap=gemma2,
    )
    parallel = bool(dims.get("shared_attention_norm")) or key.startswith("stablelm-base-alpha")
    ffn: Mlp | Moe
    if dims["experts"]:
        ffn = Moe(
            experts=dims["experts"],
            per_token=dims["experts_per_token"],
            width=dims["moe_intermediate"],
            shared_width=dims.get("shared_expert_intermediate", 0),
            shared_gate=bool(dims.get("shared_expert_intermediate", 0)) and family == "qwen2_moe",
        )
    else:
        ffn = Mlp(dims["intermediate"], gated=dims["mlp_gated"], bias=bias, fused_gate_up=family in FUSED_GATE_UP)
    norms = 4 if dims["post_norms"] else 1 if dims.get("shared_attention_norm") else 2
    return Architecture(
        family=family,
        hidden=dims["hidden"],
        vocab=dims["vocab"],
        blocks=((dims["layers"], Block(attention, ffn, norms=norms, parallel=parallel)),),
        tied=dims["tie_embeddings"] and not litgpt,
        norm="layer" if layer else "rms",
        norm_bias=layer,
        head_bias=family == "phi",
        logit_softcap=gemma2,
    )


def blocks_of(row: Row) -> int | None:
    """Blocks that LISA or LLaMA Pro trains; None when the row does not say."""
    found = re.search(r"(?:num_blocks|lisa_activated_layers)=(\d+)", str(row.get("notes")))
    return int(found[1]) if found else None
