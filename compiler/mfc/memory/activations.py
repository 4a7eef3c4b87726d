"""What one decoder layer keeps for its backward pass, and its scratch at the busiest moment.

Read off traces of the real model code, tensor by tensor (docs/memory-model.md, section "Activations"). Everything
here is bytes of one sequence on one GPU; `tokens` are those of it that the GPU holds, `length` the keys each one sees.
"""

from __future__ import annotations

from typing import NamedTuple

from mfc.catalog.architecture import Attention, Mlp, Moe
from mfc.catalog.parameters import Adapter
from mfc.memory.inputs import Inputs
from mfc.memory.shape import Layer, Shape

PARTIAL_ROTARY = frozenset({"glm", "glm4", "phi", "stablelm"})  # rotated and plain halves are concatenated
INTERLEAVED_ROTARY = frozenset({"glm", "glm4"})  # cosines and sines are repeated for each layer


class Kept(NamedTuple):
    """Bytes kept by one layer: by its attention half and its feed-forward half, and what no token count changes."""

    attention: float
    ffn: float
    fixed: float
    inputs: float = 0.0  # of what grows with the sequence, inputs of linears that old 4-bit kernels hold on to

    @property
    def sequence(self) -> float:
        """Bytes that grow with the sequence."""
        return self.attention + self.ffn


def kept(shape: Shape, layer: Layer, chosen: tuple[Adapter, ...], given: Inputs) -> Kept:
    """What one layer keeps without checkpointing, or while its backward pass runs. `chosen` are its adapters."""
    formats, tokens = given.formats, given.tokens
    fixed = 0.0
    # Which linears keep their own input: those that train, adapters that read it unconverted, old 4-bit kernels.
    plain = given.lora is not None and not given.lora.dropout and (formats.adapter_matches or given.stack.lora_kernels)
    mine = (
        [adapter.linear for adapter in chosen if adapter.linear.kind in ("attention", "mlp", "shared")] if plain else []
    )
    everything = formats.full or (given.kbit and given.stack.kbit_keeps_inputs)
    into_attention = everything or any(x.kind == "attention" and x.name not in shape.out for x in mine)
    into_mlp = everything or any(x.kind != "attention" and x.name != shape.down for x in mine)
    into_down = everything or any(x.kind != "attention" and x.name == shape.down for x in mine)
    if given.stack.lora_kernels and not everything:
        into_down = False  # made again from gate and up
    halves = _norm(given) * layer.block.norms / 2
    attention = halves + _attention(layer.block.attention, given, into_attention)
    ffn = halves + _ffn(layer, chosen, given, into_down)
    if into_attention:
        attention += _input(given, casts=1 if layer.block.attention.fused_qkv else 3)
    shared = layer.block.parallel and layer.block.norms == 1  # attention and MLP read the same tensor
    if into_mlp and (_wide_norm(given) or not shared):
        mlp = layer.block.ffn
        apart = isinstance(mlp, Moe) or (mlp.gated and not mlp.fused_gate_up)
        ffn += _input(given, casts=2 if apart else 1)
    if formats.fp32_autocast or formats.casts_base:
        fixed += 2 * (sum(x.in_features * x.out_features for x in layer.linears) + layer.experts)
    if given.dequantised:
        fixed += 2 * layer.linear_numbers
    for adapter in chosen:
        if adapter.linear.fused_expert or adapter.linear.kind == "router":
            continue  # merged into the experts, below
        extra, casts = _adapter(adapter, layer, given)
        fixed += casts
        if adapter.linear.kind == "attention":
            attention += extra
        else:
            ffn += extra
    merged = [adapter for adapter in chosen if adapter.linear.fused_expert]
    if merged:  # fused experts are merged with their adapters, whole, until the backward pass
        numbers = sum(adapter.linear.weights for adapter in merged) // layer.count
        fixed += (
            2 * numbers + 2 * sum(a.parameters for a in chosen if a.linear.kind in ("expert", "router")) // layer.count
        )
    held = _inputs(layer, given) if given.kbit and given.stack.kbit_keeps_inputs else 0.0
    return Kept(attention * tokens, ffn * tokens, fixed, held * tokens)


