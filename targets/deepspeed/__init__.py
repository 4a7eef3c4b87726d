"""DeepSpeed: one JSON with every number resolved, for any script; other targets embed it by `config_file`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.fields import EVERYTHING
from mfc.memory.stack import Stack
from mfc.profile import Profile
from mfc.target.codecs import minutes
from mfc.target.keys import Key
from mfc.target.launch import ALLOCATOR, DEVICES, NPU_ENVIRONMENT, THREADS
from mfc.target.outputs import File, Lowered, Start, native
from mfc.target.versions import nearest

from .keys import ENGINE, KEYS
from .rules import ELSEWHERE, RULES, SCRIPT

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = [
    "DISTRIBUTION",
    "ELSEWHERE",
    "KEYS",
    "NAME",
    "RULES",
    "TITLE",
    "UNMODELLED",
    "VERSIONS",
    "config_file",
    "lower",
    "profile",
]

NAME = "deepspeed"
TITLE = "DeepSpeed"
DISTRIBUTION = "deepspeed"
VERSIONS = ("0.19.8", "0.18.4")
CONTRACTS = (*VERSIONS, "0.16.9")  # older ones, for frameworks that come with them
CONFIG = "ds_config.json"

# The user's own keys that change what is held on the GPU or the host, and that the memory model does not count.
UNMODELLED = frozenset(
    {
        "activation_checkpointing",
        "aio",
        "communication_data_type",
        "compile",
        "data_types",
        "hybrid_engine",
        "bf16.bf16_master_weights_and_grads",
        "bf16.bf16_optimizer_states",
        "fp16.fp16_master_weights_and_grads",
        "sequence_parallel_size",
        "tensor_parallel",
        "torch_autocast",
        "weight_quantization",
        "zero_optimization.memory_efficient_linear",
        "zero_optimization.offload_optimizer.buffer_count",
        "zero_optimization.offload_optimizer.ratio",
        "zero_optimization.offload_optimizer.super_offload",
        "zero_optimization.offload_param.max_in_cpu",
        "zero_optimization.round_robin_gradients",
        "zero_optimization.stage3_model_persistence_threshold",
        "zero_optimization.stage3_module_granularity_threshold",
        "zero_optimization.zenflow",
        "zero_optimization.zero_hpz_partition_size",
        "zero_optimization.zero_quantized_gradients",
        "zero_optimization.zero_quantized_nontrainable_weights",
        "zero_optimization.zero_quantized_weights",
    }
)


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What the JSON of this version can say, and how an engine uses memory around a script that casts nothing itself.

    Stage 0 holds 16-bit weights and gradients, fp32 masters and moments: 16 bytes a parameter, as fp32 training does.
    """
    return Profile(
        target=NAME,
        version=version,
        stack=Stack(
            name=NAME,
            known=True,  # loops of ArcticTraining and ml-engineering: reserved peaks within 9 and 12 % in the middle
            trainable_fp32=True,
            autocast=False,
            engine_replicates=True,
            expandable_segments=True,
        ),
        supports={
            **{name: EVERYTHING[name] for name in (*SCRIPT, "lora_variant") if name in EVERYTHING},
            "task": ("sft", "pretrain", "reward", "dpo", "kto", "orpo", "simpo"),
            "sharding": ("ddp", "zero1", "zero2", "zero3"),
            "offload_optimizer": ("none", "cpu", "nvme"),
            "offload_parameters": ("none", "cpu", "nvme"),
            "sequence_parallel": (1,),
            "data_options": EVERYTHING["data_options"],
            "precision": ("bf16", "fp16", "fp32"),
            "optimizer": ("adamw", "lion", "sgd"),
            "vendor": ("nvidia", "amd", "huawei"),  # accelerator/npu_accelerator.py, ops/op_builder/npu
        },
        packages=packages,
        notes={
            "task": "how answers are generated is the training script's",
            "sharding": "FSDP is torch's own",
            "optimizer": "others are built by the script",
            "sequence_parallel": "Ulysses needs a script written for it",
            "precision": "the engine keeps fp32 masters",
        },
    )


def config_file(plan: Plan, version: str, extra: Mapping[str, Any] | None = None) -> File:
    """The JSON that another target passes on; optimizer and schedule are its own. `version` is DeepSpeed's."""
    return native(ENGINE, plan, extra=extra).file(CONFIG, contract=f"{NAME}-{nearest(version, CONTRACTS)}")


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """The JSON and a launcher that starts the user's own script, given as its arguments."""
    made = native(KEYS, plan, out_to_spec, extra)
    variables = native(ENVIRONMENT, plan)
    launch = {
        "nodes": plan.problem.hardware.nodes,
        "processes": plan.problem.hardware.gpus_per_node,
        "environment": variables.data,
        "script": asked_of_script(plan, made.data),
    }
    files = (
        made.file(CONFIG, contract=f"{NAME}-{nearest(plan.profile.version, VERSIONS)}"),
        File("launch.sh", launch, "launch.sh.j2", said=variables, executable=True),
    )
    return Lowered(files, Start("launch.sh", words=f"YOUR_SCRIPT.py --deepspeed {CONFIG}"))


def asked_of_script(plan: Plan, config: Mapping[str, Any]) -> dict[str, str]:
    """What the JSON cannot say, in words; a scheduler in the JSON takes its part over."""
    carried = ("schedule", "warmup", "min_learning_rate") if "scheduler" in config else ()
    said = [name for name in SCRIPT if name in plan.decisions and plan.values[name] not in ("", ())]
    return {name: _words(plan, name) for name in said if name not in carried}


def _words(plan: Plan, name: str) -> str:
    value = plan.values[name]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else plan.decisions[name].because


# DEEPSPEED_TIMEOUT is in minutes (deepspeed/constants.py).
ENVIRONMENT = (
    Key("DEEPSPEED_TIMEOUT", minutes("timeout_seconds")),
    ALLOCATOR,
    THREADS,
    DEVICES,
    *NPU_ENVIRONMENT,
)
