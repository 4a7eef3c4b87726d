"""What neither the micro-batch nor the place of states changes: computed once for many strategies."""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.catalog.names import names
from mfc.catalog.parameters import saved_count, trainable
from mfc.memory import optimizers, sight
from mfc.memory.formats import Formats, formats
from mfc.memory.forward import saved
from mfc.memory.inputs import Inputs, Loop, Trains
from mfc.memory.loss import Head, logits_bytes
from mfc.memory.shape import Shape, adapted, shape
from mfc.memory.stack import Stack
from mfc.memory.step import Step, step
from mfc.runtimes import bitsandbytes
from mfc.runtimes.placement import States
from mfc.strategy import FSDP, Quantization, Strategy


class Static(NamedTuple):
    """What neither the micro-batch nor the place of states changes."""

    step: Step
    states: States
    quantised: bool
    adapter_share: float  # of all weight bytes but scales
    models: float  # that keep activations in one step, in those of the policy


_PLACING = ("sharding", "world_size", "offload_optimizer", "offload_parameters", "pin_memory")
_SIZES = ("micro_batch", "gradient_accumulation")
_OTHERS = itemgetter(*(at for at, name in enumerate(Strategy._fields) if name not in (*_PLACING, *_SIZES)))


def group(strategy: Strategy) -> tuple[Any, ...]:
    """What strategies with one `key` have in common, made in a fraction of the time."""
    sharding = "zero1" if strategy.sharding == "zero2" else strategy.sharding
    return sharding, strategy.gradient_accumulation > 1, _OTHERS(strategy)


def key(strategy: Strategy) -> Strategy:
    """The strategy with neutral values for what only places states, so that many strategies share one key."""
    return strategy._replace(
        sharding="zero1" if strategy.sharding == "zero2" else strategy.sharding,
        micro_batch=1,
        gradient_accumulation=2 if strategy.gradient_accumulation > 1 else 1,
        world_size=1,
        offload_optimizer="none",
        offload_parameters="none",
        pin_memory=True,
    )


@lru_cache(maxsize=8192)
def static(architecture: Architecture, strategy: Strategy, stack: Stack) -> Static:
    """Phases and states of a strategy, as `key` made it."""
    form = formats(strategy, stack)
    if _headless(strategy, stack):
        architecture = architecture._replace(tied=True)
    figure = shape(architecture, stack.fused_experts)
    lora = strategy.lora if form.adapters else None
    numbers = trainable(
        architecture, strategy, fused_experts=stack.fused_experts, expert_adapters=stack.expert_adapters
    )
    whole, narrow, parts = 0, 1.0, _whole_parts(figure, strategy) if lora else 0
    beside = saved_count(architecture, lora) + parts if lora else 0
    if beside and form.trained > form.weights and not (form.master or stack.whole_fp32):
        # PEFT upcasts adapters only: whole modules stay in the base's type, and so do their gradients and moments
        whole, narrow = beside, form.weights / form.trained
    head = _head(architecture, strategy, stack, form, narrow)
    # Without a gradient the head has no moments; DeepSpeed's are of flat partitions, which it is part of.
    idle = figure.head if head.unscored and form.full and not strategy.deepspeed else 0
    optimizer = optimizers.kept(figure, form, stack, strategy, numbers - int(whole * (1 - narrow)) - idle)
    given = _inputs(architecture, strategy, stack, form)
    trains = Trains(
        numbers=int(optimizer.trained),
        copied=numbers - (whole or beside),
        reach=optimizers.reach(strategy, figure.depth),
        frozen=strategy.unadapted,
        wide_head=form.adapters and head.trains and form.computed == 4 and narrow == 1.0,
        headless=_headless(strategy, stack),
    )
    models = _kept_models(figure, given, trains, strategy)
    loop = Loop(
        accumulates=strategy.gradient_accumulation > 1 or optimizers.layerwise(strategy, stack),
        varies=not strategy.fills_rows,
        models=models,
        sequences=strategy.sequences,
    )
    made = step(given, head, trains, loop, sight.look(architecture, strategy, stack, form))
    states = _states(figure, form, stack, strategy, made.course.layer_trained, optimizer)
    states = states._replace(base=states.base - parts * float(form.weights) + idle * (form.trained - form.element))
    if lora:
        states = states._replace(spare=2.0 * saved_count(architecture, lora))
    own = states.trained * states.weight
    return Static(
        step=made,
        states=states,
        quantised=strategy.quantization is not None,
        adapter_share=own / (states.base + states.reference + states.scoring + own) if form.adapters else 0.0,
        models=models,
    )


def _headless(strategy: Strategy, stack: Stack) -> bool:
    """Whether no weight makes logits: a classifier's last linear has a row a class, and a reward model one class.

    Source: transformers modeling_layers.py, GenericForSequenceClassification.
    """
    return strategy.task == "reward" and not stack.value_head


def scored_share(architecture: Architecture, strategy: Strategy, stack: Stack) -> float:
    """The share of a sequence's tokens that get logits: in GRPO those of answers."""
    if strategy.task != "grpo" or strategy.rollout is None:
        return 1.0
    if stack.answer_logits == "never" or (stack.answer_logits == "text" and architecture.vision is not None):
        return 1.0
    return strategy.rollout.max_completion_length / strategy.max_length


