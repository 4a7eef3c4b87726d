"""The part of a run that a CPU can trace: one GPU that holds everything, with the plan's number formats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from mfc.catalog.parameters import target_names
from mfc.errors import SpecError
from mfc.memory import Run, Stack, static
from mfc.memory.formats import formats
from mfc.simulate.setup import Kernel, Setup
from mfc.strategy import Method, Strategy

# Facts of a stack that the trace takes over, beside number formats.
FOLLOWED = (
    *("name", "known", "frozen_fp32", "keeps_outputs", "optimizer_foreach"),
    *("padding_mask", "packing_mask", "expandable_segments"),
)
# Facts about the target's libraries: those installed here take their place.
LIBRARIES = (
    *("logits_fp32_copy", "logits_shift_copy", "logits_beside_copies"),
    *("value_head", "fused_experts", "expert_adapters"),
    *("sdpa_expands_kv", "expands_kv", "kbit_keeps_inputs", "checkpoint", "checkpoint_offload"),
)


def alone(run: Run) -> tuple[Run, tuple[str, ...]]:
    """The run as it can be traced, and what was left out, in sentences.

    Raises SpecError for runs of which no part that matters can be traced.
    """
    strategy = run.strategy
    if strategy.method == "freeze":
        raise SpecError("error: method freeze is not simulated: its moments are not affine in the number of layers")
    if run.architecture.vision is not None:
        raise SpecError("error: models that take images are not simulated")
    form = formats(strategy._replace(quantization=None, method=_method(strategy)), run.stack)
    stack = Stack(
        **{name: getattr(run.stack, name) for name in FOLLOWED},
        autocast=form.autocast,
        trainable_fp32=form.fp32_autocast,
        adapter_fp32=form.trained == 4,
    )
    traced = strategy._replace(
        task="pretrain" if strategy.task == "pretrain" else "sft",
        method=_method(strategy),
        precision=strategy.precision if strategy.precision in ("fp32", "pure_bf16") else "bf16",
        sharding="ddp",
        world_size=1,
        micro_batch=strategy.sequences,
        max_length=strategy.max_length // strategy.sequence_parallel,
        loss="plain",
        mlp="whole",
        optimizer="sgd" if strategy.optimizer == "sgd" else "adamw",
        offload_optimizer="none",
        offload_parameters="none",
        sequence_parallel=1,
        quantization=None,
        reference_model=False,
    )
    return run._replace(strategy=traced, stack=stack, gpus_per_node=1), tuple(_left_out(run, stack))


def setup(run: Run, config: dict[str, object]) -> Setup:
    """What to trace for a run that `alone` made."""
    strategy, stack = run.strategy, run.stack
    form = formats(strategy, stack)
    kernel: Kernel = "eager" if strategy.attention == "eager" or _eager_only(run) else "flash"
    if kernel != "eager" and (masked := static.kernel(strategy, stack)) in ("masked", "blocks"):
        kernel = cast("Kernel", masked)
    return Setup(
        config=config,
        sequences=strategy.sequences,
        length=strategy.max_length,
        checkpointing=strategy.gradient_checkpointing,
        weights=form.trained if form.full else int(form.weights),
        lora=strategy.lora if form.adapters else None,
        targets=_targets(run),
        adapter=form.trained,
        autocast=form.autocast,
        kernel=kernel,
        optimizer="sgd" if strategy.optimizer == "sgd" else "adamw",
        foreach=stack.optimizer_foreach,
        accumulates=strategy.gradient_accumulation > 1,
        keeps_outputs=stack.keeps_outputs,
    )


def _method(strategy: Strategy) -> Method:
    return "lora" if strategy.method == "qlora" else strategy.method


def _eager_only(run: Run) -> bool:
    """Neither capped scores nor sinks have another kernel in transformers."""
    return any(block.attention.softcap or block.attention.sinks for _, block in run.architecture.blocks)


def _targets(run: Run) -> str | tuple[str, ...]:
    if run.strategy.lora is None or run.strategy.lora.targets == "all-linear":
        return "all-linear"
    if run.strategy.lora.targets in ("attention", "mlp"):
        return target_names(run.architecture, run.strategy.lora.targets)
    return tuple(name.strip() for name in run.strategy.lora.targets.split(","))


def _left_out(run: Run, stack: Stack) -> Iterator[str]:
    strategy = run.strategy
    if strategy.sharding != "ddp":
        yield f"{strategy.sharding}: weights, gradients and optimizer states are held whole, as on one GPU"
    elif strategy.world_size > 1:
        yield "gradient buckets of several GPUs"
    if strategy.offload_optimizer != "none" or strategy.offload_parameters != "none":
        yield "offload: what waits in host memory is held on the GPU"
    if strategy.sequence_parallel > 1:
        yield f"sequence parallelism: a GPU's share of {strategy.max_length} tokens is a sequence of its own"
    if strategy.quantization is not None:
        yield f"{strategy.quantization.kind} kernels need a GPU: the base is held in 16 bits"
    if strategy.loss == "fused":
        yield "fused kernels need a GPU: the plain loss and plain blocks are traced"
    if strategy.mlp == "tiled":
        yield "tiles of MLPs: they run whole"
    if strategy.task not in ("sft", "pretrain"):
        yield f"the loss of {strategy.task}: its sequences go through the loss of a language model"
    if strategy.reference_model:
        yield "the reference model"
    if strategy.optimizer not in ("adamw", "sgd"):
        yield f"{strategy.optimizer}: adamw holds the states"
    if strategy.precision == "fp16":
        yield "fp16 is traced as bf16, which is as wide"
    concerned = {
        "value_head": strategy.task == "reward",
        "fused_experts": run.architecture.moe,
        "expert_adapters": run.architecture.moe and strategy.lora is not None,
        "sdpa_expands_kv": strategy.attention == "sdpa",
        "kbit_keeps_inputs": strategy.quantization is not None,
        "checkpoint": strategy.gradient_checkpointing,
        "checkpoint_offload": strategy.gradient_checkpointing,
    }
    differing = [
        name for name in LIBRARIES if getattr(run.stack, name) != getattr(stack, name) and concerned.get(name, True)
    ]
    if differing:
        yield f"the target's own libraries, which differ from those installed in {', '.join(differing)}"
