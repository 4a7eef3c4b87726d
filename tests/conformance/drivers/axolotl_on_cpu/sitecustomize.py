"""On PYTHONPATH, this lets Axolotl run on the CPU: it asks for GPUs by number, and for NCCL, whatever there is.

DeepSpeed 0.18.9 gathers weights into a tensor that autograd watches, which NCCL does not mind and Gloo refuses.
"""

import runpy
from pathlib import Path
from typing import Any

import datasets
import deepspeed.comm
import torch
import transformers
import wandb
from accelerate.parallelism_config import ParallelismConfig
from axolotl.telemetry.manager import TelemetryManager
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer

runpy.run_path(str(Path(__file__).parents[1] / "trainer_on_cpu" / "sitecustomize.py"))
TelemetryManager.get_instance()  # reads RANK, for telemetry that is off; here no warm server takes note of it
wandb.run = None  # none goes on; the stand-in has a class for every name
load: Any = transformers.PreTrainedModel.from_pretrained.__func__
join: Any = deepspeed.comm.init_distributed
meshed: Any = ParallelismConfig.build_device_mesh
save: Any = datasets.Dataset.save_to_disk


def on_cpu(cls: Any, /, *args: Any, device_map: Any = None, **kwargs: Any) -> Any:
    """Models are loaded where they are."""
    return load(cls, *args, **kwargs)


def by_gloo(dist_backend: Any = None, **kwargs: Any) -> Any:
    """Processes meet over Gloo."""
    return join(dist_backend="gloo", **kwargs)


def of_cpus(self: Any, _: str) -> Any:
    """FSDP2 splits over the devices that there are, where Axolotl says cuda."""
    return meshed(self, "cpu")


def alone(self: Any, *args: Any, num_proc: Any = None, **kwargs: Any) -> Any:
    """Rows are saved by the process that has them: datasets spawns even one helper, which imports all this anew."""
    return save(self, *args, **kwargs)


transformers.PreTrainedModel.from_pretrained = classmethod(on_cpu)
deepspeed.comm.init_distributed = by_gloo
ParallelismConfig.build_device_mesh = of_cpus
datasets.Dataset.save_to_disk = alone
DeepSpeedZeroOptimizer.step = torch.no_grad()(DeepSpeedZeroOptimizer.step)
