"""Which attention kernels a GPU and a model allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.memory.static import mask_bytes
from mfc.rules import packages
from mfc.rules.engine import advise, require
from mfc.rules.words import capability, gib

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.catalog.gpu import Gpu
    from mfc.problem import Problem
    from mfc.profile import Profile
    from mfc.strategy import Strategy

_FLASH = "Dao-AILab/flash-attention README: FlashAttention-2 needs Ampere or newer, fp16 or bf16, head widths up to 256"
_LONG = 4096  # tokens from which the quadratic term of eager attention is worth a word


@require(_FLASH)
def flash_needs_hardware(gpu: Gpu, attention: str) -> str | None:
    """FlashAttention-2 has kernels for Ampere and newer."""
    if attention != "flash" or gpu.flash_attention:
        return None
    which = f"compute capability {capability(gpu.capability)}" if gpu.vendor == "nvidia" else gpu.generation
    return f"FlashAttention-2 begins with compute capability 8.0; {gpu.name} has {which}: use sdpa"


@require(_FLASH)
def flash_needs_16_bits(precision: str, attention: str) -> str | None:
    """FlashAttention-2 works in 16 bits only."""
    return "FlashAttention-2 takes fp16 and bf16, not fp32" if (attention, precision) == ("flash", "fp32") else None


@require(_FLASH)
def flash_needs_narrow_heads(architecture: Architecture, attention: str) -> str | None:
    """FlashAttention-2 has kernels for heads of up to 256 features."""
    if attention != "flash":
        return None
    widest = max(
        0 if block.attention.kind == "linear" else block.attention.head_dim for _, block in architecture.blocks
    )
    if widest <= 256:
        return None
    return f"heads of {architecture.family} are {widest} wide, FlashAttention-2 ends at 256"


def flash_cannot(gpu: Gpu, precision: str, architecture: Architecture) -> str | None:
    """Why flash attention has no kernel here, whatever is installed; None where it has."""
    say = (
        flash_needs_hardware.function(gpu, "flash"),
        flash_needs_16_bits.function(precision, "flash"),
        flash_needs_narrow_heads.function(architecture, "flash"),
        sinks_need_eager.function(architecture, "flash"),
    )
    return next(filter(None, say), None)


@require(packages.SOURCE + "; some frameworks fall back from flash-attn in silence", package=packages.FLASH)
def flash_needs_its_package(profile: Profile, attention: str, problem: Problem) -> str | None:
    """Flash attention is chosen where flash-attn is declared, or where the spec asks for it."""
    if attention != "flash":
        return None
    if absent := packages.absent(profile, packages.FLASH):
        return absent
    if packages.declared(profile, packages.FLASH) or "attention" in problem.pins:
        return None
    return "flash-attn is not declared under packages; strategy.attention: flash asks for it all the same"


@require("transformers integrations/sdpa_attention.py has no softcap argument; models/gemma2 passes one")
def softcap_is_not_in_sdpa(architecture: Architecture, attention: str) -> str | None:
    """SDPA leaves out the soft cap on attention logits, which changes the model."""
    if attention != "sdpa" or not any(block.attention.softcap for _, block in architecture.blocks):
        return None
    return f"{architecture.family} caps its attention logits with tanh, and torch's SDPA cannot: eager and flash can"


@require("transformers models/gpt_oss: _supports_sdpa is False, and FlashAttention-2 has no sinks")
def sinks_need_eager(architecture: Architecture, attention: str) -> str | None:
    """Attention sinks exist in eager attention only."""
    if attention == "eager" or not any(block.attention.sinks for _, block in architecture.blocks):
        return None
    return f"{architecture.family} learns an attention sink per head, which {attention} has not; eager has"


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
    flash_needs_16_bits,
    flash_needs_narrow_heads,
    flash_needs_its_package,
    softcap_is_not_in_sdpa,
    sinks_need_eager,
    eager_is_quadratic,
    packing_wants_flash,
)
