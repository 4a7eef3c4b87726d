"""Would the installed DeepSpeed start with this JSON, and does it read every key of it?

A case: `{"file": path, "world_size": N}`. The file must be strict JSON without repeated keys (DeepSpeed reads Hjson,
Hugging Face reads JSON: it has to satisfy both) and must not say "auto", which is a word of Hugging Face's: DeepSpeed
drops such a key in silence. Then the real `deepspeed.initialize` starts an engine around a tiny model, as rank 0 of a
job of the planned size over torch's fake process group. Keys that nothing looked up on the way are a rejection, since
DeepSpeed ignores misspelt keys at top level and in several sections.

NVMe offload is started as CPU offload: it needs a system library, and its keys have been validated by then.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import deepspeed
import torch.distributed
from deepspeed.accelerator import get_accelerator
from deepspeed.ops.adam import DeepSpeedCPUAdam
from deepspeed.runtime.config import DeepSpeedConfig
from torch.testing._internal.distributed.fake_pg import FakeStore

from targets.contract.recorder import Recorder, paths
from tests.conformance.drivers.batch import Rejected

DeepSpeedConfig.print_user_config = lambda self: None  # logs the whole config, which would count as reading all of it

# Words of DeepSpeed's own, where "auto" is a value.
OWN_AUTO = ("data_types.keep_in_fp32_modules", "zero_optimization.zenflow", "expert_parallel", "pipeline", "autotuning")


def prepare(*ops: str) -> None:
    """Compile and load DeepSpeed's CPU kernels before the fork (minutes the first time); CPU Adam serves offloading."""
    importlib.import_module("torch._inductor.compile_fx")  # every optimizer imports it, which takes seconds
    create = get_accelerator().create_op_builder
    builders = [create(op) for op in ops or ("ShareMemCommBuilder", "CPUAdamBuilder", "FusedAdamBuilder")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in [pool.submit(builder.load, verbose=False) for builder in builders]:
            done.result()


def check(case: dict[str, Any]) -> dict[str, Any]:
    """The facts DeepSpeed read back from a file. Raises Rejected, or whatever DeepSpeed itself raises."""
    config = json.loads(Path(case["file"]).read_text(encoding="utf-8"), object_pairs_hook=_no_repeats)
    if not isinstance(config, dict):
        raise Rejected("json: the top level must be an object")
    join(case["world_size"])
    return start(config)


def join(world_size: int) -> None:
    """Become rank 0 of a job of that many processes, none of which exists."""
    places = {
        "RANK": 0,
        "LOCAL_RANK": 0,
        "WORLD_SIZE": world_size,
        "LOCAL_WORLD_SIZE": world_size,
        "MASTER_PORT": 29500,
    }
    os.environ.update({"MASTER_ADDR": "127.0.0.1", **{k: str(v) for k, v in places.items()}})
    torch.distributed.init_process_group("fake", rank=0, world_size=world_size, store=FakeStore())


def start(config: dict[str, Any]) -> dict[str, Any]:
    """Validate the config and start an engine with it, in a process that has joined a job."""
    autos = [p for p, v in _leaves(config) if v == "auto" and not p.startswith(OWN_AUTO)]
    if autos:
        raise Rejected(f"auto: means nothing to DeepSpeed at {', '.join(autos)}")
    deepspeed.init_distributed()
    type(get_accelerator()).is_fp16_supported = lambda self: True  # the planned GPU does, this CPU need not
    read: dict[str, Any] = {}
    validated = DeepSpeedConfig(Recorder(config, read))
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    offloaded = validated.zero_config.offload_optimizer
    client = None
    if (
        "optimizer" not in config
    ):  # the trainer brings one; accelerate swaps it for DeepSpeed's own when it is offloaded
        kind = DeepSpeedCPUAdam if offloaded and offloaded.device != "none" else torch.optim.AdamW
        client = kind(model.parameters())
    engine, optimizer, _, scheduler = deepspeed.initialize(
        model=model,
        model_parameters=model.parameters(),
        optimizer=client,
        config=Recorder(_nvme_as_cpu(config), read),
    )
    if unread := [p for p in paths(config) if p not in read]:
        raise Rejected(f"unread: DeepSpeed never looks at {', '.join(unread)}")
    zero = validated.zero_config
    dtypes = {"fp16": engine.fp16_enabled(), "bf16": engine.bfloat16_enabled()}
    return {
        "world_size": int(validated.world_size),
        "train_batch_size": validated.train_batch_size,
        "micro_batch": validated.train_micro_batch_size_per_gpu,
        "gradient_accumulation": validated.gradient_accumulation_steps,
        "gradient_clipping": validated.gradient_clipping,
        "dtype": next((name for name, enabled in dtypes.items() if enabled), "fp32"),
        "zero_stage": int(zero.stage),
        "offload_optimizer": str(offloaded.device) if offloaded else "none",
        "offload_parameters": str(zero.offload_param.device) if zero.offload_param else "none",
        "overlap_comm": zero.overlap_comm,
        "reduce_bucket_size": int(zero.reduce_bucket_size),
        "engine_optimizer": type(engine.optimizer).__name__,
        "optimizer": validated.optimizer_name,
        "optimizer_params": dict(config.get("optimizer", {}).get("params", {})),
        "learning_rate": optimizer.param_groups[0]["lr"] if optimizer is not None else None,
        "scheduler": type(scheduler).__name__ if scheduler is not None else None,
    }


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Rejected(f"json: repeated keys among {[key for key, _ in pairs]}")
    return found


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path, node


def _nvme_as_cpu(config: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    for section in ("offload_optimizer", "offload_param"):
        offload = changed.get("zero_optimization", {}).get(section, {})
        if offload.get("device") == "nvme":
            if not offload.get("nvme_path"):
                raise Rejected(f"nvme: {section} names no nvme_path")
            offload["device"] = "cpu"
    return changed
