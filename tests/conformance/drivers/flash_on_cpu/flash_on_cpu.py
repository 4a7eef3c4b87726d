"""Imported by what lets frameworks run on the CPU: transformers takes the stand-in for flash-attn beside it."""

from typing import Any

import torch
import transformers
import transformers.utils
import transformers.utils.import_utils

for place in (transformers.utils, transformers.utils.import_utils):  # before others take it from there
    place.is_flash_attn_2_available = lambda: True

import transformers.modeling_flash_attention_utils as flash  # noqa: E402
from transformers import PreTrainedModel  # noqa: E402

if hasattr(flash, "FLASH_ATTENTION_COMPATIBILITY_MATRIX"):
    devices = flash.FLASH_ATTENTION_COMPATIBILITY_MATRIX[2]
    devices["supported_devices"] = (*devices["supported_devices"], (lambda: True, "cpu"))
else:
    enabled = torch.is_autocast_enabled

    def without_a_gpu(cls: type[PreTrainedModel], config: Any, *_: Any, **__: Any) -> Any:
        """Before transformers 5 it looks for a GPU here and nowhere else."""
        config._attn_implementation = "flash_attention_2"
        return config

    PreTrainedModel._check_and_enable_flash_attn_2 = classmethod(without_a_gpu)
    # and asks for the GPU's autocast before it makes queries 16-bit that came out of rotation in fp32
    torch.is_autocast_enabled = lambda device="cpu": enabled(device)
    torch.get_autocast_gpu_dtype = lambda: torch.get_autocast_dtype("cpu")
