"""DeepSpeed: one JSON with every number resolved, for any script; other targets embed it by `config_file`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.memory.stack import Stack
from mfc.profile import Profile
from mfc.target.keys import native
from mfc.target.outputs import File, Lowered
from mfc.target.versions import nearest

from .keys import ENGINE, KEYS
from .rules import RULES, SCRIPT

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = ["KEYS", "NAME", "RULES", "TITLE", "UNMODELLED", "VERSIONS", "config", "config_file", "lower", "profile"]

NAME = "deepspeed"
TITLE = "DeepSpeed"
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
        "zero_optimization.allgather_bucket_size",
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
        stack=Stack(name=NAME, trainable_fp32=True, autocast=False, expandable_segments=True),
        supports={
            "sharding": ("ddp", "zero1", "zero2", "zero3"),
            "sequence_parallel": (1,),
            "precision": ("bf16", "fp16", "fp32"),
            "optimizer": ("adamw", "lion", "sgd"),
        },
        packages=packages,
        notes={
            "sharding": "FSDP is torch's own",
            "optimizer": "others are built by the script",
            "sequence_parallel": "Ulysses needs a script written for it",
            "precision": "the engine keeps fp32 masters",
        },
    )


def config(plan: Plan) -> dict[str, Any]:
    """The JSON that a training framework passes on; optimizer and schedule are the framework's own."""
    return native(ENGINE, plan).data


def config_file(plan: Plan, version: str, extra: Mapping[str, Any] | None = None) -> File:
    """`config` as a file among another target's outputs. `version` is DeepSpeed's."""
    made = native(ENGINE, plan, extra)
    return File(CONFIG, made.data, contract=f"{NAME}-{nearest(version, CONTRACTS)}", cites=made.cites)


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:  # noqa: ARG001
    """The JSON and a launcher that starts the user's own script, given as its arguments."""
    made = native(KEYS, plan, extra)
    version = nearest(plan.profile.version, VERSIONS)
    launch = {
        "nodes": plan.problem.hardware.nodes,
        "processes": plan.problem.hardware.gpus_per_node,
        "environment": environment(plan),
        "script": asked_of_script(plan),
    }
    files = (
        File(CONFIG, made.data, contract=f"{NAME}-{version}", cites=made.cites),
        File("launch.sh", launch, template="launch.sh.j2", cites=_LAUNCH_CITES, executable=True),
    )
    command = f"bash launch.sh YOUR_SCRIPT.py --deepspeed {CONFIG}"
    return Lowered(files, command if launch["nodes"] == 1 else f"NODE_RANK=0 MASTER_ADDR=HOST {command}")


def asked_of_script(plan: Plan) -> dict[str, str]:
    """What the JSON cannot say, in words; a scheduler in the JSON takes its part over."""
    carried = ("schedule", "warmup") if "scheduler" in native(KEYS, plan).data else ()
    fields = [name for name in SCRIPT if name not in carried and plan.values.get(name) not in (None, "", (), 0, False)]
    return {name: _words(plan, name) for name in fields}


def _words(plan: Plan, name: str) -> str:
    value = plan.values[name]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else plan.decisions[name].because


def environment(plan: Plan) -> dict[str, str]:
    """Environment variables of the launch. DEEPSPEED_TIMEOUT is in minutes (deepspeed/constants.py)."""
    hardware = plan.problem.hardware
    made = {"DEEPSPEED_TIMEOUT": str(plan.values["timeout_seconds"] // 60)}
    if plan.values["allocator"]:
        made["PYTORCH_CUDA_ALLOC_CONF"] = plan.values["allocator"]
    if plan.values["cpu_threads"]:
        made["OMP_NUM_THREADS"] = str(plan.values["cpu_threads"])
    if hardware.devices:
        made["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, hardware.devices))
    return made


_LAUNCH_CITES = {
    "DEEPSPEED_TIMEOUT": ("timeout_seconds",),
    "PYTORCH_CUDA_ALLOC_CONF": ("allocator",),
    "OMP_NUM_THREADS": ("cpu_threads",),
    **{name: (name,) for name in SCRIPT},
}
