"""DeepSpeed's JSON keys and the plan fields they carry.

Source: DeepSpeed runtime/config.py, runtime/zero/config.py, runtime/lr_schedules.py. The literal "auto" is a word of
Hugging Face's and is never written: plain DeepSpeed drops such a key in silence.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mfc.target.keys import Key

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

_ZERO = "zero_optimization."
_OPTIMIZERS = {"adamw": "AdamW", "lion": "Lion", "sgd": "SGD"}
_SCHEDULES = {"cosine": "WarmupCosineLR", "linear": "WarmupDecayLR", "constant": "WarmupLR"}

# Sparse blocks that DeepSpeed has to gather as one and does not know by itself (runtime/zero/leaf_module_config.py
# lists Mixtral, Qwen2-MoE and Qwen3-MoE): class names in transformers.
_LEAVES = {
    "deepseek_v2": "DeepseekV2Moe",
    "deepseek_v3": "DeepseekV3MoE",
    "ernie4_5_moe": "Ernie4_5_MoeSparseMoeBlock",
    "glm4_moe": "Glm4MoeMoE",
    "gpt_oss": "GptOssMLP",
    "granitemoe": "GraniteMoeMoE",
    "minimax_m2": "MiniMaxM2SparseMoeBlock",
    "olmoe": "OlmoeSparseMoeBlock",
    "phimoe": "PhimoeSparseMoeBlock",
    "qwen3_next": "Qwen3NextSparseMoeBlock",
}


def _leaf(plan: Plan) -> str | None:
    architecture = plan.problem.model.architecture
    return _LEAVES.get(architecture.family) if architecture.moe and plan.strategy.sharding == "zero3" else None


def _precision(name: str) -> Any:
    return lambda plan: plan.strategy.precision == name


def _stage(*stages: int) -> Any:
    return lambda plan: plan.strategy.zero_stage in stages


def _offloads(field: str, *devices: str) -> Any:
    return lambda plan: plan.values[field] in devices


def _nvme(plan: Plan) -> Any:
    return plan.problem.hardware.nvme


def _buffer(plan: Plan) -> int:
    """Elements of one NVMe buffer: the largest parameter has to go into it (DeepSpeed's own default is 1e8)."""
    architecture = plan.problem.model.architecture
    return max(architecture.vocab * architecture.hidden, 100_000_000)


def _is_scheduled(plan: Plan) -> bool:
    schedule: str = plan.values["schedule"]
    return plan.values["max_steps"] is not None and schedule in _SCHEDULES


def _scheduled(*names: str) -> Any:
    return lambda plan: _is_scheduled(plan) and plan.values["schedule"] in names


def _warmup_steps(plan: Plan) -> int:
    # 0 is refused since DeepSpeed 0.19.6.
    steps: int = plan.values["max_steps"]
    warmup: float = plan.values["warmup"]
    return max(math.ceil(warmup * steps), 1)


# What every framework that runs on DeepSpeed passes on. The Hugging Face Trainer holds these numbers against its own
# arguments, and they are the same ones.
ENGINE: tuple[Key, ...] = (
    Key("train_batch_size", ("batch_size",), note="micro-batch x accumulation x GPUs"),
    Key("train_micro_batch_size_per_gpu", ("micro_batch",)),
    Key("gradient_accumulation_steps", ("gradient_accumulation",)),
    Key("gradient_clipping", ("max_grad_norm",), note="always written: DeepSpeed's default is 1.0"),
    Key("bf16.enabled", ("precision",), lambda _: True, _precision("bf16")),
    Key("fp16.enabled", ("precision",), lambda _: True, _precision("fp16")),
    Key("fp16.loss_scale", ("precision",), lambda _: 0, _precision("fp16"), note="0: dynamic"),
    Key("fp16.initial_scale_power", ("precision",), lambda _: 16, _precision("fp16")),
    Key("fp16.loss_scale_window", ("precision",), lambda _: 1000, _precision("fp16")),
    Key("fp16.hysteresis", ("precision",), lambda _: 2, _precision("fp16")),
    Key("fp16.min_loss_scale", ("precision",), lambda _: 1, _precision("fp16")),
    Key(
        "zero_allow_untested_optimizer",
        ("optimizer",),
        lambda _: True,
        _stage(1, 2, 3),
        note="ZeRO refuses optimizers other than its own without it",
    ),
    Key(_ZERO + "stage", ("sharding",), lambda plan: plan.strategy.zero_stage, note="ddp is stage 0"),
    Key(_ZERO + "contiguous_gradients", ("sharding",), lambda _: True, _stage(1, 2, 3)),
    Key(_ZERO + "reduce_scatter", ("sharding",), lambda _: True, _stage(1, 2)),
    Key(_ZERO + "overlap_comm", ("overlap_comm",), None, _stage(1, 2, 3)),
    Key(_ZERO + "reduce_bucket_size", ("reduce_bucket_elements",), None, _stage(1, 2, 3), note="elements"),
    Key(_ZERO + "sub_group_size", ("sub_group_elements",), None, _stage(3), note="elements"),
    Key(_ZERO + "stage3_prefetch_bucket_size", ("prefetch_bucket_elements",), None, _stage(3), note="elements"),
    Key(
        _ZERO + "stage3_param_persistence_threshold",
        ("persistence_threshold_elements",),
        None,
        _stage(3),
        note="elements",
    ),
    Key(_ZERO + "stage3_max_live_parameters", ("max_live_elements",), None, _stage(3), note="elements"),
    Key(_ZERO + "stage3_max_reuse_distance", ("max_live_elements",), None, _stage(3), note="elements"),
    Key(
        _ZERO + "stage3_gather_16bit_weights_on_model_save",
        ("method",),
        lambda _: True,
        _stage(3),
        note="otherwise checkpoints hold ZeRO shards only",
    ),
    Key(
        _ZERO + "offload_optimizer.device", ("offload_optimizer",), None, _offloads("offload_optimizer", "cpu", "nvme")
    ),
    Key(_ZERO + "offload_optimizer.pin_memory", ("pin_memory",), None, _offloads("offload_optimizer", "cpu", "nvme")),
    Key(
        _ZERO + "offload_optimizer.nvme_path",
        ("offload_optimizer",),
        _nvme,
        _offloads("offload_optimizer", "nvme"),
        note="hardware.nvme",
    ),
    Key(_ZERO + "offload_param.device", ("offload_parameters",), None, _offloads("offload_parameters", "cpu", "nvme")),
    Key(_ZERO + "offload_param.pin_memory", ("pin_memory",), None, _offloads("offload_parameters", "cpu", "nvme")),
    Key(
        _ZERO + "offload_param.nvme_path",
        ("offload_parameters",),
        _nvme,
        _offloads("offload_parameters", "nvme"),
        note="hardware.nvme",
    ),
    Key(
        _ZERO + "offload_param.buffer_size",
        ("offload_parameters",),
        _buffer,
        _offloads("offload_parameters", "nvme"),
        note="elements; the embedding has to fit",
    ),
)

# A framework that trains Hugging Face models marks leaf modules and builds optimizer and schedule itself; a bare script
# does not.
KEYS: tuple[Key, ...] = (
    *ENGINE,
    Key(
        _ZERO + "leaf_module.classes",
        ("sharding",),
        lambda plan: [_leaf(plan)],
        lambda plan: _leaf(plan) is not None,
        note="experts gathered as one, for families that DeepSpeed does not know",
    ),
    Key("optimizer.type", ("optimizer",), lambda plan: _OPTIMIZERS[plan.strategy.optimizer]),
    Key("optimizer.params.lr", ("learning_rate",)),
    Key(
        "optimizer.params.betas",
        ("adam_beta1", "adam_beta2"),
        lambda plan: [plan.values["adam_beta1"], plan.values["adam_beta2"]],
        lambda plan: plan.strategy.optimizer in ("adamw", "lion"),
    ),
    Key("optimizer.params.eps", ("adam_epsilon",), None, lambda plan: plan.strategy.optimizer == "adamw"),
    Key("optimizer.params.weight_decay", ("weight_decay",)),
    Key(
        "scheduler.type",
        ("schedule",),
        lambda plan: _SCHEDULES[plan.values["schedule"]],
        _is_scheduled,
        note="when train.max_steps is given; otherwise the script brings the schedule",
    ),
    Key("scheduler.params.total_num_steps", ("max_steps",), None, _scheduled("cosine", "linear")),
    Key("scheduler.params.warmup_num_steps", ("warmup",), _warmup_steps, _is_scheduled, note="at least 1"),
    Key("scheduler.params.warmup_type", ("warmup",), lambda _: "linear", _is_scheduled),
    Key("scheduler.params.warmup_min_lr", ("warmup",), lambda _: 0, _scheduled("linear", "constant")),
    Key("scheduler.params.warmup_max_lr", ("learning_rate",), None, _scheduled("linear", "constant")),
    Key("scheduler.params.warmup_min_ratio", ("warmup",), lambda _: 0, _scheduled("cosine")),
    Key("scheduler.params.cos_min_ratio", ("schedule",), lambda _: 0, _scheduled("cosine"), note="falls to zero"),
    Key("steps_per_print", ("log_every",)),
)
