"""An architecture as the memory model reads it: numbers per layer, counted once and cached."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mfc.catalog.architecture import Architecture, Block, Linear, Mlp
from mfc.catalog.names import names
from mfc.catalog.parameters import Adapter, adapters, count, linears
from mfc.strategy import Lora


class Layer(NamedTuple):
    """Equal decoder layers. Figures are numbers of one layer, not bytes."""

    size: int  # how many layers
    block: Block
    linears: tuple[Linear, ...]  # attention, dense MLP and shared experts; neither router nor routed experts
    experts: int  # numbers in the routed experts
    parameters: int
    ffn_parameters: int
    linear_numbers: int  # what a quantiser of nn.Linear replaces
    largest_linear: int
    active_width: int  # width of the feed-forward activations of one token


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One model. Equality is identity, so it is cheap as a cache key."""

    architecture: Architecture
    layers: tuple[Layer, ...]
    depth: int
    embedding: int
    head: int  # numbers of the last linear's own weight; 0 when tied
    vision: int
    projector: int
    parameters: int
    quantised: int  # what a quantiser of nn.Linear replaces in the whole model
    down: str  # name of the MLP's last linear
    out: frozenset[str]  # names of attention's last linear

    @property
    def head_rows(self) -> int:
        """Numbers in the weight that makes the logits, tied or not."""
        return self.head or self.embedding


@lru_cache(maxsize=256)
def shape(architecture: Architecture, fused_experts: bool) -> Shape:
    """The shape of an architecture."""
    counted = count(architecture)
    every = linears(architecture, fused_experts=fused_experts)
    layers = []
    for group, (repeat, block) in enumerate(architecture.blocks):
        mine = tuple(linear for linear in every if linear.group == group and linear.kind not in ("router", "expert"))
        routed = [linear for linear in every if linear.group == group and linear.kind == "expert"]
        parts = counted.blocks[group]
        apart = sum(linear.weights for linear in routed if not linear.fused_expert) // repeat
        ffn = block.ffn
        layers.append(
            Layer(
                size=repeat,
                block=block,
                linears=mine,
                experts=parts.experts,
                parameters=parts.total,
                ffn_parameters=parts.ffn + parts.experts,
                linear_numbers=sum(linear.weights for linear in mine) // repeat + apart,
                largest_linear=max((linear.in_features * linear.out_features for linear in mine), default=0),
                active_width=ffn.width if isinstance(ffn, Mlp) else ffn.per_token * ffn.width + ffn.shared_width,
            )
        )
    found = names(architecture.family)
    vision = sum(linear.weights for linear in architecture.vision.linears) if architecture.vision else 0
    return Shape(
        architecture=architecture,
        layers=tuple(layers),
        depth=architecture.layers,
        embedding=architecture.vocab * architecture.hidden,
        head=0 if architecture.tied else architecture.vocab * architecture.hidden,
        vision=counted.vision,
        projector=counted.projector,
        parameters=counted.total,
        quantised=sum(layer.size * layer.linear_numbers for layer in layers) + vision,
        down=found.down,
        out=frozenset({found.o, "out_proj"}),
    )


@lru_cache(maxsize=1024)
def adapted(
    architecture: Architecture, lora: Lora, fused_experts: bool, expert_adapters: bool, frozen: tuple[str, ...]
) -> tuple[tuple[Adapter, ...], ...]:
    """The adapters of each group of layers, in the order of `Shape.layers`."""
    chosen = adapters(
        architecture, lora, fused_experts=fused_experts, expert_adapters=expert_adapters, freeze_parts=frozen
    )
    return tuple(
        tuple(adapter for adapter in chosen if adapter.linear.group == group)
        for group in range(len(architecture.blocks))
    )


def adapter_numbers(chosen: tuple[Adapter, ...], lora: Lora, repeat: int) -> int:
    """Trained numbers in the adapters of one layer."""
    numbers = sum(adapter.parameters for adapter in chosen)
    if lora.variant == "dora":
        numbers += sum(adapter.linear.out_features * adapter.linear.count for adapter in chosen)
    return numbers // repeat
