"""On PYTHONPATH, this lets XTuner and mmengine run on the CPU, where they ask for a GPU without need.

Runs with flash attention have its stand-in on PYTHONPATH too.
"""

import importlib.util
from typing import Any

import in_order  # noqa: F401
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

if importlib.util.find_spec("flash_on_cpu"):
    import flash_on_cpu  # noqa: F401

import mmengine.optim.optimizer.amp_optimizer_wrapper as amp
from xtuner.parallel.sequence import comm

amp.is_cuda_available = lambda: True  # what it asks before it casts, which PyTorch does on the CPU as well
torch.cpu.is_bf16_supported = lambda: True  # XTuner asks any device whether it computes in bf16
torch.cuda.set_device = lambda _: None  # mmengine chooses a GPU before it looks whether there is one
made: Any = DistributedDataParallel.__init__


def without_devices(self: Any, *args: Any, device_ids: Any = None, **kwargs: Any) -> None:
    """mmengine numbers the GPU of a process, whether there is one or not."""
    made(self, *args, **kwargs)


DistributedDataParallel.__init__ = without_devices


def gathered(input: torch.Tensor, dim: int, sp_group: dist.ProcessGroup) -> torch.Tensor:  # noqa: A002
    """What XTuner gathers of split sequences where it finds a GPU, and asserts that it does."""
    parts = [
        torch.empty_like(input, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size(sp_group))
    ]
    dist.all_gather(parts, input.contiguous(), group=sp_group)
    return torch.cat(parts, dim)


comm.gather_for_sequence_parallel = gathered
