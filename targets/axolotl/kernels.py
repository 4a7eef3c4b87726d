"""What Axolotl can put in the place of a model's own head and MLPs: for which families, and where it fails.

Sources: cut_cross_entropy/transformers/patch.py of Axolotl's fork (github.com/axolotl-ai-cloud/ml-cross-entropy,
5f0c7a7), PATCH_FNS; monkeypatch/tiled_mlp/patch.py of Axolotl 0.19.0, which asks transformers (5.16.1) for a class
called <Family>MLP in the module of the model's type, whose forward pass takes one tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules import packages
from mfc.rules.engine import advise, require
from mfc.target import liger
from mfc.target.values import held

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.planner.plan import Plan
    from mfc.profile import Profile
    from mfc.strategy import Lora, Strategy

_TILED = "Axolotl monkeypatch/tiled_mlp/patch.py"
CUT = "cut-cross-entropy"
RELEASE = "25.5.2"  # of Axolotl's fork: what its setup asks for under another name
FORK = 'pip install "cut-cross-entropy[transformers] @ git+https://github.com/axolotl-ai-cloud/ml-cross-entropy.git"'

_CUT_FAMILIES = """
    apertus cohere cohere2 deepseek_v2 deepseek_v3 exaone4 gemma gemma2 gemma3_text glm glm4 glm4_moe gpt_oss granite
    granitemoe llama llama4_text minimax_m2 mistral mixtral olmo olmo2 olmo3 olmoe phi phi3 qwen2 qwen2_moe qwen3
    qwen3_5_text qwen3_moe qwen3_next seed_oss smollm3
"""
_TILED_FAMILIES = """
    apertus cohere cohere2 ernie4_5 exaone4 falcon gemma gemma2 glm glm4 gpt_bigcode gpt_neox granite llama mistral olmo
    olmo2 olmo3 phi phi3 qwen2 qwen3 seed_oss smollm3 stablelm starcoder2
"""
CUT_FAMILIES = frozenset(_CUT_FAMILIES.split())
TILED_FAMILIES = frozenset(_TILED_FAMILIES.split())


def cuts(profile: Profile) -> bool:
    """Whether the fused loss is cut cross entropy: where its package is declared, it takes Liger's place."""
    return packages.declared(profile, CUT)


def tiles(plan: Plan) -> int:
    """Tiles of a sequence: each has as many tokens as the hidden size, the last one fewer."""
    return -(-int(held(plan, "max_length")) // plan.problem.model.architecture.hidden)


@require("Axolotl integrations/liger/plugin.py, pre_model_load; integrations/cut_cross_entropy and its fork, PATCH_FNS")
def the_kernel_knows_the_family(loss: str, architecture: Architecture, profile: Profile) -> str | None:
    """The fused loss is put in for the families that Liger has it for, or cut cross entropy where that is declared."""
    if loss != "fused":
        return None
    if not cuts(profile):
        return liger.refuses(profile, architecture.family)
    if architecture.family in CUT_FAMILIES:
        return None
    return f"{CUT} has no code for {architecture.family}, and Axolotl would try llama's"


@require("Axolotl integrations/cut_cross_entropy/args.py, check_dtype_is_half")
def cut_losses_are_in_16_bits(loss: str, precision: str, profile: Profile) -> str | None:
    """Cut cross entropy takes 16-bit embeddings and heads."""
    if loss != "fused" or precision != "fp32" or not cuts(profile):
        return None
    return f"{CUT} works in bf16 and fp16 alone: precision fp32 needs strategy.loss: plain"


@advise("Axolotl integrations/cut_cross_entropy/__init__.py, _check_requirements")
def the_fork_is_installed(strategy: Strategy, profile: Profile) -> str | None:
    """Cut cross entropy is a fork that no package index has; Apple's own of the same name stops the run."""
    if strategy.loss != "fused" or not cuts(profile):
        return None
    return f"Axolotl's fork of {CUT} is in no package index: {FORK}"


@require(_TILED, blames="target")
def mlps_of_the_family_are_tiled(mlp: str, architecture: Architecture) -> str | None:
    """MLPs are tiled in families of transformers that have a class for them."""
    if mlp == "whole" or architecture.family in TILED_FAMILIES:
        return None
    return f"finds no MLP to tile in {architecture.family}"


@require(_TILED + " imports deepspeed, whatever splits the model", package=packages.DEEPSPEED)
def tiling_needs_deepspeed(mlp: str, profile: Profile) -> str | None:
    """DeepSpeed's package is there where MLPs are tiled."""
    return packages.absent(profile, packages.DEEPSPEED) if mlp == "tiled" else None


@require(_TILED + "; base.py runs a backward pass for each tile, outside autocast")
def tiles_have_one_gradient(
    mlp: str, sharding: str, world_size: int, method: str, lora: Lora | None, precision: str, attention: str
) -> str | None:
    """DDP takes one gradient of each weight in a step, and tiles that run again have no autocast."""
    if mlp == "whole" or sharding != "ddp":
        return None
    if world_size > 1 and (lora is None or lora.targets != "attention"):
        return "each tile gives a gradient, and DDP takes one of each weight: strategy.sharding other than ddp"
    if method != "full" or precision == "fp32" or attention.startswith("flash"):
        return None
    return (
        "Axolotl keeps norms in fp32, whose output linears in 16 bits do not take as tiles run again outside autocast: "
        "strategy.attention: flash turns them to 16 bits"
    )


@require("DeepSpeed runtime/sequence_parallel/ulysses_sp.py, TiledMLP.backward: ds_grad_is_ready at the last tile")
def tiles_are_all_there(mlp: str, sharding: str, packing: bool, task: str) -> str | None:
    """DeepSpeed waits for the last tile of a count that short rows do not reach, and then reduces no gradient."""
    if mlp == "whole" or not sharding.startswith("zero") or packing:
        return None
    why = (
        "rows that are shorter than the square of the number of tiles make fewer of them, and DeepSpeed leaves out the "
        "gradients that it would reduce after the last"
    )
    return f"{why}: data.packing: true fills rows" if task in ("sft", "pretrain") else why


RULES = (
    the_kernel_knows_the_family,
    cut_losses_are_in_16_bits,
    the_fork_is_installed,
    mlps_of_the_family_are_tiled,
    tiling_needs_deepspeed,
    tiles_have_one_gradient,
    tiles_are_all_there,
)
