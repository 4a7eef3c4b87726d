"""Would MGM's training script take these flags? No model is loaded.

A case: `{"folder": where ds_config.json lies, "world_size": processes, "flags": words}`; MGM in the environment names a
checkout. The script is imported, its own three dataclasses are filled by HfArgumentParser as rank 0 of a job of the
planned size, and DeepSpeed's JSON is held against them as the Trainer does. Runs of two steps start the engine itself.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import SimpleNamespace
from typing import Any

import torch
import transformers
import transformers.training_args

from tests.conformance.drivers import deepspeed_driver
from tests.conformance.drivers.batch import Rejected
from tests.conformance.drivers.deepspeed_driver import join


def prepare() -> None:
    """Import the script once, which takes seconds, and what DeepSpeed compiles to join a job on the CPU."""
    deepspeed_driver.prepare("ShareMemCommBuilder")
    sys.path.insert(0, os.environ["MGM"])
    importlib.import_module("mgm.train.train")


def _on_a_gpu(arguments: Any) -> torch.device:
    assert arguments._setup_devices.type == "cpu"
    return torch.device("cuda")


def check(case: dict[str, Any]) -> dict[str, Any]:
    """The facts that the script read back. Raises Rejected, or whatever the script itself raises."""
    train: Any = sys.modules["mgm.train.train"]
    join(case["world_size"])
    os.chdir(case["folder"])
    transformers.training_args.is_torch_bf16_gpu_available = lambda: True
    transformers.TrainingArguments.device = property(_on_a_gpu)  # fp16 is for one
    kinds = (train.ModelArguments, train.DataArguments, train.TrainingArguments)
    parser = transformers.HfArgumentParser(kinds)
    model, data, training = parser.parse_args_into_dataclasses(case["flags"])
    if training.eval_steps or training.evaluation_strategy != "no":
        raise Rejected("it evaluates on nothing")
    config = training.hf_deepspeed_config
    config.trainer_config_finalize(training, SimpleNamespace(config=SimpleNamespace(hidden_size=64)), 100)
    zero = config.config["zero_optimization"]
    return {
        "path": model.model_name_or_path,
        "version": model.version,
        "aligns": model.tune_mm_mlp_adapter,
        "starts_from": model.pretrain_mm_mlp_adapter,
        "image_size_aux": data.image_size_aux,
        "image_grid": data.image_grid,
        "image_global": data.image_global,
        "data_path": data.data_path,
        "image_folder": data.image_folder,
        "model_max_length": training.model_max_length,
        "bits": training.bits,
        "lora": training.lora_enable,
        "lora_r": training.lora_r if training.lora_enable else None,
        "lora_alpha": training.lora_alpha if training.lora_enable else None,
        "bf16": training.bf16,
        "fp16": training.fp16,
        "gradient_checkpointing": training.gradient_checkpointing,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "world_size": training.world_size,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.lr_scheduler_type.value,
        "optim": getattr(training.optim, "value", training.optim),
        "seed": training.seed,
        "max_grad_norm": training.max_grad_norm,
        "gradient_clipping": config.config["gradient_clipping"],
        "zero_stage": zero["stage"],
        "offload_optimizer": zero.get("offload_optimizer", {}).get("device", "none"),
        "offload_parameters": zero.get("offload_param", {}).get("device", "none"),
    }
