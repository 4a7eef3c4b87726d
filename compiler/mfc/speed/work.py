"""What one token costs a model, whatever the hardware: counted once per architecture and kept."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from mfc.catalog.architecture import Architecture, Block, Linear, Mlp, Moe
from mfc.catalog.parameters import adapters, linears
from mfc.speed.constants import MLP_BYTES, NORM_BYTES, RESIDUAL_BYTES, ROTARY_BYTES
from mfc.strategy import Lora


class Work(NamedTuple):
    """One forward pass of the language model. A product with a matrix of n numbers takes 2n FLOPs per token."""

    layers: int
    active: float  # numbers in the blocks' matrices that one token meets
    stored: float  # numbers in all of the blocks' matrices, experts included
    head: float  # numbers in the output head
    vocab: int
    score_width: float  # query and value features over all layers: 2 x this x keys FLOPs per token
    heads: float  # attention heads over all layers: scores per token and key
    elementwise: float  # bytes per token that are moved outside the matrix products, unfused
    modules: float  # linears, a fused stack of experts counted once


class AdapterWork(NamedTuple):
    """One forward pass of the adapters, per token."""

    numbers: float  # in the adapters' own matrices
    base: float  # in the matrices they adapt
    in_features: float
    out_features: float
    modules: float


@lru_cache(maxsize=256)
def work(architecture: Architecture) -> Work:
    """The forward pass of `architecture`, its vision tower left out."""
    body = [linear for linear in linears(architecture) if linear.part == "language"]
    softmax = [(count, block.attention) for count, block in architecture.blocks if block.attention.kind != "linear"]
    return Work(
        layers=architecture.layers,
        active=sum(linear.weights * _share(linear, architecture) for linear in body),
        stored=sum(linear.weights for linear in body),
        head=architecture.hidden * architecture.vocab,
        vocab=architecture.vocab,
        score_width=sum(count * (a.q_width + a.out_width) for count, a in softmax),
        heads=sum(count * a.heads for count, a in softmax),
        elementwise=sum(count * _elementwise(block, architecture.hidden) for count, block in architecture.blocks),
        modules=sum(_calls(linear, architecture) for linear in body),
    )


@lru_cache(maxsize=256)
def adapter_work(architecture: Architecture, lora: Lora) -> AdapterWork:
    """The forward pass of the adapters that `lora` asks for."""
    found = adapters(architecture, lora)
    per_token = [(each, each.linear.count * _share(each.linear, architecture)) for each in found]
    return AdapterWork(
        numbers=sum(each.parameters * _share(each.linear, architecture) for each in found),
        base=sum(each.linear.weights * _share(each.linear, architecture) for each in found),
        in_features=sum(each.linear.in_features * times for each, times in per_token),
        out_features=sum(each.linear.out_features * times for each, times in per_token),
        modules=sum(_calls(each.linear, architecture) for each in found),
    )


def _share(linear: Linear, architecture: Architecture) -> float:
    """The share of a linear's copies that one token passes through: of E experts, k."""
    if linear.kind != "expert":
        return 1.0
    ffn = architecture.blocks[linear.group][1].ffn
    return ffn.per_token / ffn.experts if isinstance(ffn, Moe) else 1.0


def _calls(linear: Linear, architecture: Architecture) -> float:
    """Kernels' worth of calls: the experts of a layer go as one grouped product."""
    return architecture.blocks[linear.group][0] if linear.kind == "expert" else linear.count


def _elementwise(block: Block, hidden: int) -> float:
    attention, ffn = block.attention, block.ffn
    width = ffn.width if isinstance(ffn, Mlp) else ffn.per_token * ffn.width + ffn.shared_width
    return (
        block.norms * NORM_BYTES * hidden
        + 2 * RESIDUAL_BYTES * hidden
        + ROTARY_BYTES * (attention.q_width + attention.kv_width)
        + MLP_BYTES * width
    )
