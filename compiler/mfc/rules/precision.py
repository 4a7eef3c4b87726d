"""Which number formats a GPU can train in, and what each needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import advise, require
from mfc.rules.words import capability

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.catalog.gpu import Gpu
    from mfc.problem import Problem
    from mfc.profile import Profile

# Families whose checkpoints were trained in fp16 (or fp32), as their published dtype says; nearly all others use bf16.
_NOT_BF16 = {"gpt2", "gptj", "gpt_neo", "gpt_neox", "opt", "bloom", "chatglm", "internlm", "baichuan", "minimind"}
_LLAMA_2_VOCAB = 32000


@require("NVIDIA CUDA C++ Programming Guide, compute capabilities: bfloat16 tensor cores begin with 8.0")
def bf16_needs_hardware(gpu: Gpu, precision: str) -> str | None:
    """Training in bf16 needs a GPU whose tensor cores work in it."""
    if gpu.bf16 or precision not in ("bf16", "pure_bf16"):
        return None
    which = f"has compute capability {capability(gpu.capability)}" if gpu.vendor == "nvidia" else "has no bf16 units"
    return f"{gpu.name} {which}; bf16 begins with 8.0 (Ampere), use fp16"


@require("Kalamkar et al. 2019, arXiv:1905.12322: bf16 has the range of fp32 and needs no loss scaling")
def best_16_bit_format(gpu: Gpu, precision: str, problem: Problem, profile: Profile) -> str | None:
    """Left open, precision is bf16 where the GPU works in it and fp16 elsewhere, as far as the framework has it."""
    best = "bf16" if gpu.bf16 else "fp16"
    if precision == best or "precision" in problem.pins or best not in profile.can("precision"):
        return None
    return f"{gpu.name} works in {best}; {precision} is used only where train.precision asks for it"


@require("torch.amp.GradScaler: 'Attempting to unscale FP16 gradients'; DeepSpeed keeps an fp32 master instead")
def fp16_needs_fp32_adapters(precision: str, sharding: str, method: str, profile: Profile) -> str | None:
    """Outside DeepSpeed, training in fp16 needs adapters in fp32."""
    if precision != "fp16" or sharding.startswith("zero") or method not in ("lora", "qlora"):
        return None
    if profile.stack.adapter_fp32:  # whole weights that train in fp16 are always fp32 themselves: memory/formats.py
        return None
    return f"{profile.target} leaves adapters in 16 bits, and their fp16 gradients cannot be unscaled; ZeRO can"


@require("DeepSpeed runtime/engine.py: with neither fp16 nor bf16 enabled it accepts fp32 weights only")
def pure_bf16_without_deepspeed(precision: str, sharding: str) -> str | None:
    """Pure bf16 cannot run under DeepSpeed, which keeps fp32 masters of all that trains."""
    if precision != "pure_bf16" or not sharding.startswith("zero"):
        return None
    return f"{sharding} keeps an fp32 master of every trained weight; pure bf16 has none (bf16 says what ZeRO does)"


@advise("transformers docs, DeepSpeed troubleshooting: a model pretrained in bf16 overflows in fp16, loss is nan")
def fp16_on_a_bf16_model(precision: str, architecture: Architecture) -> str | None:
    """A model trained in bf16 may overflow in fp16."""
    family = architecture.family
    if precision != "fp16" or family in _NOT_BF16 or (family == "llama" and architecture.vocab == _LLAMA_2_VOCAB):
        return None
    return (
        f"{family} models were trained in bf16, whose numbers reach 3.4e38; fp16 ends at 65504: watch the log for "
        "skipped steps or a loss of nan"
    )


@advise("NVIDIA CUDA C++ Programming Guide, arithmetic throughput: no fp16 tensor cores before 7.0")
def fp16_without_tensor_cores(gpu: Gpu, precision: str) -> str | None:
    """Without tensor cores fp16 saves memory but no time."""
    if precision != "fp16" or gpu.fp16:
        return None
    return f"{gpu.name} has no fp16 tensor cores: fp16 halves the memory of weights and activations, not the time"


@advise("IEEE-like rounding of bfloat16: 8 significant bits; see also arXiv:2010.06192 on stochastic rounding")
def pure_bf16_loses_small_updates(precision: str, learning_rate: float) -> str | None:
    """In pure bf16 an update below 1/512 of a weight is rounded away."""
    if precision != "pure_bf16":
        return None
    return (
        f"weights in bf16 have 8 significant bits: at a learning rate of {learning_rate:g}, weights above "
        f"{learning_rate * 512:.2g} do not move at all"
    )


RULES = (
    bf16_needs_hardware,
    best_16_bit_format,
    fp16_needs_fp32_adapters,
    pure_bf16_without_deepspeed,
    fp16_on_a_bf16_model,
    fp16_without_tensor_cores,
    pure_bf16_loses_small_updates,
)