def _inputs(layer: Layer, given: Inputs) -> float:
    """The inputs of all linears of one layer, each tensor once, per token."""
    ffn, hidden = layer.block.ffn, given.architecture.hidden
    experts = ffn.per_token if isinstance(ffn, Moe) else 1
    shared = layer.block.parallel and layer.block.norms == 1
    widths = hidden + layer.block.attention.out_width + experts * (ffn.width + (0 if shared else hidden))
    return given.formats.element * widths


def _norm(given: Inputs) -> float:
    """One norm, per token, without the output that the next linear reads."""
    formats, hidden = given.formats, given.architecture.hidden
    if not given.architecture.norm_weight and given.architecture.norm == "rms":
        return 4 * hidden + 4
    if given.architecture.norm == "layer":
        copied = formats.autocast or formats.stream == 4  # autocast runs layer_norm in fp32
        return (4 if copied else 2) * hidden + 8
    if given.lean:
        return formats.stream * hidden + 4
    wide = formats.fp32_autocast or given.architecture.family.startswith("gemma")
    normalised = (4 if wide else formats.element) * hidden if formats.full else 0
    return 4 * hidden + 4 + normalised


def _input(given: Inputs, casts: int) -> float:
    """The normalised input of a group of linears: kept once, or one 16-bit copy per linear where it is fp32."""
    hidden = given.architecture.hidden
    if _wide_norm(given):
        return casts * 2 * hidden
    return given.formats.element * hidden


def _wide_norm(given: Inputs) -> bool:
    """Whether norms return fp32 to 16-bit linears: torch's own LayerNorm does under autocast, whatever its weights.

    Norms without a bias (Cohere, OLMo) are the families' own code, which returns the type that it was given.
    """
    layer_norm = given.architecture.norm == "layer" and given.architecture.norm_bias
    return given.formats.fp32_autocast or (given.formats.autocast and layer_norm)


def _attention(attention: Attention, given: Inputs, into: bool) -> float:
    """q, k, v, the output and what the kernel keeps, per token."""
    element, heads = given.formats.element, attention.heads
    full, length = given.formats.full, given.length
    if attention.kind == "mla":
        rank, nope = attention.kv_lora_rank, attention.head_dim - attention.rope_dim
        norm = 4 + (4 + (2 if full else 0)) * rank + (2 * rank if into else 0)
        wide = 2 * attention.head_dim + nope + attention.value_dim
        return norm + element * heads * (wide + attention.value_dim) + 4 * heads
    if attention.kind == "linear":
        keys, values = attention.key_heads * attention.head_dim, attention.out_width
        # projections, convolution output, normalised q and k, decay and beta in fp32, output, gated norm
        return element * ((2 * keys + 2 * values) + (2 * keys + values) + 2 * keys + 3 * values) + 12 * heads
    q, kv = attention.q_width, attention.kv_width
    grouped = attention.heads != attention.kv_heads
    eager, masked = given.kernel == "eager" or attention.softcap, given.kernel == "masked"
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
        kept += scores * heads * length
    elif math:
        kept += 4 * heads * length
    else:
        kept += 4 * heads + (element * length if masked else 0)
        if into and (attention.fused_qkv or given.architecture.family in PARTIAL_ROTARY):
            kept += element * q  # the output needs a contiguous copy
    if given.architecture.family in INTERLEAVED_ROTARY:
        kept += 256
    if attention.qk_norm != "none":
        wide = 4 if given.formats.fp32_autocast else element
        normalised = wide if full else 0
        if given.lean:
            kept += element * (q + kv)
        else:
            kept += (4 + normalised) * (q + kv) + 4 * (attention.heads + attention.kv_heads)
    return kept


