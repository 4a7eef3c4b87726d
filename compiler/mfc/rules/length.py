"""Length, packing and splitting of sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.lengths import padded
from mfc.rules import packages
from mfc.rules.engine import Rather, Value, advise, derive, require, said
from mfc.rules.words import gpus, listed

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.catalog.gpu import Gpu
    from mfc.problem import Hardware, Problem
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_ULYSSES = "DeepSpeed runtime/sequence_parallel/ulysses_sp.py; Ulysses, arXiv:2309.14509"
_PACKABLE = ("pretrain", "sft")
_GENERATES = ("ppo", "grpo")  # lengths are of whole samples, and here answers are still to come
_WASTE = 0.3  # share of padding from which packing is worth a word
_CUT = 0.01  # share of rows cut from which the limit is


@require("the model's own config: max_position_embeddings")
def length_within_positions(architecture: Architecture, max_length: int, problem: Problem) -> str | None:
    """Sequences are no longer than the positions that the model was made for, unless the spec pins it."""
    most = architecture.max_positions or architecture.learned_positions
    if not most or max_length <= most or ("max_length" in problem.pins and not architecture.learned_positions):
        return None
    return f"{max_length} tokens are beyond the {most} positions of {architecture.family}"


@advise("the model's own config: max_position_embeddings; YaRN arXiv:2309.00071")
def length_beyond_training(architecture: Architecture, max_length: int) -> str | None:
    """Past the positions a model has seen, rotary embeddings need scaling."""
    most = architecture.max_positions
    if not most or max_length <= most:
        return None
    return f"{max_length} tokens are {max_length / most:.1f} times the model's {most} positions: it needs RoPE scaling"


@advise("NVIDIA, deep learning performance guide: tensor cores work on multiples of 8")
def length_in_eights(max_length: int) -> str | None:
    """Lengths that are multiples of 8 keep the tensor cores busy."""
    if max_length % 8 == 0:
        return None
    below, above = max_length // 8 * 8 or 8, -(-max_length // 8) * 8
    return f"{max_length} is no multiple of 8, so kernels pad it or run slower: take {below} or {above}"


@derive("packing", "Raffel et al. 2020, arXiv:1910.10683: pretraining concatenates texts; it changes what a step sees")
def packing(task: str, profile: Profile, gpu: Gpu, problem: Problem) -> Value:
    """Left open, texts are packed in pretraining where the framework can; samples stay apart in all other tasks."""
    if task == "pretrain" and True in profile.can("packing"):
        flash = packages.declared(profile, packages.FLASH) or problem.pins.get("attention") == "flash"
        if "sdpa" not in profile.can("packing_attention") and not (gpu.flash_attention and flash):
            declare = f"flash-attn is not declared; {packages.declaration(profile, packages.FLASH)} would do"
            lacks = declare if gpu.flash_attention else f"{gpu.name} has none"
            return Value(False, f"{profile.target} packs with flash attention only, and {lacks}")
        return Value(True, "pretraining fills every row with texts, one after the other")
    if task not in _PACKABLE:
        return Value(False, f"the samples of task {task} stay apart")
    if True not in profile.can("packing"):
        return Value(False, f"{profile.target} packs nothing")
    return Value(False, "packing changes what a step sees; data.packing: true asks for it")


@require("the target's profile: a trainer that compares samples has to tell them apart within a row")
def packing_suits_the_task(task: str, packing: bool, profile: Profile) -> str | None:
    """Samples share a row for the tasks that the framework packs."""
    able = profile.can("packing_task")
    if not packing or task in able:
        return None
    who = profile.target or "a plain trainer"
    return f"task {task} compares whole samples, which cannot share a row in {who}; it packs {listed(able, 'and')}"


@derive("overlong", "the spec language")
def overlong(spec: Spec, profile: Profile) -> Value:
    """Samples longer than max_length are cut unless the spec drops them."""
    way = "; data.overlong: drop leaves them out" if "drop" in profile.can("overlong") else ""
    return said(spec.data, "overlong", "data", f"samples longer than max_length are cut{way}")


@advise("arithmetic on data.mean_length")
def padding_is_wasted(spec: Spec, strategy: Strategy) -> Rather | None:
    """Where samples are much shorter than the limit, packing saves time."""
    mean, measured, limit = spec.data.mean_length, spec.data.distribution, strategy.max_length
    if strategy.packing or strategy.task not in _PACKABLE or strategy.sequences == 1:
        return None
    if measured is not None:
        waste = 1 - measured.mean(limit) / padded(measured, limit, strategy.sequences)[0]
        fact = f"by the lengths of your samples, {waste:.0%} of a micro-batch of {strategy.sequences} is padding"
    elif mean != "auto":
        waste = 1 - mean / limit
        fact = (
            f"samples have {mean} tokens on average and rows up to {limit}: up to {waste:.0%} of a micro-batch of "
            f"{strategy.sequences} is padding"
        )
    else:
        return None
    return Rather(fact, "data.packing: true fills it", {"packing": True}) if waste >= _WASTE else None


@advise("arithmetic on data.lengths")
def limit_cuts_nothing(spec: Spec, strategy: Strategy) -> str | Rather | None:
    """Room for longer rows than there are costs memory."""
    lengths, limit = spec.data.lengths, strategy.max_length
    if lengths is None or strategy.fills_rows or strategy.task in _GENERATES:
        return None
    longest, enough = lengths.quantiles[-1], spec.data.longest
    if longest >= limit or (enough is not None and enough >= limit):
        return None
    if enough is None:
        return f"max_length {limit} cuts nothing: your longest row has about {longest:,} tokens, by estimate"
    return Rather(
        f"max_length {limit} cuts nothing: your longest row is {longest:,}",
        f"data.max_length: {enough} needs less memory",
        {"max_length": enough},
    )


@advise("arithmetic on data.lengths")
def limit_cuts_rows(spec: Spec, strategy: Strategy, overlong: str) -> str | None:
    """Rows that are cut lose their ends, and with them answers."""
    lengths, measured, limit = spec.data.lengths, spec.data.distribution, strategy.max_length
    if lengths is None or measured is None or strategy.fills_rows or strategy.task in _GENERATES:
        return None
    cut = 1 - measured.within(limit)
    if cut < _CUT:
        return None
    does = "drops" if overlong == "drop" else "cuts"
    about = "" if lengths.tokens == "counted" else "about "
    return (
        f"max_length {limit} {does} {about}{cut:.0%} of your rows: 99 % have at most {measured.at(0.99):,.0f} tokens, "
        f"the longest {measured.longest:,}; data.max_length: {{min: {limit}, max: {-(-measured.longest // 64) * 64}}} "
        "takes as much as fits"
    )


@require(_ULYSSES)
def split_divides_gpus(sequence_parallel: int, world_size: int) -> str | None:
    """Sequence-parallel groups divide the GPUs."""
    if world_size % sequence_parallel == 0:
        return None
    return f"{gpus(world_size)} cannot form groups of {sequence_parallel}"


@require(_ULYSSES)
def split_divides_heads(sequence_parallel: int, architecture: Architecture) -> str | None:
    """Each GPU of a sequence-parallel group gets whole attention heads."""
    if sequence_parallel == 1:
        return None
    for _, block in architecture.blocks:
        heads, kv_heads = block.attention.heads, block.attention.kv_heads
        if heads % sequence_parallel:
            return f"{heads} attention heads do not divide over {sequence_parallel} GPUs"
        if kv_heads and kv_heads % sequence_parallel and sequence_parallel % kv_heads:
            return f"{kv_heads} key/value heads and {sequence_parallel} GPUs do not divide one another"
    return None


@require(_ULYSSES)
def split_divides_length(sequence_parallel: int, max_length: int) -> str | None:
    """A sequence divides over its sequence-parallel group."""
    if max_length % sequence_parallel == 0:
        return None
    whole = -(-max_length // sequence_parallel) * sequence_parallel
    return f"{max_length} tokens do not divide over {sequence_parallel} GPUs; {whole} do"


@advise(_ULYSSES + ": four all-to-all exchanges a layer")
def split_within_a_node(sequence_parallel: int, hardware: Hardware) -> str | None:
    """Sequence parallelism across nodes sends every layer's activations over the network."""
    if sequence_parallel <= hardware.gpus_per_node:
        return None
    return (
        f"groups of {sequence_parallel} reach over nodes of {hardware.gpus_per_node} GPUs: every layer sends its "
        "activations over the network four times"
    )


RULES = (
    length_within_positions,
    length_beyond_training,
    length_in_eights,
    packing,
    packing_suits_the_task,
    overlong,
    padding_is_wasted,
    limit_cuts_nothing,
    limit_cuts_rows,
    split_divides_gpus,
    split_divides_heads,
    split_divides_length,
    split_within_a_node,
)
