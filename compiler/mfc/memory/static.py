"""What neither the micro-batch nor the place of states changes: computed once for many strategies."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.catalog.names import names
from mfc.catalog.parameters import saved_count, trainable
from mfc.memory import optimizers
from mfc.memory.activations import Inputs
from mfc.memory.formats import Formats, formats
from mfc.memory.loss import Head
from mfc.memory.rollout import scored_share, trained_models
from mfc.memory.shape import Shape, shape
from mfc.memory.stack import Stack
from mfc.memory.step import Step, step
from mfc.runtimes import bitsandbytes
from mfc.runtimes.placement import States
from mfc.strategy import Strategy


class Static(NamedTuple):
    """What neither the micro-batch nor the place of states changes."""

    step: Step
    states: States
    quantised: bool
    adapter_share: float  # of all weight bytes but scales


def key(strategy: Strategy) -> Strategy:
    """The strategy without what only places states: a key that many strategies share."""
    return strategy._replace(
        sharding="zero1" if strategy.sharding == "zero2" else strategy.sharding,
        micro_batch=1,
        gradient_accumulation=2 if strategy.gradient_accumulation > 1 else 1,
        world_size=1,
        offload_optimizer="none",
        offload_parameters="none",
    )


@lru_cache(maxsize=8192)
def static(architecture: Architecture, strategy: Strategy, stack: Stack) -> Static:
    """Phases and states of a strategy, as `key` made it."""
    form = formats(strategy, stack)
    figure = shape(architecture, stack.fused_experts)
    lora = strategy.lora if form.adapters else None
    quantization = strategy.quantization
    fused = strategy.loss == "fused"
    kernel: str = strategy.attention
    if kernel == "sdpa" and stack.padding_mask and not strategy.packing:
        kernel = "masked"
    given = Inputs(
        architecture=architecture,
        formats=form,
        stack=stack,
        lora=lora,
        tokens=strategy.max_length / strategy.sequence_parallel,
        length=strategy.max_length,
        kernel=kernel,
        checkpointing=strategy.gradient_checkpointing,
        lean=stack.fused_blocks == "always" or (stack.fused_blocks == "with_loss" and fused),
        kbit=quantization is not None and quantization.kind in ("nf4", "fp4"),
        dequantised=quantization is not None and quantization.kind in ("gptq", "awq"),
        holds_streams=strategy.sharding == "fsdp2" and not form.full and stack.fsdp_holds_streams,
    )
    found = names(architecture.family)
    saved = lora.modules_to_save if lora else ()
    reward, unscored = strategy.task == "reward", strategy.task == "reward" and stack.value_head
    head = Head(
        vocab=0 if reward and not unscored else int(architecture.vocab * scored_share(strategy)),
        trains=not unscored and ((form.full and "language" not in strategy.freeze_parts) or found.head in saved),
        unscored=unscored,
        preference=stack.preferences.of(strategy.task, form.autocast or form.logits == 4),
        fused=fused and stack.fused_loss == "linear",
        chunked_logits=fused and stack.fused_loss == "logits",
        in_place=fused and stack.fused_loss == "in_place",
    )
    trained = trainable(
        architecture, strategy, fused_experts=stack.fused_experts, expert_adapters=stack.expert_adapters
    )
    copied = trained  # what autocast makes 16-bit copies of
    share = 1.0
    if lora and lora.modules_to_save and form.trained > form.weights and not (form.master or stack.trainable_fp32):
        # PEFT upcasts adapters only: whole modules stay in the base's type, and so do their gradients and moments
        share = form.weights / form.trained
        whole = saved_count(architecture, lora)
        copied, trained = trained - whole, trained - int(whole * (1 - share))
    optimizer = optimizers.kept(figure, form, stack, strategy, trained)
    # a gradient applied at once is alone while it is made, as one is that adds to what was accumulated
    alone = strategy.gradient_accumulation > 1 or optimizers.layerwise(strategy, stack)
    reach = optimizers.reach(strategy, figure.depth)
    head = head._replace(share=share)
    made = step(
        given,
        head,
        strategy.freeze_parts,
        int(optimizer.trained),
        copied,
        reach,
        accumulates=alone,
        varies=not strategy.packing,
        models=trained_models(strategy),
        sequences=strategy.sequences,
    )
    states = _states(figure, form, stack, strategy, made.course.layer_trained, optimizer)
    own = states.trained * states.weight
    return Static(made, states, quantization is not None, own / (states.base + own) if form.adapters else 0.0)


def _states(
    figure: Shape, form: Formats, stack: Stack, strategy: Strategy, layer_trained: float, optimizer: optimizers.Kept
) -> States:
    total, trained = figure.parameters, optimizer.trained
    scales = 0.0
    if form.full:
        base = (total - trained) * 2.0 if form.element == 2 else (total - trained) * 4.0
        layer = max(x.parameters for x in figure.layers) * 2.0
    else:
        per = form.weights
        quantised = figure.quantised if strategy.quantization else 0
        if quantised and stack.kbit_everything:
            quantised += figure.head
        each = 0.0
        if strategy.quantization:
            scale = bitsandbytes.scale_bytes(strategy.quantization)
            scales, each = quantised * scale, bitsandbytes.quantised_bytes(strategy.quantization) - scale
        base = quantised * each + (total - quantised) * per
        largest = max(figure.layers, key=lambda x: x.parameters)
        in_layer = largest.linear_numbers if strategy.quantization else 0
        layer = in_layer * each + (largest.parameters - in_layer) * per
    if strategy.rollout and strategy.rollout.critic:  # a second model, trained as the policy is
        base, scales, trained = base * 2, scales * 2, trained * 2
    frozen = int(strategy.reference_model) + (strategy.rollout.frozen_models if strategy.rollout else 0)
    base += total * 2.0 * frozen
    head = figure.head_rows if form.full else 0
    return States(
        base=base,
        scales=scales,
        trained=trained,
        weight=form.trained,
        gradient=form.gradient,
        optimizer=optimizer.state / max(optimizer.trained, 1),
        master=form.master,
        managed=strategy.optimizer.startswith("paged"),
        foreach=stack.optimizer_foreach and strategy.optimizer in optimizers.TORCH,
        layer=layer,
        edges=2.0 * (figure.embedding + figure.head),
        edge=2.0 * figure.head_rows,
        layer_trained=layer_trained,
        largest=max(head, max((x.largest_linear for x in figure.layers), default=0)) if form.full else 0,
        total=total,
        accumulates=strategy.gradient_accumulation > 1,
        scratch=optimizer.step,
        within=optimizer.within,
    )
