"""What bitsandbytes needs: 4- and 8-bit bases, 8-bit and paged optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.catalog.parameters import count, linears
from mfc.rules import packages
from mfc.rules.engine import Rather, advise, require
from mfc.rules.words import capability, gib

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.catalog.gpu import Gpu
    from mfc.profile import Profile
    from mfc.strategy import Quantization

_KINDS = ("nf4", "fp4", "int8")
_NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # per number, double quantisation: arXiv:2305.14314, section 3


@require("bitsandbytes installation guide: CUDA builds begin with compute capability 6.0, LLM.int8 with 7.5")
def hardware_has_kernels(quantization: Quantization | None, gpu: Gpu) -> str | None:
    """Bases are quantised on Pascal GPUs and newer, with 8 bits on Turing and newer."""
    if quantization is None or quantization.kind not in _KINDS or gpu.vendor != "nvidia":
        return None
    least = (7, 5) if quantization.kind == "int8" else (6, 0)
    if gpu.capability >= least:
        return None
    return (
        f"{quantization.kind} needs compute capability {capability(least)}, {gpu.name} has {capability(gpu.capability)}"
    )


@require(packages.SOURCE, package=packages.BITSANDBYTES)
def package_is_installed(quantization: Quantization | None, optimizer: str, profile: Profile) -> str | None:
    """Nothing of bitsandbytes is chosen where it is declared absent."""
    if (quantization is None or quantization.kind not in _KINDS) and not optimizer.endswith("8bit"):
        return None
    return packages.absent(profile, packages.BITSANDBYTES)


@advise(
    "bitsandbytes issue 1249, transformers modeling_utils: zero.Init is skipped for quantised models; under FSDP each "
    "weight leaves the GPU once it is quantised in transformers 4.57 (modeling_utils.py), no longer in 5.6 "
    "(core_model_loading.py)"
)
def four_bits_load_whole(
    quantization: Quantization | None, sharding: str, architecture: Architecture, profile: Profile
) -> Rather | str | None:
    """Under ZeRO-3 and FSDP2, or FSDP with transformers 5, every GPU loads the whole quantised model first."""
    if quantization is None or quantization.kind not in ("nf4", "fp4"):
        return None
    if sharding not in ("zero3", "fsdp2") and not (sharding == "fsdp" and profile.stack.loads_everywhere):
        return None
    packed = _replaced(architecture, profile)
    size = gib(_NF4_BYTES * packed + 2 * (count(architecture).total - packed))
    fact = f"every GPU first loads the whole quantised model, {size}, then keeps its share"
    if sharding == "fsdp":
        return f"{fact}; transformers 4 does without: targets.{profile.target}.packages: {{transformers: 4.57.1}}"
    return Rather(
        fact,
        "strategy.sharding: zero2 is the simpler way",
        {"sharding": "zero2"},
    )


@advise("peft utils/other.py, prepare_model_for_kbit_training: what is not quantised becomes fp32")
def kbit_upcasts(quantization: Quantization | None, architecture: Architecture, profile: Profile) -> str | None:
    """The k-bit preparation turns embeddings and head to fp32, which can outweigh the quantised weights."""
    if quantization is None or quantization.kind not in _KINDS or not profile.stack.kbit_fp32:
        return None
    parameters = count(architecture)
    kept = parameters.embedding + parameters.head
    upcast, packed = 4 * kept, quantization.bits / 8 * _replaced(architecture, profile)
    if upcast < packed / 4:
        return None
    return (
        f"embedding and head become fp32, 4 x {architecture.vocab} x {architecture.hidden} bytes each: {gib(upcast)} "
        f"beside {gib(packed)} of {quantization.bits}-bit weights"
    )


@advise("transformers integrations/bitsandbytes.py: nn.Linear is replaced, 3-D expert parameters are not")
def fused_experts_stay_16_bit(
    quantization: Quantization | None, architecture: Architecture, profile: Profile
) -> str | None:
    """Fused experts stay in 16 bits, as only linear layers are quantised."""
    if quantization is None or quantization.pre or quantization.kind not in _KINDS or not architecture.moe:
        return None
    fused = sum(
        linear.parameters
        for linear in linears(architecture, fused_experts=profile.stack.fused_experts)
        if linear.fused_expert
    )
    if not fused:
        return None
    return (
        f"the experts are one parameter per matrix, which {quantization.kind} does not replace: {gib(2 * fused)} of "
        f"{gib(2 * count(architecture).total)} stay in 16 bits, method lora needs little more"
    )


def _replaced(architecture: Architecture, profile: Profile) -> int:
    """Parameters in the layers that bitsandbytes replaces: linears but the head, and no fused experts."""
    found = linears(architecture, fused_experts=profile.stack.fused_experts)
    return sum(linear.parameters for linear in found if linear.kind != "head" and not linear.fused_expert)


RULES = (
    hardware_has_kernels,
    package_is_installed,
    four_bits_load_whole,
    kbit_upcasts,
    fused_experts_stay_16_bit,
)
