"""Which optimizers go with which sharding, offload and method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import require
from mfc.rules.words import capability
from mfc.strategy import FSDP

if TYPE_CHECKING:
    from mfc.catalog.gpu import Gpu
    from mfc.problem import Problem

_STANDARD = ("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit")
_LOW_BIT = ("adamw_8bit", "paged_adamw", "paged_adamw_8bit")
_MATRIX = ("galore", "apollo")


@require("mfc's promise: nothing that changes results is chosen unasked")
def left_open_optimizer(optimizer: str, problem: Problem) -> str | None:
    """Left open, the optimizer is an AdamW."""
    if optimizer in _STANDARD or "optimizer" in problem.pins:
        return None
    return f"{optimizer} changes the course of training; it is used only where strategy.optimizer asks for it"


@require("bitsandbytes installation guide: CUDA builds begin with compute capability 6.0")
def low_bit_needs_hardware(optimizer: str, gpu: Gpu) -> str | None:
    """8-bit and paged optimizers are kernels of bitsandbytes."""
    if optimizer not in _LOW_BIT or gpu.vendor != "nvidia" or gpu.capability >= (6, 0):
        return None
    return f"{optimizer} needs compute capability 6.0, {gpu.name} has {capability(gpu.capability)}"


@require("accelerate utils/deepspeed.py map_pytorch_optim_to_deepspeed; deepspeedai/DeepSpeed issue 6666")
def offload_has_its_own_optimizer(optimizer: str, sharding: str, offload_optimizer: str) -> str | None:
    """With its state on the host, the optimizer is DeepSpeed's fp32 CPU Adam or Lion, whatever was asked for."""
    if offload_optimizer == "none" or sharding in FSDP or optimizer in ("adamw", "lion"):
        return None
    return f"offload replaces {optimizer} by DeepSpeed's CPU Adam with fp32 state, so it saves nothing; take adamw"


@require(
    "DeepSpeed stage_1_and_2.py and stage3.py and torch fsdp/_flat_param.py flatten each rank's share; "
    "Adafactor arXiv:1804.04235 needs matrices"
)
def flat_shares_have_no_matrices(optimizer: str, sharding: str) -> str | None:
    """ZeRO and FSDP hand the optimizer flat shares; optimizers that work on matrices need them whole."""
    if optimizer not in (*_MATRIX, "adafactor") or sharding not in ("zero1", "zero2", "zero3", "fsdp"):
        return None
    return f"{optimizer} works on whole matrices, and {sharding} gives it flat pieces of them; ddp keeps them whole"


@require("DeepSpeed stage3.py: Muon needs reduce_scatter off")
def muon_below_stage_3(optimizer: str, sharding: str) -> str | None:
    """Muon does not run at ZeRO stage 3 as it is set up here."""
    if optimizer != "muon" or sharding != "zero3":
        return None
    return "Muon under ZeRO-3 needs gradients whole, with reduce_scatter off; zero2 runs it as it is"


@require("GaLore arXiv:2403.03507, APOLLO arXiv:2412.05270, BAdam arXiv:2404.02827: they replace adapters")
def full_only_optimizers(optimizer: str, method: str) -> str | None:
    """GaLore, APOLLO, Muon and BAdam train full matrices, not adapters."""
    if optimizer not in (*_MATRIX, "badam", "muon") or method in ("full", "freeze"):
        return None
    return f"{optimizer} is a way to train all weights in little memory; with {method} the adapters are small already"


@require("SGD and Muon (Jordan et al. 2024) take rates that have nothing to do with Adam's")
def foreign_rates_are_given(optimizer: str, problem: Problem) -> str | None:
    """Optimizers that are no kin of Adam need a learning rate from the user."""
    if optimizer not in ("sgd", "muon") or "learning_rate" in problem.pins:
        return None
    return f"no learning rate is known for {optimizer}: set train.learning_rate"


RULES = (
    left_open_optimizer,
    low_bit_needs_hardware,
    offload_has_its_own_optimizer,
    flat_shares_have_no_matrices,
    muon_below_stage_3,
    full_only_optimizers,
    foreign_rates_are_given,
)
