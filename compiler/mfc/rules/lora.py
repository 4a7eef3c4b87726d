"""Adapters: rank, scale, where they go, and what they cannot do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from mfc.catalog.parameters import adapters, count, linears, saved_count
from mfc.rules.engine import Rather, Value, advise, derive, from_spec, require, said
from mfc.rules.words import gib, listed, short
from mfc.strategy import Lora

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.problem import Model
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_FUSED = "peft 0.21 tuners/lora/layer.py, ParamWrapper: adapters on 3-D expert parameters"
_SPEC = "the spec language"
_ADAPTED = ("lora", "qlora")


@derive("lora_targets", "QLoRA, arXiv:2305.14314, section 4: adapters on all linear layers match full fine-tuning")
def lora_targets(spec: Spec) -> Value:
    """Adapters go on every linear layer unless the spec names some."""
    targets = spec.train.lora.targets
    if targets == "all-linear" and "targets" not in spec.train.lora.model_fields_set:
        return Value(targets, "adapters on all linear layers match full fine-tuning, on attention alone they do not")
    return from_spec(targets if isinstance(targets, str) else ",".join(targets), "train.lora.targets")


@derive("lora_variant", _SPEC + "; rsLoRA arXiv:2312.03732, DoRA arXiv:2402.09353")
def lora_variant(spec: Spec) -> Value:
    """Adapters are plain LoRA unless the spec asks for rslora or dora."""
    return said(spec.train.lora, "variant", "train.lora", "plain LoRA, scaled by alpha / rank")


@derive("lora_dropout", _SPEC)
def lora_dropout(spec: Spec) -> Value:
    """Adapters have no dropout unless the spec sets it."""
    return said(spec.train.lora, "dropout", "train.lora", "no dropout")


@derive("lora_alpha", "LoRA Learns Less and Forgets Less, arXiv:2405.09673: alpha = 2 x rank; rsLoRA arXiv:2312.03732")
def lora_alpha(lora_rank: int, lora_variant: str) -> Value:
    """Adapters are scaled by two: alpha is twice the rank, and twice its root for rslora."""
    if lora_variant != "rslora":
        return Value(2 * lora_rank, f"2 x rank {lora_rank}, so adapters are scaled by 2")
    alpha = round(2 * lora_rank**0.5)
    return Value(alpha, f"2 x sqrt(rank {lora_rank}): rslora divides by the root, so adapters are scaled by about 2")


@derive("modules_to_save", _SPEC)
def modules_to_save(spec: Spec) -> Value:
    """No module is trained whole beside the adapters unless the spec names it."""
    names = spec.train.lora.modules_to_save
    return from_spec(names, "train.lora.modules_to_save") if names else Value(names, "adapters alone are trained")


@derive("lora", "LoRA, arXiv:2106.09685")
def lora(
    method: str,
    lora_rank: int,
    lora_alpha: float,
    lora_dropout: float,
    lora_targets: str,
    lora_variant: Literal["lora", "rslora", "dora"],
    modules_to_save: tuple[str, ...],
) -> Value:
    """Methods lora and qlora train adapters, the others none."""
    if method not in _ADAPTED:
        return Value(None, f"method {method} has no adapters")
    made = Lora(lora_rank, lora_alpha, lora_dropout, lora_targets, lora_variant, modules_to_save)
    return Value(made, f"rank {lora_rank}, alpha {lora_alpha:g}, on {lora_targets}")


@require(_FUSED + " refuse lora_dropout")
def fused_experts_take_no_dropout(architecture: Architecture, profile: Profile, lora: Lora | None) -> str | None:
    """Adapters on fused experts cannot have dropout."""
    if lora is None or not lora.dropout or not _adapts_fused_experts(architecture, lora, profile):
        return None
    return (
        f"adapters on the fused experts of {architecture.family} refuse dropout {lora.dropout:g}: set "
        "train.lora.dropout: 0, or train.lora.targets: attention"
    )


@require(_FUSED + " refuse use_dora")
def fused_experts_take_no_dora(architecture: Architecture, profile: Profile, lora: Lora | None) -> str | None:
    """DoRA does not work on fused experts."""
    if lora is None or lora.variant != "dora" or not _adapts_fused_experts(architecture, lora, profile):
        return None
    return f"DoRA cannot adapt the fused experts of {architecture.family}; take variant lora, or targets: attention"


@require("peft tuners/lora/dora.py: DoRA reads the norms of the weights")
def dora_needs_plain_weights(model: Model, lora: Lora | None) -> str | None:
    """DoRA does not work on a checkpoint that is already quantised."""
    stored = model.quantized
    if lora is None or lora.variant != "dora" or stored is None or stored.kind in ("nf4", "fp4", "int8"):
        return None
    return f"DoRA needs the norms of the weights, which {stored.kind} does not give; take variant lora"


@require("peft PeftModel.from_pretrained: an adapter is loaded into a model that gets adapters")
def adapters_continue_as_adapters(spec: Spec, method: str) -> str | None:
    """Training goes on with a given adapter only by method lora or qlora."""
    if spec.model.adapter is None or spec.model.adapter_mode == "merge" or method in _ADAPTED:
        return None
    return f"model.adapter is to be continued, and method {method} has none; adapter_mode: merge folds it in first"


@require("LoRA, arXiv:2106.09685: rank below the widths of the matrix")
def rank_below_width(architecture: Architecture, lora_rank: int, method: str) -> str | None:
    """The rank of an adapter is below the width of the model."""
    if method not in _ADAPTED or lora_rank < architecture.hidden:
        return None
    return f"rank {lora_rank} is not low: the model is {architecture.hidden} wide, method full trains less"


@require("peft tuners/tuners_utils.py: target modules that are not found in the base model end the run")
def targets_exist(architecture: Architecture, profile: Profile, lora: Lora | None) -> str | None:
    """At least one linear of the model bears a name that the targets give."""
    if lora is None or adapters(
        architecture, lora, fused_experts=profile.stack.fused_experts, expert_adapters=profile.stack.expert_adapters
    ):
        return None
    names = dict.fromkeys(linear.name for linear in linears(architecture, fused_experts=profile.stack.fused_experts))
    return (
        f"no linear of {architecture.family} is among train.lora.targets {lora.targets}; there are {', '.join(names)}"
    )


@advise("peft tuners/tuners_utils.py: names that match no module are passed over as long as another does")
def targets_in_vain(architecture: Architecture, profile: Profile, lora: Lora | None) -> str | None:
    """A misspelt layer gets no adapters, and nothing says so when the run starts."""
    if lora is None or "," not in lora.targets:
        return None
    stack = profile.stack
    vain = [
        name
        for name in lora.targets.split(",")
        if not adapters(
            architecture,
            replace(lora, targets=name),
            fused_experts=stack.fused_experts,
            expert_adapters=stack.expert_adapters,
        )
    ]
    if not vain:
        return None
    names = dict.fromkeys(linear.name for linear in linears(architecture, fused_experts=stack.fused_experts))
    return (
        f"train.lora.targets: no linear that can have adapters is called {listed(vain, 'or')}: PEFT passes over "
        f"{'it' if len(vain) == 1 else 'them'}; there are {', '.join(names)}"
    )


@advise(_FUSED + " add W + BA for all experts of a layer")
def fused_experts_are_merged(architecture: Architecture, profile: Profile, lora: Lora | None) -> Rather | None:
    """Adapters on fused experts build all adapted experts of a layer anew in each pass."""
    if lora is None or not _adapts_fused_experts(architecture, lora, profile):
        return None
    experts = max(block.experts for block in count(architecture).blocks)
    return Rather(
        f"adapters on fused experts build {short(experts)} merged weights, {gib(2 * experts)}, in every layer that "
        "computes",
        "train.lora.targets: attention does without",
        {"lora_targets": "attention"},
    )


@advise("peft 0.21 utils/transformers_weight_conversion.py: which families' experts are found")
def experts_are_not_reached(architecture: Architecture, profile: Profile, lora: Lora | None) -> str | None:
    """Where experts are fused and PEFT does not find them, `all-linear` leaves them out."""
    if lora is None or not architecture.moe or lora.targets not in ("all-linear", "mlp"):
        return None
    chosen = adapters(
        architecture, lora, fused_experts=profile.stack.fused_experts, expert_adapters=profile.stack.expert_adapters
    )
    if any(adapter.linear.kind == "expert" for adapter in chosen):
        return None
    return f"{lora.targets} does not reach the experts of {architecture.family}: they stay as they are"


@advise("peft utils/other.py ModulesToSaveWrapper: a trained copy beside the frozen original")
def saved_modules_are_large(architecture: Architecture, lora: Lora | None) -> str | None:
    """Modules trained whole cost weights, gradients and optimizer state, beside their frozen original."""
    if lora is None or not lora.modules_to_save:
        return None
    saved = saved_count(architecture, lora)
    return (
        f"{', '.join(lora.modules_to_save)}: {short(saved)} parameters trained whole, 16 bytes each: {gib(16 * saved)}"
    )


@advise("peft tuners/tuners_utils.py: its warning on adapters of tied modules")
def saved_modules_are_tied(architecture: Architecture, lora: Lora | None) -> str | None:
    """Training one of two tied modules unties them."""
    if lora is None or not architecture.tied or not {"lm_head", "embed_tokens"}.intersection(lora.modules_to_save):
        return None
    return f"embedding and head of {architecture.family} share their weights; trained whole they become two"


@derive("trainable_layers", "a convention, not a measured optimum: the last two blocks")
def trainable_layers(method: str, spec: Spec, architecture: Architecture) -> Value:
    """Method freeze trains the last two blocks unless the spec says how many."""
    if method != "freeze":
        return Value(0, f"method {method} does not train by blocks")
    asked = spec.train.trainable_layers
    if asked != "auto" and asked <= architecture.layers:
        return from_spec(asked, "train.trainable_layers")
    layers = min(2 if asked == "auto" else asked, architecture.layers)
    return Value(layers, f"the last {layers} of {architecture.layers} blocks train")


@advise("LoRA Learns Less and Forgets Less, arXiv:2405.09673")
def adapters_learn_less(strategy: Strategy) -> Rather | None:
    """Continued pretraining through low-rank adapters learns less than full training."""
    if strategy.task != "pretrain" or strategy.lora is None:
        return None
    return Rather(
        f"pretraining moves weights by more than rank {strategy.lora.rank} holds",
        "train.method: full learns more",
        {"method": "full"},
    )


def _adapts_fused_experts(architecture: Architecture, lora: Lora, profile: Profile) -> bool:
    if not architecture.moe:
        return False
    chosen = adapters(
        architecture, lora, fused_experts=profile.stack.fused_experts, expert_adapters=profile.stack.expert_adapters
    )
    return any(adapter.linear.fused_expert for adapter in chosen)


RULES = (
    lora_targets,
    lora_variant,
    lora_dropout,
    lora_alpha,
    modules_to_save,
    adapters_continue_as_adapters,
    rank_below_width,
    lora,
    targets_exist,
    targets_in_vain,
    fused_experts_take_no_dropout,
    fused_experts_take_no_dora,
    dora_needs_plain_weights,
    fused_experts_are_merged,
    experts_are_not_reached,
    saved_modules_are_large,
    saved_modules_are_tied,
    trainable_layers,
    adapters_learn_less,
)