def _ffn(layer: Layer, chosen: tuple[Adapter, ...], given: Inputs, into_down: bool) -> float:
    """Gate, up, activation and product, or the experts' share, per token."""
    ffn, element, hidden = layer.block.ffn, given.formats.element, given.architecture.hidden
    if isinstance(ffn, Mlp):
        kept = _dense(ffn.width, ffn.gated, given, into_down)
        return kept + (_written_gelu(ffn.width, given) if ffn.written_gelu else 0)
    frozen = not given.formats.full and not any(adapter.linear.kind == "expert" for adapter in chosen)
    lean = given.lean and not given.stack.fused_experts
    widths = (2 if frozen else 3) if lean else (3 if frozen else 4)
    total = float(ffn.per_token) * ((1 if frozen else 2) * element * hidden + widths * element * ffn.width + 40)
    total += 4 * ffn.experts + 4
    if ffn.shared_width:
        total += _dense(ffn.shared_width, True, given, into_down)
    if ffn.shared_gate:
        total += element * hidden + 2
    if ffn.router_fp32 and given.formats.full:
        total += 4 * hidden
    return total


def _dense(width: int, gated: bool, given: Inputs, into_down: bool) -> float:
    if gated:
        return given.formats.element * width * ((2 if given.lean else 3) + (1 if into_down else 0))
    return given.formats.element * width * (1 + (1 if into_down else 0))


def _written_gelu(width: int, given: Inputs) -> float:
    """What 0.5 x (1 + tanh(x + c x^3)) keeps beside the operand of its power: tanh, 1 + tanh and 0.5 x.

    Autocast runs powers in fp32, so the operand becomes an fp32 copy and all that follows from it is fp32.
    """
    element = given.formats.element
    wide = 4 if given.formats.autocast else element
    return width * ((wide - element) + 2 * wide + element)


def _adapter(adapter: Adapter, layer: Layer, given: Inputs) -> tuple[float, float]:
    """(bytes per token, fixed bytes) that one adapted linear adds; an expert's linear sees its share of the tokens."""
    formats, lora, linear, rank = given.formats, given.lora, adapter.linear, adapter.rank
    assert lora is not None
    share = 1.0
    if linear.kind == "expert" and isinstance(layer.block.ffn, Moe):
        share = layer.block.ffn.per_token
    dropout = bool(lora.dropout)
    dora = 0.0
    if lora.variant == "dora":  # the base output and the adapter's output are both kept for the magnitude's gradient
        result = formats.element if formats.autocast else formats.trained
        dora = (formats.element + result) * linear.out_features
    cast = 0.0
    if given.stack.lora_kernels and not dropout:
        own = 0.0
    elif formats.adapter_matches:
        own = ((formats.element + 1) * linear.in_features if dropout else 0) + formats.element * rank
    elif formats.autocast:
        own = (3 if dropout else 2) * linear.in_features + 2 * rank
        cast = 2.0 * adapter.parameters / layer.count if formats.trained == 4 else 0.0
    else:
        own = (5 if dropout else 4) * linear.in_features + 4 * rank
    return share * (own + dora), cast


def scratch(layer: Layer, given: Inputs) -> float:
    """Bytes of one sequence at the busiest moment of one layer's backward pass, beside what it keeps."""
    formats, hidden = given.formats, given.architecture.hidden
    ffn = layer.block.ffn
    if given.stack.lora_kernels and given.lora is not None and not given.lora.dropout and isinstance(ffn, Mlp):
        return 2 * (ffn.width + 3 * hidden) * given.tokens
    if formats.adapters and formats.trained == 4 and isinstance(ffn, Mlp):
        wide = 10 if ffn.fused_gate_up and given.checkpointing else 4
        return (wide * ffn.width + 12 * hidden) * given.tokens
    return (2 * formats.element * layer.active_width + 2 * formats.element * hidden) * given.tokens