def trained_models(strategy: Strategy) -> float:
    """How many models train at once: PPO's policy and critic share a step, so both keep activations."""
    return 1.0 + strategy.rollout.critic if strategy.rollout else 1.0


def _kept_models(figure: Shape, given: Inputs, trains: Trains, strategy: Strategy) -> float:
    """How many models' activations a step keeps, in those of the policy: a critic's own formats may be wider."""
    models = trained_models(strategy)
    if models == 1.0 or not given.stack.critic_fp32:
        return models
    wide = given._replace(formats=formats(strategy._replace(precision="fp32"), given.stack))
    return 1.0 + (models - 1.0) * saved(figure, wide, trains).sequence / saved(figure, given, trains).sequence


class Scored(NamedTuple):
    """What a step holds of logits at most."""

    width: float  # bytes a token and word
    tokens: int  # of a micro-batch on one GPU
    size: float  # bytes


def scored(architecture: Architecture, strategy: Strategy, stack: Stack) -> Scored:
    """The logits of a micro-batch with what the loss makes of them, as the phases count them."""
    form = formats(strategy, stack)
    given, head = _inputs(architecture, strategy, stack, form), _head(architecture, strategy, stack, form, 1.0)
    made = logits_bytes(given, head)
    width, tokens = max(made.forward, made.backward), strategy.sequences * given.tokens
    share = scored_share(architecture, strategy, stack)
    return Scored(width, int(tokens * share), width * head.vocab * tokens)


def _whole_parts(figure: Shape, strategy: Strategy) -> int:
    """Numbers of the parts that train whole beside adapters."""
    sizes = {"vision": figure.vision, "projector": figure.projector}
    return sum(size for part, size in sizes.items() if strategy.learns(part) == "whole")


def mask_bytes(strategy: Strategy, stack: Stack) -> float:
    """Bytes per pair of tokens of the mask that keeps the samples of packed rows apart; 0 where there is none.

    It has the format that the model computes in. All layers share it, since SDPA takes a mask of numbers as it is
    (PyTorch aten transformers/attention.cpp, convert_boolean_attn_mask).
    """
    if not (strategy.packing and stack.packing_mask and strategy.task == "sft"):
        return 0.0
    if strategy.attention.startswith("flash"):
        return 0.0
    return 4.0 if strategy.precision == "fp32" else 2.0


def kernel(strategy: Strategy, stack: Stack) -> str:
    """The attention kernel with the mask that it gets: flash, sdpa, masked, blocks or eager (`Inputs.kernel`)."""
    if strategy.attention != "sdpa":
        return strategy.attention
    if strategy.task in stack.eager_tasks:
        return "eager"
    if strategy.packing:
        return "blocks" if mask_bytes(strategy, stack) else "sdpa"
    return "masked" if stack.padding_mask else "sdpa"


def _inputs(architecture: Architecture, strategy: Strategy, stack: Stack, form: Formats) -> Inputs:
    frozen = architecture.vision is not None and strategy.learns("language") == "frozen"
    if frozen:  # its layers pass gradients on to the pictures, and keep what layers under adapters keep
        form = sight.passive(form)
    kind = strategy.quantization.kind if strategy.quantization is not None else ""
    return Inputs(
        architecture=architecture,
        formats=form,
        stack=stack,
        lora=strategy.lora if form.adapters else None,
        tokens=strategy.max_length / strategy.sequence_parallel,
        length=strategy.max_length,
        kernel=kernel(strategy, stack),
        checkpointing=strategy.gradient_checkpointing and (stack.checkpoints_frozen or not frozen),
        offloads=stack.checkpoint_offload or strategy.offload_activations != "none",
        lean=stack.fused_blocks == "always" or (stack.fused_blocks == "with_loss" and strategy.loss == "fused"),
        kbit=kind in ("nf4", "fp4"),
        dequantised=kind in ("gptq", "awq"),
        tiled=stack.tiled_mlp or strategy.mlp == "tiled",
        holds_streams=strategy.sharding in FSDP and not form.full and stack.fsdp_holds_streams,
    )


def _head(architecture: Architecture, strategy: Strategy, stack: Stack, form: Formats, narrow: float) -> Head:
    """`narrow` is the width of a whole module's gradient, as a share of an adapter's."""
    whole = strategy.lora.modules_to_save if strategy.lora and form.adapters else ()
    learns = form.full and "language" not in strategy.freeze_parts
    trains = (learns and optimizers.reach(strategy, architecture.layers).edges) or names(
        architecture.family
    ).head in whole
    reward, fused = strategy.task == "reward", strategy.loss == "fused"
    unscored = reward and stack.value_head
    headless = _headless(strategy, stack)
    return Head(
        vocab=0 if headless else int(architecture.vocab * scored_share(architecture, strategy, stack)),
        trains=not reward and trains,
        fused=fused and stack.fused_loss == "linear",
        chunked_logits=fused and stack.fused_loss == "logits",
        share=narrow,
        in_place=fused and stack.fused_loss == "in_place",
        unscored=unscored,
        preference=stack.preferences.of(strategy.task, form.autocast or form.logits == 4, strategy.packing),
    )


