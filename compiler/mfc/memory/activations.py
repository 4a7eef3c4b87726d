"""What one decoder layer keeps for its backward pass, and its scratch at the busiest moment.

Read off traces of the real model code, tensor by tensor (docs/memory-model.md, section "Activations"). All figures
are bytes of one sequence on one GPU.
"""

from __future__ import annotations

from typing import NamedTuple

from mfc.catalog.architecture import Mlp, Moe
from mfc.catalog.parameters import Adapter
from mfc.memory.attention import per_token
from mfc.memory.inputs import Inputs
from mfc.memory.shape import Layer, Shape


class Kept(NamedTuple):
    """Bytes kept by one layer: by its attention half and its feed-forward half, and what no token count changes."""

    attention: float
    ffn: float
    fixed: float
    inputs: float = 0.0  # part of what grows with the sequence: inputs of linears that old 4-bit kernels hold on to

    @property
    def sequence(self) -> float:
        """Bytes that grow with the sequence."""
        return self.attention + self.ffn


def kept(shape: Shape, layer: Layer, chosen: tuple[Adapter, ...], given: Inputs) -> Kept:
    """What one layer keeps without checkpointing, or while its backward pass runs. `chosen` are its adapters."""
    into_attention, into_mlp, into_down = _own_inputs(shape, chosen, given)
    block = layer.block
    norms = _norm(given) * block.norms / 2
    attention = norms + per_token(block.attention, given, into_attention)
    ffn = norms + (0.0 if _tiled(layer, given) else _ffn(layer, chosen, given, into_down))
    if into_attention:
        attention += _input(given, casts=1 if block.attention.fused_qkv else 3)
    shared = block.parallel and block.norms == 1  # attention and MLP read the same tensor
    uncast = experts_element(given) > given.formats.element
    if _tiled(layer, given):
        ffn += given.formats.element * given.architecture.hidden
    elif into_mlp and (_wide_norm(given) or not shared):
        apart = block.ffn.gated and not block.ffn.fused_gate_up if isinstance(block.ffn, Mlp) else not uncast
        ffn += _input(given, casts=2 if apart else 1)
    fixed = _matrices(layer, chosen, given)
    for adapter in chosen:
        if adapter.linear.fused_expert or adapter.linear.kind == "router":
            continue  # merged into the experts, whole
        extra, casts = _adapter(adapter, layer, given)
        fixed += casts
        if _tiled(layer, given) and adapter.linear.kind != "attention":
            continue  # made and freed within a tile
        if adapter.linear.kind == "attention":
            attention += extra
        else:
            ffn += extra
    held = _inputs(layer, given) if given.kbit and given.stack.kbit_keeps_inputs else 0.0
    return Kept(attention * given.tokens, ffn * given.tokens, fixed, held * given.tokens)


def _own_inputs(shape: Shape, chosen: tuple[Adapter, ...], given: Inputs) -> tuple[bool, bool, bool]:
    """Whether linears keep their own input: what attention reads, what the MLP reads, what the MLP's last linear reads.

    Linears keep it that train, that run in old 4-bit kernels, or whose adapters read it unconverted.
    """
    formats, stack, lora = given.formats, given.stack, given.lora
    if formats.full or (given.kbit and stack.kbit_keeps_inputs):
        return True, True, True
    if lora is None or lora.dropout or not (formats.adapter_matches or stack.lora_kernels):
        return False, False, False
    linears = [adapter.linear for adapter in chosen]
    mlp = [each.name for each in linears if each.kind in ("mlp", "shared")]
    into_attention = any(each.kind == "attention" and each.name not in shape.out for each in linears)
    into_mlp = any(name != shape.down for name in mlp)
    return (
        into_attention,
        into_mlp,
        shape.down in mlp and not stack.lora_kernels,
    )  # these make it again from gate and up


