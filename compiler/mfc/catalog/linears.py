"""The linears of one decoder block, as the model's code in transformers makes them, and what attention has besides."""

from __future__ import annotations

from collections.abc import Iterator

from mfc.catalog.architecture import Attention, Block, Linear, LinearKind, Mlp, Moe
from mfc.catalog.names import Names


def block_linears(block: Block, hidden: int, fused: bool, n: Names, count: int, group: int) -> Iterator[Linear]:
    """The linears of `count` equal blocks. `fused`: experts are 3-D parameters; `group` indexes Architecture.blocks."""
    for name, in_, out, bias in _attention_linears(block.attention, hidden, n):
        yield Linear(name, "language", "attention", in_, out, count, group, bias)
    if isinstance(block.ffn, Mlp):
        f = block.ffn
        for name, in_, out, bias in _dense(f.width, hidden, f.gated, f.fused_gate_up, f.bias, n):
            yield Linear(name, "language", "mlp", in_, out, count, group, bias)
    else:
        for name, kind, in_, out, each, bias in _moe_linears(block.ffn, hidden, fused, n):
            slices = fused and kind == "expert"
            yield Linear(name, "language", kind, in_, out, count * each, group, bias, slices)


def attention_rest(a: Attention) -> int:
    """Parameters of one attention layer outside its linears."""
    if a.kind == "linear":
        conv = (2 * a.key_heads * a.head_dim + a.heads * a.value_dim) * a.conv_kernel
        return conv + 2 * a.heads + a.value_dim  # the convolution; A_log and dt_bias; the gated norm
    norms = a.q_lora_rank + a.kv_lora_rank if a.kind == "mla" else 0
    if a.qk_norm == "head":
        norms += 2 * a.head_dim
    elif a.qk_norm == "full":
        norms += a.q_width + a.kv_width
    return norms + (a.heads if a.sinks else 0)


def _attention_linears(a: Attention, hidden: int, n: Names) -> Iterator[tuple[str, int, int, bool]]:
    """Name, in, out and bias of each linear of one attention layer."""
    if a.kind == "linear":
        keys, values = a.key_heads * a.head_dim, a.heads * a.value_dim
        if a.fused_qkv:
            yield "in_proj_qkvz", hidden, 2 * keys + 2 * values, False
            yield "in_proj_ba", hidden, 2 * a.heads, False
        else:
            yield "in_proj_qkv", hidden, 2 * keys + values, False
            yield "in_proj_z", hidden, values, False
            yield "in_proj_b", hidden, a.heads, False
            yield "in_proj_a", hidden, a.heads, False
        yield "out_proj", values, hidden, False
        return
    if a.kind == "mla":
        if a.q_lora_rank:
            yield "q_a_proj", hidden, a.q_lora_rank, a.qkv_bias
            yield "q_b_proj", a.q_lora_rank, a.q_width, False
        else:
            yield "q_proj", hidden, a.q_width, False
        yield "kv_a_proj_with_mqa", hidden, a.kv_lora_rank + a.rope_dim, a.qkv_bias
        yield "kv_b_proj", a.kv_lora_rank, a.heads * (a.head_dim - a.rope_dim + a.value_dim), False
    elif a.fused_qkv:
        yield n.qkv, hidden, a.q_width + 2 * a.kv_width, a.qkv_bias
    else:
        yield n.q, hidden, a.q_width * (2 if a.output_gate else 1), a.qkv_bias
        yield n.k, hidden, a.kv_width, a.qkv_bias
        yield n.v, hidden, a.kv_width, a.qkv_bias
    yield n.o, a.out_width, hidden, a.out_bias


def _dense(
    width: int, hidden: int, gated: bool, fused: bool, bias: bool, n: Names
) -> Iterator[tuple[str, int, int, bool]]:
    if fused:
        yield n.gate_up, hidden, 2 * width, bias
    else:
        if gated:
            yield n.gate, hidden, width, bias
        yield n.up, hidden, width, bias
    yield n.down, width, hidden, bias


def _moe_linears(m: Moe, hidden: int, fused: bool, n: Names) -> Iterator[tuple[str, LinearKind, int, int, int, bool]]:
    """Name, kind, in, out, how many, and bias of the linears of one mixture of experts."""
    yield n.router, "router", hidden, m.experts, 1, m.router_bias
    if fused:
        yield "gate_up_proj", "expert", hidden, 2 * m.width, m.experts, m.expert_bias
        yield "down_proj", "expert", m.width, hidden, m.experts, m.expert_bias
    else:
        yield n.expert_gate, "expert", hidden, m.width, m.experts, m.expert_bias
        yield n.expert_up, "expert", hidden, m.width, m.experts, m.expert_bias
        yield n.expert_down, "expert", m.width, hidden, m.experts, m.expert_bias
    if m.shared_width:
        for name, in_, out, bias in _dense(m.shared_width, hidden, True, n.shared_fused, False, n):
            yield name, "shared", in_, out, 1, bias
    if m.shared_gate:
        yield "shared_expert_gate", "router", hidden, 1, 1, False
