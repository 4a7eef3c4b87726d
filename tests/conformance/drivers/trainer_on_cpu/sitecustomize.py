"""On PYTHONPATH, this lets the Trainer run on the CPU, where it asks for a GPU without need.

With the Trainer's own `use_cpu`, Accelerate leaves out DeepSpeed's start-up, which runs on GPUs have.
"""

import os
from typing import Any

import in_order  # noqa: F401
import transformers.utils
from accelerate.state import PartialState
from accelerate.utils import DistributedType

transformers.utils.is_torch_bf16_gpu_available = lambda: True  # the Trainer takes bf16 for a GPU only
chosen = PartialState._prepare_backend


def with_gloo(self: PartialState, *args: Any, **kwargs: Any) -> tuple[str, DistributedType]:
    """Accelerate sees a job of several processes only where they have GPUs."""
    backend, kind = chosen(self, *args, **kwargs)
    if kind is DistributedType.NO and int(os.environ.get("LOCAL_RANK", "-1")) != -1:
        return "gloo", DistributedType.MULTI_CPU
    return backend, kind


PartialState._prepare_backend = with_gloo