def _matrices(layer: Layer, chosen: tuple[Adapter, ...], given: Inputs) -> float:
    """Fixed bytes: copies of whole matrices that live until the backward pass."""
    fixed = 0.0
    if given.formats.fp32_autocast or given.formats.casts_base:
        experts = layer.experts if experts_element(given) == given.formats.element else 0
        fixed += 2 * (sum(x.in_features * x.out_features for x in layer.linears) + experts)
    if given.dequantised:
        fixed += 2 * layer.linear_numbers
    merged = sum(adapter.linear.weights for adapter in chosen if adapter.linear.fused_expert)
    if merged:  # fused experts are merged with their adapters, whole
        adapters = sum(each.parameters for each in chosen if each.linear.kind in ("expert", "router"))
        fixed += 2 * (merged // layer.size) + 2 * adapters // layer.size
    return fixed


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
    wide = (formats.fp32_norms and formats.stream == 4) or given.architecture.language.startswith("gemma")
    wide = wide or given.stack.norms_round_last
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
    rms = given.formats.fp32_norms and not given.stack.norms_round_last
    return rms or (given.formats.autocast and layer_norm)


def _ffn(layer: Layer, chosen: tuple[Adapter, ...], given: Inputs, into_down: bool) -> float:
    """Gate, up, activation and product, or the experts' share, per token."""
    ffn, element, hidden = layer.block.ffn, given.formats.element, given.architecture.hidden
    if isinstance(ffn, Mlp):
        kept = _dense(ffn.width, ffn.gated, given, into_down)
        if ffn.quick_gelu:
            kept += given.formats.element * ffn.width
        return kept + (_written_gelu(ffn.width, given) if ffn.written_gelu else 0)
    frozen = not given.formats.full and not any(adapter.linear.kind == "expert" for adapter in chosen)
    lean = given.lean and not given.stack.fused_experts
    widths = (2 if frozen else 3) if lean else (3 if frozen else 4)
    own = experts_element(given)
    total = float(ffn.per_token) * ((1 if frozen else 2) * own * hidden + widths * own * ffn.width + 40)
    total += 4 * ffn.experts + 4
    if ffn.shared_width:
        total += _dense(ffn.shared_width, True, given, into_down)
    if ffn.shared_gate:
        total += element * hidden + 2
    if ffn.router_fp32 and given.formats.full:
        total += 4 * hidden
    return total


def experts_element(given: Inputs) -> int:
    """Bytes per number inside experts: 4 where one parameter holds them and trains in fp32.

    Autocast has no rule for products of groups of rows (transformers integrations/moe.py, _grouped_mm).
    """
    return 4 if given.formats.fp32_autocast and given.stack.fused_experts else given.formats.element


def _tiled(layer: Layer, given: Inputs) -> bool:
    return given.tiled and isinstance(layer.block.ffn, Mlp)


def _dense(width: int, gated: bool, given: Inputs, into_down: bool) -> float:
    into = given.formats.element if into_down else 0
    return width * (linears_element(given) * ((2 if given.lean else 3) if gated else 1) + into)


def linears_element(given: Inputs) -> int:
    """Bytes per number of what linears return that read the output of a norm.

    bitsandbytes' own return the type that they were given (nn/modules.py, Linear4bit.forward), whatever autocast says.
    """
    return 4 if given.formats.wide_linears else given.formats.element


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
        result = formats.element if formats.autocast else formats.computed
        dora = (formats.element + result) * linear.out_features
    cast = 0.0
    if given.stack.lora_kernels and not dropout:
        own = 0.0
    elif formats.adapter_matches:
        own = ((formats.element + 1) * linear.in_features if dropout else 0) + formats.element * rank
    elif formats.autocast:
        own = (3 if dropout else 2) * linear.in_features + 2 * rank
        cast = 2.0 * adapter.parameters / layer.size if formats.computed == 4 else 0.0
    else:
        own = (5 if dropout else 4) * linear.in_features + 4 * rank
    return share * (own + dora), cast


def scratch(layer: Layer, chosen: tuple[Adapter, ...], given: Inputs, runs: bool) -> float:
    """Bytes of one sequence at the busiest moment of one layer's backward pass, beside what it keeps.

    `chosen` are its adapters. `runs`: its forward pass is counted apart (`running`).
    """
    formats, hidden = given.formats, given.architecture.hidden
    ffn = layer.block.ffn
    if _tiled(layer, given):
        # outputs of tiles and their sum, or gradients of output and input; and of one tile all that an MLP has
        own = _ffn(layer, (), given, into_down=True) + 2 * formats.element * layer.active_width
        bare = given._replace(formats=formats._replace(autocast=False))  # autocast is off in the backward pass
        own += sum(_adapter(each, layer, bare)[0] for each in chosen if each.linear.kind != "attention")
        return 2 * formats.element * hidden * given.tokens + own * given.tile
    if given.stack.lora_kernels and given.lora is not None and not given.lora.dropout and isinstance(ffn, Mlp):
        return 2 * (ffn.width + 3 * hidden) * given.tokens
    if formats.adapters and formats.computed == 4 and isinstance(ffn, Mlp):
        wide = 10 if ffn.fused_gate_up and given.checkpointing else 4
        if formats.wide_linears:  # gradients of the product and of its factors are fp32 as well
            wide *= 2
        passing = 4 if runs and formats.autocast and wide == 4 else 12
        return (wide * ffn.width + passing * hidden) * given.tokens
    own = experts_element(given) if isinstance(ffn, Moe) else formats.element
    busy = 2 * own * layer.active_width + 2 * own * hidden
    if isinstance(ffn, Moe) and own > formats.element:  # results in the order of experts: their gradient, twice more
        busy = max(busy, 3 * own * ffn.per_token * hidden + 2 * own * hidden)
    return busy * given.tokens