def _states(
    figure: Shape, form: Formats, stack: Stack, strategy: Strategy, layer_trained: float, optimizer: optimizers.Kept
) -> States:
    total, trained = figure.parameters, optimizer.trained
    if form.full:
        base, scales = (total - trained) * (2.0 if form.element == 2 else 4.0), 0.0
        layer = max(x.parameters for x in figure.layers) * 2.0
    else:
        base, scales, layer = _frozen(figure, form, stack, strategy.quantization)
    models = trained_models(strategy)
    base, scales, trained = base * models, scales * models, trained * models
    head = figure.head_rows if form.full else 0
    # Embedding and head of twice the width, spread over all that trains; their moments are of torch's own optimizers.
    edges = float(figure.embedding + figure.head) if form.fp32_edges else 0.0
    more = 2.0 * edges / max(trained, 1)
    moments = 2 * more if strategy.optimizer == "adamw" else 0.0
    return States(
        base=base,
        scales=scales,
        trained=trained,
        weight=form.trained + more,
        gradient=form.gradient + more,
        optimizer=optimizer.state / max(optimizer.trained, 1) + moments,
        master=form.master,
        managed=strategy.optimizer.startswith("paged"),
        foreach=_foreach(strategy, stack),
        layer=layer,
        edges=2.0 * (figure.embedding + figure.head),
        edge=2.0 * figure.head_rows,
        layer_trained=layer_trained,
        largest=max(head, max((x.largest_linear for x in figure.layers), default=0)) if form.full else 0,
        total=total,
        accumulates=strategy.gradient_accumulation > 1,
        scratch=optimizer.step,
        within=optimizer.within,
        matrices=_matrices(figure, stack, strategy) if strategy.sharding == "zero3" else (),
        reference=_reference(figure, form, stack, strategy) * strategy.reference_model
        + strategy.teacher_parameters * _reference_width(form, stack, strategy),
        scoring=2.0 * sum(strategy.rollout.scoring) if strategy.rollout else 0.0,
    )


def _foreach(strategy: Strategy, stack: Stack) -> int:
    """Copies of what trains that torch's own step makes: roots of AdamW's second moments, and their sums."""
    if not stack.optimizer_foreach or strategy.optimizer not in optimizers.TORCH:
        return 0
    return 2 if stack.foreach_twice and strategy.optimizer == "adamw" else 1


def _reference(figure: Shape, form: Formats, stack: Stack, strategy: Strategy) -> float:
    """Bytes of a reference of its own, whose edges are as wide as the policy's where the framework loads both."""
    wide = form.fp32_edges and strategy.task not in stack.fp32_references
    edges = 2.0 * (figure.embedding + figure.head) if wide else 0.0
    return figure.parameters * _reference_width(form, stack, strategy) + edges


def _reference_width(form: Formats, stack: Stack, strategy: Strategy) -> float:
    """Bytes per number of a reference of its own. FSDP upcasts the policy after it was loaded in 16 bits."""
    if strategy.task in stack.fp32_references:
        return 2.0 if strategy.deepspeed else 4.0
    wide = stack.reference_as_policy and form.full and form.weights == 4 and strategy.sharding not in FSDP
    return 4.0 if wide else 2.0


def _matrices(figure: Shape, stack: Stack, strategy: Strategy) -> tuple[tuple[float, float], ...]:
    """Numbers of one matrix and of all like it: linears of the layers, and what adapters put beside them."""
    found = [(x.in_features * x.out_features, x.weights) for layer in figure.layers for x in layer.linears]
    if strategy.lora is not None:
        rank = strategy.lora.rank
        groups = adapted(
            figure.architecture, strategy.lora, stack.fused_experts, stack.expert_adapters, strategy.freeze_parts
        )
        linears = [adapter.linear for group in groups for adapter in group]
        found += [(rank * side, rank * side * x.count) for x in linears for side in (x.in_features, x.out_features)]
    return tuple(found)


def _frozen(
    figure: Shape, form: Formats, stack: Stack, quantization: Quantization | None
) -> tuple[float, float, float]:
    """Bytes of a frozen base: (weights, scales of quantised ones, the largest layer's weights)."""
    largest = max(figure.layers, key=lambda x: x.parameters)
    if quantization is None:
        return figure.parameters * float(form.weights), 0.0, largest.parameters * float(form.weights)
    quantised = figure.quantised + (figure.head if stack.kbit_everything else 0)
    scale = bitsandbytes.scale_bytes(quantization)
    each = bitsandbytes.quantised_bytes(quantization) - scale
    edges = figure.embedding + figure.head if form.narrow_edges else 0
    base = quantised * each + (figure.parameters - quantised) * form.weights - 2.0 * edges
    layer = largest.linear_numbers * each + (largest.parameters - largest.linear_numbers) * form.weights
    return base, quantised * scale, layer
