"""Which attention kernels a GPU and a model allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.memory.static import mask_bytes
from mfc.rules import packages
from mfc.rules.engine import advise, require
from mfc.rules.words import capability, gib, listed

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.catalog.gpu import Gpu
    from mfc.problem import Problem
    from mfc.profile import Profile
    from mfc.strategy import Strategy

_FLASH = "Dao-AILab/flash-attention README: FlashAttention-2 needs Ampere or newer, fp16 or bf16, head widths up to 256"
_FLASH3 = "Dao-AILab/flash-attention README, hopper: FlashAttention-3 needs H100 or H800, and a package of its own"
_FLASHES = ("flash", "flash3")
_LONG = 4096  # tokens from which the quadratic term of eager attention is worth a word


@require(_FLASH)
def flash_needs_hardware(gpu: Gpu, attention: str) -> str | None:
    """FlashAttention-2 has kernels for Ampere and newer."""
    if attention != "flash" or gpu.flash_attention:
        return None
    which = f"compute capability {capability(gpu.capability)}" if gpu.vendor == "nvidia" else gpu.generation
    return f"FlashAttention-2 begins with compute capability 8.0; {gpu.name} has {which}: use sdpa"


@require(_FLASH3)
def flash3_needs_hopper(gpu: Gpu, attention: str) -> str | None:
    """FlashAttention-3 is written for Hopper."""
    if attention != "flash3" or gpu.generation == "hopper":
        return None
    return f"FlashAttention-3 runs on Hopper only, not on {gpu.name} ({gpu.generation})"


@require(_FLASH)
def flash_needs_16_bits(precision: str, attention: str) -> str | None:
    """Flash attention works in 16 bits only."""
    if attention not in _FLASHES or precision != "fp32":
        return None
    return "FlashAttention takes fp16 and bf16, not fp32"


@require(_FLASH)
def flash_needs_narrow_heads(architecture: Architecture, attention: str) -> str | None:
    """Flash attention has kernels for heads of up to 256 features."""
    if attention not in _FLASHES:
        return None
    widest = max(
        0 if block.attention.kind == "linear" else block.attention.head_dim for _, block in architecture.blocks
    )
    if widest <= 256:
        return None
    return f"heads of {architecture.family} are {widest} wide, FlashAttention ends at 256"


def flash_cannot(gpu: Gpu, precision: str, architecture: Architecture) -> str | None:
    """Why flash attention has no kernel here, whatever is installed; None where it has."""
    say = (
        flash_needs_hardware.function(gpu, "flash"),
        flash_needs_16_bits.function(precision, "flash"),
        flash_needs_narrow_heads.function(architecture, "flash"),
        _has_sinks(architecture) or None,
    )
    return next(filter(None, say), None)


@require(packages.SOURCE + "; some frameworks fall back from flash-attn in silence", package=packages.FLASH)
def flash_needs_its_package(profile: Profile, attention: str, problem: Problem, gpu: Gpu) -> str | None:
    """Flash attention is chosen where flash-attn is declared, or the spec asks for it; torch_npu brings its own."""
    if attention != "flash" or gpu.vendor == "huawei":
        return None
    if absent := packages.absent(profile, packages.FLASH):
        return absent
    if packages.declared(profile, packages.FLASH) or "attention" in problem.pins:
        return None
    return "flash-attn is not declared under packages; strategy.attention: flash asks for it all the same"


@require(packages.SOURCE + "; transformers utils/import_utils.py: is_flash_attn_3_available", package=packages.FLASH3)
def flash3_needs_its_package(
    profile: Profile, attention: str, problem: Problem, architecture: Architecture
) -> str | None:
    """FlashAttention-3 is chosen where flash-attn-3 is declared, or where the spec asks for it."""
    if attention != "flash3" or _has_sinks(architecture):  # whose kernel comes from the Hub
        return None
    if absent := packages.absent(profile, packages.FLASH3):
        return absent
    if packages.declared(profile, packages.FLASH3) or "attention" in problem.pins:
        return None
    return "flash-attn-3 is not declared under packages; strategy.attention: flash3 asks for it all the same"


@require("transformers integrations/sdpa_attention.py has no softcap argument; models/gemma2 passes one")
def softcap_is_not_in_sdpa(architecture: Architecture, attention: str) -> str | None:
    """SDPA leaves out the soft cap on attention logits, which changes the model."""
    if attention != "sdpa" or not any(block.attention.softcap for _, block in architecture.blocks):
        return None
    return f"{architecture.family} caps its attention logits with tanh, and torch's SDPA cannot: eager and flash can"


@require("transformers models/gpt_oss: no SDPA, and FlashAttention-2 has no sinks; the target's profile")
def sinks_need_their_kernel(architecture: Architecture, attention: str, profile: Profile) -> str | None:
    """Attention sinks exist in eager attention, and in a kernel of FlashAttention-3 that a framework may load."""
    able = profile.can("sink_attention")
    if attention in able or not (sinks := _has_sinks(architecture)):
        return None
    return f"{sinks}: {profile.target or 'a plain trainer'} runs it with {listed(able)} attention, not with {attention}"


def _has_sinks(architecture: Architecture) -> str:
    """That a model learns attention sinks; empty where it does not."""
    sinks = any(block.attention.sinks for _, block in architecture.blocks)
    return f"{architecture.family} learns an attention sink per head" if sinks else ""


@advise("transformers modeling_utils eager attention: scores and probabilities are kept, 6 bytes per head and pair")
def eager_is_quadratic(strategy: Strategy, architecture: Architecture) -> str | None:
    """Eager attention keeps the whole matrix of scores."""
    if strategy.attention != "eager" or strategy.max_length < _LONG:
        return None
    heads = max(block.attention.heads for _, block in architecture.blocks)
    size = 6 * heads * strategy.sequences * strategy.max_length**2
    return (
        f"eager attention holds 6 x {heads} heads x {strategy.sequences} x {strategy.max_length}^2 bytes = {gib(size)} "
        "in every layer that is not checkpointed, and in one layer at a time where it is"
    )


@advise("mfc's memory model: mfc.memory.static.mask_bytes; flash attention takes the borders of samples instead")
def packing_wants_flash(
    strategy: Strategy, architecture: Architecture, gpu: Gpu, profile: Profile, problem: Problem
) -> str | None:
    """Where packed rows come with a mask of their samples, flash attention needs none."""
    mask = strategy.micro_batch * strategy.max_length**2 * mask_bytes(strategy, profile.stack)
    if not mask or flash_cannot(gpu, strategy.precision, architecture):
        return None
    if "attention" in problem.pins:
        way = "strategy.attention: flash needs none"
    elif packages.undeclared(profile, packages.FLASH) and profile.target:
        way = f"with flash-attn there is none: {packages.declaration(profile, packages.FLASH)}"
    else:
        return None
    return f"packed rows keep samples apart by a mask of {gib(mask)} under {strategy.attention}; {way}"


RULES = (
    flash_needs_hardware,
    flash3_needs_hopper,
    flash_needs_16_bits,
    flash_needs_narrow_heads,
    flash_needs_its_package,
    flash3_needs_its_package,
    softcap_is_not_in_sdpa,
    sinks_need_their_kernel,
    eager_is_quadratic,
    packing_wants_flash,
)
