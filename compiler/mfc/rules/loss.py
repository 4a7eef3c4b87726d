"""The loss kernel, and what the logits of a large vocabulary cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.memory.static import scored
from mfc.rules import packages
from mfc.rules.engine import Rather, advise, require
from mfc.rules.words import capability, gib

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.catalog.gpu import Gpu
    from mfc.profile import Profile
    from mfc.strategy import Strategy

_LIGER = "Liger Kernel, arXiv:2410.10989, and linkedin/Liger-Kernel README"
_LARGE = 0.2  # share of the budget that is worth a word
_TRITON = (7, 0)


@require("Triton, on which Liger is built, needs compute capability 7.0: triton-lang/triton README")
def fused_needs_triton(gpu: Gpu, loss: str) -> str | None:
    """Fused loss kernels are written in Triton, which needs Volta or newer."""
    if loss != "fused" or gpu.vendor != "nvidia" or gpu.capability >= _TRITON:
        return None
    return f"Triton needs compute capability 7.0, {gpu.name} has {capability(gpu.capability)}"


@require(packages.SOURCE, package=packages.LIGER)
def fused_needs_its_package(profile: Profile, loss: str) -> str | None:
    """A fused loss is not chosen where liger-kernel, if it is Liger's, is declared absent."""
    own = profile.stack.own_loss or profile.stack.tiles is not None
    return packages.absent(profile, packages.LIGER) if loss == "fused" and not own else None


@require(_LIGER + ": fused linear cross entropy replaces the language-model head")
def fused_needs_a_vocabulary(task: str, loss: str) -> str | None:
    """A fused loss is for models that predict tokens; a reward model has one output."""
    return "a reward model has one output instead of a vocabulary" if (task, loss) == ("reward", "fused") else None


@advise("mfc's memory model: the logits and what the loss makes of them (docs/memory-model.md, Loss)")
def vocabulary_dominates(
    strategy: Strategy,
    architecture: Architecture,
    profile: Profile,
    gpu: Gpu,
    budget_bytes: int,
) -> str | Rather | None:
    """The logits of a large vocabulary can be the largest tensors of a step."""
    if strategy.loss == "fused" or strategy.task == "reward":
        return None
    held = scored(architecture, strategy, profile.stack)
    if held.size < _LARGE * budget_bytes:
        return None
    answers = strategy.task == "grpo" and held.tokens < strategy.sequences * strategy.max_length
    what = f"{architecture.vocab} words x {held.tokens} {'tokens of answers' if answers else 'tokens'}"
    fact = f"the loss holds {held.width:g} bytes x {what} = {gib(held.size)} on each GPU"
    if gpu.vendor == "nvidia" and gpu.capability < _TRITON:
        return f"{fact}; fused kernels that do without need a newer GPU than {gpu.name}"
    return Rather(fact, "strategy.loss: fused does without", {"loss": "fused"}, alone=False)


RULES = (fused_needs_triton, fused_needs_its_package, fused_needs_a_vocabulary, vocabulary_dominates)
