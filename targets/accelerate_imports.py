"""The file of `accelerate launch` read back: what shards, and how many processes there are.

Source: accelerate 1.15.0 commands/config and utils/dataclasses.py, DeepSpeedPlugin and FullyShardedDataParallelPlugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mfc.target.importing import Beside, Machines, Part

from . import accelerate
from .deepspeed import imports as deepspeed

_TOLD = {"distributed_type": "strategy.sharding", "deepspeed_config": "strategy.sharding"}
_IDLE = {
    "mixed_precision": "the training arguments have the last word",
    "main_training_function": "which function of a notebook is started",
    "debug": "whether accelerate checks what is sent",
    "downcast_bf16": "of TPUs",
    "enable_cpu_affinity": "which cores a process runs on",
    "machine_rank": "the number of this machine",
    "main_process_ip": "where the first machine is",
    "main_process_port": "where the first machine is",
    "gpu_ids": "all, or those that count as processes",
    "use_cpu": "whether it runs without GPUs",
    **dict.fromkeys(("tpu_env", "tpu_use_cluster", "tpu_use_sudo", "tpu_name", "tpu_zone"), "of TPUs"),
}


class Launched(NamedTuple):
    """What a file says."""

    parts: tuple[Part, ...]
    told: Mapping[str, tuple[Any, ...]]
    machines: Machines
    notes: tuple[str, ...] = ()


def read(name: str, config: Mapping[str, Any], beside: Beside, version: str) -> Launched:
    """Read the file; `version` is DeepSpeed's."""
    machines = Machines(*_processes(config))
    kind = str(config.get("distributed_type", "NO")).upper()
    if kind == "DEEPSPEED":
        inner = config.get("deepspeed_config")
        found = _deepspeed(inner if isinstance(inner, Mapping) else {}, beside, version)
        parts = (found.part,) if found.part else ()
        return Launched(parts, found.told, machines, found.notes)
    if kind != "FSDP":
        return Launched((), {"sharding": ("ddp",)}, machines)
    fsdp = config.get("fsdp_config")
    said = {
        "distributed_type": "FSDP",
        "fsdp_config": {"fsdp_version": 1, **(fsdp if isinstance(fsdp, Mapping) else {})},
    }
    none = {_OFFLOADS: False}
    return Launched((Part(name, accelerate.KEYS, said, accelerate.CONTRACT, none, _TOLD, _IDLE),), {}, machines)


_OFFLOADS = "fsdp_config.fsdp_offload_params"


def _processes(config: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """On each machine, and machines: the file counts the processes of all."""
    nodes, processes = config.get("num_machines"), config.get("num_processes")
    machines = nodes if isinstance(nodes, int) and nodes > 0 else 1
    each = processes // machines or None if isinstance(processes, int) and processes > 0 else None
    return each, machines if machines > 1 else None


def _deepspeed(inner: Mapping[str, Any], beside: Beside, version: str) -> deepspeed.Json:
    """A JSON that it names, or the few words that it has itself."""
    if path := inner.get("deepspeed_config_file"):
        return deepspeed.json_of(path, beside, version)
    stage = inner.get("zero_stage", 2)
    told = deepspeed.by_name(f"zero{stage}")
    for field, key in (
        ("offload_optimizer", "offload_optimizer_device"),
        ("offload_parameters", "offload_param_device"),
    ):
        if (where := inner.get(key)) in ("cpu", "nvme"):
            told[field] = (where,)
    return deepspeed.Json(None, told)
