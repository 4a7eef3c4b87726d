"""On PYTHONPATH, this lets the Trainer and FSDP run on the CPU, where they ask for a GPU without need.

With the Trainer's own `use_cpu`, Accelerate leaves out DeepSpeed's start-up, which runs on GPUs have. Runs with flash
attention have its stand-in on PYTHONPATH too.
"""

import importlib.util
import os
from contextlib import nullcontext
from typing import Any
from unittest import mock

import in_order  # noqa: F401
import torch
import torch.distributed.fsdp._init_utils as fsdp
import transformers.utils
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, operations
from torch.distributed.fsdp._flat_param import FlatParamHandle

if importlib.util.find_spec("flash_on_cpu"):
    import flash_on_cpu  # noqa: F401
transformers.utils.is_torch_bf16_gpu_available = lambda: True  # the Trainer takes bf16 for a GPU only
torch.Tensor.pin_memory = lambda self, *_: self  # FSDP's offload pins for a copy engine
chosen, gathered = PartialState._prepare_backend, operations._gpu_gather


def with_gloo(self: PartialState, *args: Any, **kwargs: Any) -> tuple[str, DistributedType]:
    """Accelerate sees a job of several processes only where they have GPUs."""
    backend, kind = chosen(self, *args, **kwargs)
    if kind is DistributedType.NO and int(os.environ.get("LOCAL_RANK", "-1")) != -1:
        return "gloo", DistributedType.MULTI_CPU
    return backend, kind


PartialState._prepare_backend = with_gloo


def widened(tensor: Any) -> Any:
    """Numbers of a step come from some ranks in fp32, from others in bf16 (TRL's KTO, where a rank has no chosen row).

    Gloo compares their sizes and aborts; NCCL does not.
    """

    def wide(one: Any) -> Any:
        return one.float() if one.ndim == 0 and one.is_floating_point() else one

    return gathered(operations.recursively_apply(wide, tensor))


operations._gpu_gather = widened

made = AcceleratorState.__init__


def with_fsdp(self: AcceleratorState, *args: Any, **kwargs: Any) -> None:
    """Accelerate takes FSDP for GPUs only, and would go on without; PyTorch's own runs over Gloo.

    A process that has no others it wraps in DDP on CPUs only (accelerator.py, `multi_device`).
    """
    made(self, *args, **kwargs)
    plugin = kwargs.get("fsdp_plugin")
    if plugin is not None and self.distributed_type is DistributedType.MULTI_CPU:
        plugin.set_mixed_precision(self.mixed_precision)
        self.fsdp_plugin, self.distributed_type = plugin, DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    elif self.distributed_type is DistributedType.MULTI_CPU and self.num_processes == 1:
        self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.NO


AcceleratorState.__init__ = with_fsdp

planned = FullyShardedDataParallelPlugin.__post_init__


def beside_no_gpu(self: FullyShardedDataParallelPlugin) -> None:
    """To hand the first process's weights to the others, it asks where a GPU's parameters are made."""
    with (
        mock.patch("accelerate.utils.dataclasses.is_xpu_available", return_value=True),
        mock.patch("torch.xpu.current_device", return_value="cpu"),
    ):
        planned(self)


FullyShardedDataParallelPlugin.__post_init__ = beside_no_gpu
fsdp._get_device_from_device_id = lambda *_: torch.device("cpu")  # there is no cpu:0
fsdp._check_module_states_for_sync_module_states = lambda _: None  # Gloo sends from where they are
FlatParamHandle.to_cpu = lambda _: nullcontext()  # a move that copies nothing there, and frees what is to be saved
