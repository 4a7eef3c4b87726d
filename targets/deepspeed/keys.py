"""DeepSpeed's JSON keys and the plan fields they carry.

Source: DeepSpeed runtime/config.py, runtime/zero/config.py, runtime/lr_schedules.py. The literal "auto" is a word of
Hugging Face's and is never written: plain DeepSpeed drops such a key in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.catalog.parameters import count
from mfc.spec.quantities import whole_steps
from mfc.target.codecs import LEFT_OUT, Codec, Reader, Reading, Writing, constant, one_way, row, same, words
from mfc.target.keys import Key
from mfc.target.schedules import least_rate, ratio
from mfc.target.values import at_key
from mfc.target.when import DEEPSPEED, When, both, is_, stage

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

_ZERO = "zero_optimization."
_OPTIMIZERS = {"adamw": "AdamW", "lion": "Lion", "sgd": "SGD"}
_SCHEDULES = {
    **dict.fromkeys(("cosine", "cosine_with_min_lr"), "WarmupCosineLR"),
    "linear": "WarmupDecayLR",
    "constant": "WarmupLR",
}

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


_BF16, _FP16 = is_("precision", "bf16"), is_("precision", "fp16")
_STAGES = {"ddp": 0, "zero1": 1, "zero2": 2, "zero3": 3, "fsdp2": 3}
_NVME_OPTIMIZER, _NVME_PARAMETERS = is_("offload_optimizer", "nvme"), is_("offload_parameters", "nvme")
_OPTIMIZER_OFF, _PARAMETERS_OFF = is_("offload_optimizer", "cpu", "nvme"), is_("offload_parameters", "cpu", "nvme")


def _on(precision: str) -> Codec:
    """A precision is on."""
    return constant(True, "precision").citing("precision").telling(lambda on: {"precision": (precision,)} if on else {})


def _leaf(at: Writing) -> list[str]:
    """The class of the sparse blocks of the model, in a list; nothing where DeepSpeed knows it or there are none."""
    architecture = at.plan.problem.model.architecture
    known = architecture.moe and architecture.family in _LEAVES
    return [_LEAVES[architecture.family]] if known else LEFT_OUT


def _rows(at: Writing) -> int:
    """What the engine and the Hugging Face Trainer count: GPUs that share a sequence each count for themselves."""
    strategy = at.plan.strategy
    return strategy.micro_batch * strategy.gradient_accumulation * strategy.world_size


def _read_rows(value: Any, _: Reader) -> Reading:
    """The batch, or a multiple of it where sequences are split."""
    return {"batch_size": tuple(value // share for share in range(1, value + 1) if value % share == 0)}


def _buffer(at: Writing) -> int:
    """Elements of one NVMe buffer: a rank's piece of the largest parameter goes into it (DeepSpeed's default is 1e8).

    Experts that are one parameter hold two of their three matrices in the larger one.
    """
    architecture = at.plan.problem.model.architecture
    experts = max(2 * block.experts // 3 for block in count(architecture).blocks)
    largest = max(architecture.vocab * architecture.hidden, experts)
    return max(-(-largest // at.plan.strategy.world_size), 100_000_000)


def _warmup_steps(at: Writing) -> int:
    """Steps of the warm-up. 0 is refused since DeepSpeed 0.19.6."""
    return max(whole_steps(at.value("warmup"), at.value("max_steps")), 1)


def _cosine_ends() -> Codec:
    """Where the cosine ends, as a part of the peak."""

    def write(at: Writing) -> float:
        return ratio(at.value("min_learning_rate") or 0.0, at.value("learning_rate"))

    def read(value: Any, reader: Reader) -> Reading:
        if not value:
            return {"schedule": ("cosine",)}
        return {"schedule": ("cosine_with_min_lr",), **least_rate(value, at_key(reader.data, "optimizer.params.lr"))}

    return Codec(("min_learning_rate", "schedule"), write, read)


def _steps_are_known(plan: Plan) -> bool:
    return plan.values["max_steps"] is not None


def _scheduled(*names: str) -> When:
    """DeepSpeed builds one of these schedules: it knows how many steps there are."""
    return both(When(_steps_are_known), is_("schedule", *names))


_COSINES = ("cosine", "cosine_with_min_lr")
_SCHEDULED = _scheduled(*_SCHEDULES)

# What every framework that runs on DeepSpeed passes on. The Hugging Face Trainer holds these numbers against its own
# arguments, and they are the same ones.
ENGINE: tuple[Key, ...] = (
    Key("train_batch_size", Codec(("batch_size",), _rows, _read_rows), note="micro-batch x accumulation x GPUs"),
    Key("train_micro_batch_size_per_gpu", same("micro_batch")),
    Key("gradient_accumulation_steps", same("gradient_accumulation")),
    Key("gradient_clipping", same("max_grad_norm"), note="always written: DeepSpeed's default is 1.0"),
    Key("bf16.enabled", _on("bf16"), _BF16),
    Key("fp16.enabled", _on("fp16"), _FP16),
    Key("fp16.loss_scale", constant(0, "precision"), _FP16, "0: dynamic"),
    Key("fp16.initial_scale_power", constant(16, "precision"), _FP16),
    Key("fp16.loss_scale_window", constant(1000, "precision"), _FP16),
    Key("fp16.hysteresis", constant(2, "precision"), _FP16),
    Key("fp16.min_loss_scale", constant(1, "precision"), _FP16),
    Key(
        "zero_allow_untested_optimizer",
        constant(True, "optimizer"),
        DEEPSPEED,
        "ZeRO refuses optimizers other than its own without it",
    ),
    Key(_ZERO + "stage", words("sharding", _STAGES), note="ddp is stage 0"),
    Key(_ZERO + "contiguous_gradients", constant(True, "sharding"), DEEPSPEED),
    Key(_ZERO + "reduce_scatter", constant(True, "sharding"), stage(1, 2)),
    Key(_ZERO + "overlap_comm", same("overlap_comm"), DEEPSPEED),
    Key(_ZERO + "reduce_bucket_size", same("reduce_bucket_elements"), DEEPSPEED, "elements"),
    Key(_ZERO + "allgather_bucket_size", same("allgather_bucket_elements"), stage(1, 2), "elements"),
    Key(_ZERO + "sub_group_size", same("sub_group_elements"), stage(3), "elements"),
    Key(_ZERO + "stage3_prefetch_bucket_size", same("prefetch_bucket_elements"), stage(3), "elements"),
    Key(_ZERO + "stage3_param_persistence_threshold", same("persistence_threshold_elements"), stage(3), "elements"),
    Key(_ZERO + "stage3_max_live_parameters", same("max_live_elements"), stage(3), "elements"),
    Key(_ZERO + "stage3_max_reuse_distance", same("max_live_elements"), stage(3), "elements"),
    Key(
        _ZERO + "stage3_gather_16bit_weights_on_model_save",
        constant(True, "method"),
        stage(3),
        "otherwise checkpoints hold ZeRO shards only",
    ),
    Key(_ZERO + "offload_optimizer.device", same("offload_optimizer"), _OPTIMIZER_OFF),
    Key(_ZERO + "offload_optimizer.pin_memory", same("pin_memory"), _OPTIMIZER_OFF),
    Key(
        _ZERO + "offload_optimizer.nvme_path",
        same("hardware.nvme"),
        _NVME_OPTIMIZER,
        "hardware.nvme",
        also=("offload_optimizer",),
    ),
    Key(_ZERO + "offload_param.device", same("offload_parameters"), _PARAMETERS_OFF),
    Key(_ZERO + "offload_param.pin_memory", same("pin_memory"), _PARAMETERS_OFF),
    Key(
        _ZERO + "offload_param.nvme_path",
        same("hardware.nvme"),
        _NVME_PARAMETERS,
        "hardware.nvme",
        also=("offload_parameters",),
    ),
    Key(
        _ZERO + "offload_param.buffer_size",
        one_way(_buffer, "offload_parameters", because="it follows from the model's embedding").citing(),
        _NVME_PARAMETERS,
        "elements; the embedding has to fit",
    ),
)

# A framework that trains Hugging Face models marks leaf modules and builds optimizer and schedule itself; a bare script
# does not.
KEYS: tuple[Key, ...] = (
    *ENGINE,
    Key(
        _ZERO + "leaf_module.classes",
        one_way(_leaf, "sharding", because="it follows from the model's family").citing(),
        stage(3),
        "experts gathered as one, for families that DeepSpeed does not know",
    ),
    Key("optimizer.type", words("optimizer", _OPTIMIZERS, others={"Adam": "adamw"})),
    Key("optimizer.params.lr", same("learning_rate")),
    Key("optimizer.params.betas", row("adam_beta1", "adam_beta2"), is_("optimizer", "adamw", "lion")),
    Key("optimizer.params.eps", same("adam_epsilon"), is_("optimizer", "adamw")),
    Key("optimizer.params.weight_decay", same("weight_decay")),
    Key(
        "scheduler.type",
        words("schedule", _SCHEDULES),
        _SCHEDULED,
        "when train.max_steps is given; otherwise the script brings the schedule",
    ),
    Key("scheduler.params.total_num_steps", same("max_steps"), _scheduled(*_COSINES, "linear")),
    Key(
        "scheduler.params.warmup_num_steps",
        one_way(_warmup_steps, "warmup", because="a share of all steps is rounded up"),
        _SCHEDULED,
        "at least 1, which DeepSpeed makes 2",
    ),
    Key("scheduler.params.warmup_type", constant("linear", "warmup"), _SCHEDULED),
    Key("scheduler.params.warmup_min_lr", constant(0, "warmup"), _scheduled("linear", "constant")),
    Key("scheduler.params.warmup_max_lr", same("learning_rate"), _scheduled("linear", "constant")),
    Key("scheduler.params.warmup_min_ratio", constant(0, "warmup"), _scheduled(*_COSINES)),
    Key("scheduler.params.cos_min_ratio", _cosine_ends(), _scheduled(*_COSINES), "DeepSpeed's default is 0.0001"),
    Key("steps_per_print", same("log_every")),
)
