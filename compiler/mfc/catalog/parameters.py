"""Counting parameters: every linear of a model, its parameters to the last one, and what adapters add.

Counts are of distinct parameters as transformers 5 builds the model: a tied head adds nothing, buffers are left out.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

from mfc.catalog.architecture import Architecture, Linear, LinearKind, Moe
from mfc.catalog.linears import attention_rest, block_linears
from mfc.catalog.names import Names, names
from mfc.strategy import Lora, Method, Strategy

_GROUPS: dict[str, tuple[LinearKind, ...]] = {"attention": ("attention",), "mlp": ("mlp", "shared", "expert")}
_REMAPPED_NAMES = frozenset({"gate_proj", "up_proj", "down_proj"})


class BlockParameters(NamedTuple):
    """Parameters of one block, norms included; `experts` counts routed experts only."""

    attention: int
    ffn: int  # dense MLP, or shared experts and router
    experts: int
    norms: int  # the block's own norms, q/k norms included in `attention`
    extra: int

    @property
    def total(self) -> int:
        """Everything in one block."""
        return self.attention + self.ffn + self.experts + self.norms + self.extra


class Parameters(NamedTuple):
    """Parameters of a whole model, in numbers (not bytes)."""

    total: int
    embedding: int  # learned positions included
    head: int  # 0 if tied
    blocks: tuple[BlockParameters, ...]  # one block of each of Architecture.blocks
    norms: int  # of the language model, the final one included
    vision: int
    projector: int

    @property
    def language(self) -> int:
        """Everything but the vision tower and the projector."""
        return self.total - self.vision - self.projector


class Adapter(NamedTuple):
    """One adapted kind of linear and the rank it gets."""

    linear: Linear
    rank: int

    @property
    def parameters(self) -> int:
        """Numbers in the A and B matrices of all `linear.count` modules."""
        return self.rank * (self.linear.in_features + self.linear.out_features) * self.linear.count


@lru_cache(maxsize=256)
def linears(arch: Architecture, *, fused_experts: bool = True) -> tuple[Linear, ...]:
    """Every linear of the model, decoder blocks first, then the head, then vision.

    `fused_experts` says whether experts are 3-D parameters (transformers 5) or one linear per expert and matrix
    (transformers 4); families whose experts were fused from the start stay fused. The head is listed also when tied:
    it computes, though its weight is the embedding's.
    """
    n = names(arch.family, arch.text)
    fused = fused_experts or n.always_fused
    found = [
        linear
        for group, (count, block) in enumerate(arch.blocks)
        for linear in block_linears(block, arch.hidden, fused, n, count, group)
    ]
    found.append(Linear(n.head, "head", "head", arch.hidden, arch.vocab, 1, bias=arch.head_bias))
    return (*found, *(arch.vision.linears if arch.vision else ()))


def _norm(arch: Architecture) -> int:
    return arch.hidden * (int(arch.norm_weight) + int(arch.norm_bias))


@lru_cache(maxsize=256)
def count(arch: Architecture) -> Parameters:
    """The exact number of parameters, in all and by place."""
    blocks = []
    for group, (repeat, block) in enumerate(arch.blocks):
        by_kind = {"attention": 0, "mlp": 0, "shared": 0, "expert": 0, "router": 0, "head": 0}
        for linear in linears(arch):
            if linear.group == group:
                by_kind[linear.kind] += linear.parameters // repeat
        if isinstance(block.ffn, Moe) and block.ffn.correction_bias:
            by_kind["router"] += block.ffn.experts
        blocks.append(
            BlockParameters(
                attention=by_kind["attention"] + attention_rest(block.attention),
                ffn=by_kind["mlp"] + by_kind["shared"] + by_kind["router"],
                experts=by_kind["expert"],
                norms=block.norms * _norm(arch),
                extra=block.extra,
            )
        )
    embedding = (arch.vocab + arch.learned_positions) * arch.hidden
    head = (0 if arch.tied else arch.vocab * arch.hidden) + (arch.vocab if arch.head_bias else 0)
    outer_norms = (int(arch.final_norm) + int(arch.embedding_norm)) * _norm(arch)
    repeats = [repeat for repeat, _ in arch.blocks]
    vision = arch.vision.tower_parameters if arch.vision else 0
    projector = arch.vision.projector_parameters if arch.vision else 0
    body = sum(repeat * each.total for repeat, each in zip(repeats, blocks, strict=True))
    return Parameters(
        total=embedding + head + outer_norms + body + vision + projector + arch.extra_parameters,
        embedding=embedding,
        head=head,
        blocks=tuple(blocks),
        norms=outer_norms + sum(repeat * each.norms for repeat, each in zip(repeats, blocks, strict=True)),
        vision=vision,
        projector=projector,
    )


def target_names(arch: Architecture, targets: str) -> tuple[str, ...]:
    """The module names that `targets` of a Lora stands for, sorted: what PEFT's target_modules is given.

    `attention` and `mlp` are the names that the language model's code uses; `all-linear` stays as it is. A name that
    attention and MLP share (Qwen 1, StarCoder: c_proj) adapts both, as it does in PEFT.
    """
    found: set[str] = set()
    for target in (each.strip() for each in targets.split(",")):
        if target not in _GROUPS:
            found.add(target)
            continue
        kinds = _GROUPS[target]
        found.update(
            linear.name
            for linear in linears(arch, fused_experts=False)
            if linear.part == "language" and linear.kind in kinds and not linear.fused_expert
        )
    return tuple(sorted(found))


@lru_cache(maxsize=256)
def adapters(
    arch: Architecture,
    lora: Lora,
    *,
    fused_experts: bool = True,
    expert_adapters: bool = True,
    freeze_parts: tuple[str, ...] = (),
) -> tuple[Adapter, ...]:
    """The linears that `lora` adapts, as PEFT picks them, each with its rank.

    `all-linear` means every linear but the head. On transformers 5 (`fused_experts`) routers and fused experts are no
    linears. PEFT 0.21 (`expert_adapters`) finds them only in the families it remaps, gives the fused gate and up twice
    the rank, and there drops dense and shared MLPs, whose names the remap takes over (peft 0.21.2,
    utils/transformers_weight_conversion.py). PEFT 0.18 does not remap: it adapts what is left of linears.
    A frozen part of a multimodal model gets no adapters.
    """
    n = names(arch.family, arch.text)
    wanted = frozenset(target_names(arch, lora.targets))
    remapped = fused_experts and expert_adapters and n.remapped and arch.moe
    chosen = []
    for linear in linears(arch, fused_experts=fused_experts):
        if linear.kind == "head" or linear.part in freeze_parts:
            continue
        if not _reachable(linear, n, remapped, fused_experts) or not _named(linear, wanted, n):
            continue
        twice = linear.fused_expert and linear.name == "gate_up_proj"
        chosen.append(Adapter(linear, lora.rank * (2 if twice else 1)))
    return tuple(chosen)


def _reachable(linear: Linear, n: Names, remapped: bool, fused_experts: bool) -> bool:
    """Whether PEFT can put an adapter on it at all."""
    if linear.kind == "router" and linear.name == n.router:
        return remapped or (n.router_is_linear if fused_experts else n.router_was_linear)
    if linear.fused_expert:
        return remapped
    return not (remapped and linear.kind in ("mlp", "shared") and linear.name in _REMAPPED_NAMES)


def _named(linear: Linear, wanted: frozenset[str], n: Names) -> bool:
    if "all-linear" in wanted:
        return True
    if linear.fused_expert:  # named by what the experts were called before they were fused
        old = {n.expert_gate, n.expert_up} if linear.name == "gate_up_proj" else {n.expert_down}
        return old <= wanted
    return linear.name in wanted


def lora_count(
    arch: Architecture,
    lora: Lora,
    *,
    fused_experts: bool = True,
    expert_adapters: bool = True,
    freeze_parts: Collection[str] = (),
) -> int:
    """Parameters that the adapters add: rank x (in + out) for each adapted linear; DoRA's magnitudes included.

    Whole modules trained beside them (`lora.modules_to_save`) are not counted here, see `trainable_count`.
    """
    chosen = adapters(
        arch, lora, fused_experts=fused_experts, expert_adapters=expert_adapters, freeze_parts=tuple(freeze_parts)
    )
    magnitudes = sum(a.linear.out_features * a.linear.count for a in chosen) if lora.variant == "dora" else 0
    return sum(a.parameters for a in chosen) + magnitudes


@lru_cache(maxsize=256)
def saved_count(arch: Architecture, lora: Lora) -> int:
    """Parameters of the modules trained whole beside the adapters. PEFT copies each, also where two are tied."""
    n = names(arch.family, arch.text)
    sizes = {n.embedding: arch.vocab * arch.hidden, n.head: arch.vocab * (arch.hidden + int(arch.head_bias))}
    by_kind = {linear.name: 0 for linear in linears(arch)}
    for linear in linears(arch):
        by_kind[linear.name] += linear.parameters
    return sum(sizes.get(name, by_kind.get(name, 0)) for name in lora.modules_to_save)


@lru_cache(maxsize=1024)
def trainable_count(
    arch: Architecture,
    method: Method,
    *,
    lora: Lora | None = None,
    freeze_parts: tuple[str, ...] = (),
    whole_parts: tuple[str, ...] = (),
    trainable_layers: int = 0,
    fused_experts: bool = True,
    expert_adapters: bool = True,
) -> int:
    """Parameters that get gradients.

    `freeze` trains the last `trainable_layers` blocks and nothing else; `full` everything outside `freeze_parts`
    (vision, projector, language). `whole_parts` train whole beside adapters.
    """
    counted = count(arch)
    parts = {"vision": counted.vision, "projector": counted.projector, "language": counted.language}
    if lora is not None and method in ("lora", "qlora"):
        added = lora_count(
            arch,
            lora,
            fused_experts=fused_experts,
            expert_adapters=expert_adapters,
            freeze_parts=(*freeze_parts, *whole_parts),
        )
        return added + saved_count(arch, lora) + sum(parts[part] for part in whole_parts)
    if method == "freeze":
        last = arch.groups[max(0, arch.layers - trainable_layers) :]
        return sum(counted.blocks[group].total for group in last)
    return counted.total - sum(parts.get(part, 0) for part in set(freeze_parts))


def trainable(
    arch: Architecture, strategy: Strategy, *, fused_experts: bool = True, expert_adapters: bool = True
) -> int:
    """`trainable_count` for what a strategy trains."""
    return trainable_count(
        arch,
        strategy.method,
        lora=strategy.lora,
        freeze_parts=strategy.freeze_parts,
        whole_parts=strategy.whole_parts,
        trainable_layers=strategy.trainable_layers,
        fused_experts=fused_experts,
        expert_adapters=expert_adapters,
    )
