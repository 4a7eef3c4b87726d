"""What one token costs a model, whatever the hardware: counted once per architecture and cached."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from mfc.catalog.architecture import Architecture, Block, Linear, Mlp, Moe
from mfc.catalog.parameters import adapters, linears
from mfc.speed.constants import MLP_BYTES, NORM_BYTES, RESIDUAL_BYTES, ROTARY_BYTES, ROUTED_BYTES
from mfc.strategy import Lora


class Work(NamedTuple):
    """One forward pass of the language model. A product with a matrix of n numbers takes 2n FLOPs per token."""

    layers: int
    active: float  # numbers in the blocks' matrices that one token meets
    mlp: float  # of these, numbers in dense MLPs
    stored: float  # numbers in all of the blocks' matrices, experts included
    head: float  # numbers in the output head
    vocab: int
    score_width: float  # query and value features over all layers: 2 x this x keys FLOPs per token
    heads: float  # attention heads over all layers: scores per token and key
    elementwise: float  # bytes per token that are moved outside the matrix products, unfused
    mlp_elementwise: float  # of these, between the products of dense MLPs
    modules: float  # linears; experts that are one parameter count once, those in a loop each
    routed: int  # layers with experts in one parameter: grouped products
    experts: int  # experts over all layers


class AdapterWork(NamedTuple):
    """One forward pass of the adapters."""

    numbers: float  # in the adapters' own matrices, as one token meets them
    base: float  # in the matrices they adapt, as one token meets them
    in_features: float
    out_features: float
    modules: float
    merged: float  # numbers in fused experts, to which their adapters are added whole in every forward
    merged_active: float  # numbers of these that one token meets


@lru_cache(maxsize=256)
def work(architecture: Architecture, fused_experts: bool = True) -> Work:
    """The forward pass of `architecture`, its vision tower left out."""
    body = [each for each in linears(architecture, fused_experts=fused_experts) if each.part == "language"]
    softmax = [(count, block.attention) for count, block in architecture.blocks if block.attention.kind != "linear"]
    routed = {each.group for each in body if each.kind == "expert" and each.fused_expert}
    return Work(
        layers=architecture.layers,
        active=sum(linear.weights * _share(linear, architecture) for linear in body),
        mlp=sum(linear.weights for linear in body if linear.kind == "mlp"),
        stored=sum(linear.weights for linear in body),
        head=architecture.hidden * architecture.vocab,
        vocab=architecture.vocab,
        score_width=sum(count * (a.q_width + a.out_width) for count, a in softmax),
        heads=sum(count * a.heads for count, a in softmax),
        elementwise=sum(count * _elementwise(block, architecture.hidden) for count, block in architecture.blocks),
        mlp_elementwise=sum(
            count * MLP_BYTES * block.ffn.width for count, block in architecture.blocks if isinstance(block.ffn, Mlp)
        ),
        modules=sum(_calls(linear, architecture) for linear in body),
        routed=sum(architecture.blocks[group][0] for group in routed),
        experts=sum(count * block.ffn.experts for count, block in architecture.blocks if isinstance(block.ffn, Moe)),
    )


@lru_cache(maxsize=256)
def adapter_work(
    architecture: Architecture, lora: Lora, fused_experts: bool = True, expert_adapters: bool = True
) -> AdapterWork:
    """The forward pass of the adapters that `lora` asks for. PEFT adds those of fused experts to the weights."""
    found = adapters(architecture, lora, fused_experts=fused_experts, expert_adapters=expert_adapters)
    beside = [each for each in found if not each.linear.fused_expert]
    per_token = [(each, each.linear.count * _share(each.linear, architecture)) for each in beside]
    return AdapterWork(
        numbers=sum(each.parameters * _share(each.linear, architecture) for each in beside),
        base=sum(each.linear.weights * _share(each.linear, architecture) for each in beside),
        in_features=sum(each.linear.in_features * times for each, times in per_token),
        out_features=sum(each.linear.out_features * times for each, times in per_token),
        modules=sum(_calls(each.linear, architecture) for each in found),
        merged=sum(each.linear.weights for each in found if each.linear.fused_expert),
        merged_active=sum(
            each.linear.weights * _share(each.linear, architecture) for each in found if each.linear.fused_expert
        ),
    )


def _share(linear: Linear, architecture: Architecture) -> float:
    """The share of a linear's copies that one token passes through: of E experts, k."""
    if linear.kind != "expert":
        return 1.0
    ffn = architecture.blocks[linear.group][1].ffn
    return ffn.per_token / ffn.experts if isinstance(ffn, Moe) else 1.0


def _calls(linear: Linear, architecture: Architecture) -> float:
    """Calls of a linear in one pass: the experts of a layer go as one grouped product where they are one parameter."""
    return architecture.blocks[linear.group][0] if linear.fused_expert else linear.count


def _elementwise(block: Block, hidden: int) -> float:
    attention, ffn = block.attention, block.ffn
    width = ffn.width if isinstance(ffn, Mlp) else ffn.per_token * ffn.width + ffn.shared_width
    return (
        block.norms * NORM_BYTES * hidden
        + 2 * RESIDUAL_BYTES * hidden
        + ROTARY_BYTES * (attention.q_width + attention.kv_width)
        + MLP_BYTES * width
        + (ROUTED_BYTES * ffn.per_token * hidden if isinstance(ffn, Moe) else 0)
    )
