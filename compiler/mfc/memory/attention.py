"""What one attention layer keeps for its backward pass: q, k, v, the output and what the kernel keeps.

Bytes per token, without the normalised input (docs/memory-model.md, section "Activations").
"""

from __future__ import annotations

from mfc.catalog.architecture import Attention
from mfc.memory.inputs import Inputs

PARTIAL_ROTARY = frozenset({"glm", "glm4", "phi", "stablelm"})  # rotated and plain halves are concatenated
INTERLEAVED_ROTARY = frozenset({"glm", "glm4"})  # cosines and sines are repeated for each layer


def per_token(attention: Attention, given: Inputs, own_input: bool) -> float:
    """What one layer keeps. `own_input`: the linears that make q, k and v keep theirs."""
    if attention.kind == "mla":
        return _latent(attention, given, own_input)
    if attention.kind == "linear":
        return _linear(attention, given)
    return _grouped(attention, given, own_input)


def scores(attention: Attention, given: Inputs) -> float:
    """Bytes per token of the scores as eager attention takes their softmax in fp32, where no graph keeps them.

    PyTorch makes an fp32 copy first of what is not fp16 (SoftMax.cpp, `softmax`; transformers eager_attention_forward).
    """
    return (8.0 if given.formats.element == 4 else 10.0) * attention.heads * given.length


def _latent(attention: Attention, given: Inputs, own_input: bool) -> float:
    """Multi-head latent attention."""
    rank, nope = attention.kv_lora_rank, attention.head_dim - attention.rope_dim
    norm = 4 + (4 + (2 if given.formats.full else 0)) * rank + (2 * rank if own_input else 0)
    wide = 2 * attention.head_dim + nope + attention.value_dim
    return norm + given.formats.element * attention.heads * (wide + attention.value_dim) + 4 * attention.heads


def _linear(attention: Attention, given: Inputs) -> float:
    """Gated delta nets and their kin."""
    keys, values = attention.key_heads * attention.head_dim, attention.out_width
    # projections, convolution output, normalised q and k, decay and beta in fp32, output, gated norm
    widths = (2 * keys + 2 * values) + (2 * keys + values) + 2 * keys + 3 * values
    return given.formats.element * widths + 12 * attention.heads


def _grouped(attention: Attention, given: Inputs, own_input: bool) -> float:
    """Softmax attention, with as many key heads as query heads or fewer."""
    element, heads, family = given.formats.element, attention.heads, given.architecture.family
    q, kv = attention.q_width, attention.kv_width
    grouped = heads != attention.kv_heads
    eager, masked = given.kernel == "eager" or attention.softcap, given.kernel in ("masked", "blocks")
    math = element == 4 and grouped and not eager and not masked  # fp32 with grouped heads: no fused kernel
    repeats = given.stack.expands_kv or (given.kernel == "sdpa" and given.stack.sdpa_expands_kv)
    expanded = grouped and (eager or masked or math or repeats)
    whole = attention.fused_qkv and not expanded  # v is a view of the fused projection
    key = element * (q if expanded else kv)
    value = element * (q + 2 * kv) if whole else key
    kept = element * 2 * q + key + value
    if attention.output_gate:
        kept += element * 2 * q
    if eager:
        scores = 4 + (2 if element == 2 else 0) + ((2 if element == 2 else 4) if attention.softcap else 0)
        kept += scores * heads * given.length
    elif math:
        kept += 4 * heads * given.length
    else:
        kept += 4 * heads + (element * given.length if given.kernel == "masked" else 0)
        if own_input and (attention.fused_qkv or family in PARTIAL_ROTARY):
            kept += element * q  # the output needs a contiguous copy
    if family in INTERLEAVED_ROTARY:
        kept += 256
    return kept + (_head_norms(attention, given) if attention.qk_norm != "none" else 0)


def _head_norms(attention: Attention, given: Inputs) -> float:
    """Norms over q and k."""
    q, kv = attention.q_width, attention.kv_width
    if given.lean:
        return given.formats.element * (q + kv)
    wide = 4 if given.formats.fp32_norms else given.formats.element
    return (4 + (wide if given.formats.full else 0)) * (q + kv) + 4 * (attention.heads + attention.kv_heads)
