"""Would the installed TRL train with these files? Nothing is downloaded and no model is loaded.

A case: `{"command": "sft", "folder": where it runs, "world_size": processes, "argv": the words after the command}`, the
last as the launch script says them. The layers, in order:

launch  The real command finds out which words are its own and which accelerate's; the real reader of accelerate looks
        at its file, and the real parser of `accelerate launch` at the words.
parse   TRL's parser on the YAML, as rank 0 of a job of the planned size, with keys that it does not know refused; its
        own scripts hand those on to accelerate.
strict  Each value once more in its command-line form: from a YAML TRL takes what is no text as it is.
late    The Trainer holds DeepSpeed's JSON against the YAML, and a DeepSpeed engine starts.
"""

from __future__ import annotations

import importlib
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import transformers.training_args
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig
from trl.cli.accelerate_config import resolve_accelerate_config_argument

from tests.conformance.drivers import deepspeed_driver
from tests.conformance.drivers.batch import Rejected
from tests.conformance.drivers.deepspeed_driver import join, start

prepare = partial(deepspeed_driver.prepare, "ShareMemCommBuilder", "CPUAdamBuilder")  # the Trainer brings AdamW


def check(case: dict[str, Any]) -> dict[str, Any]:
    """The facts that TRL read back. Raises Rejected, or whatever TRL itself raises."""
    os.chdir(case["folder"])
    transformers.training_args.is_torch_bf16_gpu_available = lambda: True
    made = importlib.import_module(f"trl.scripts.{case['command']}").make_parser
    *_, own, others = made().parse_args_and_config(
        case["argv"], return_remaining_strings=True, separate_remaining_strings=True
    )
    if own:
        raise Rejected(f"parse: the YAML hands {own} on to accelerate")
    words = resolve_accelerate_config_argument(others)
    launched = launch_command_parser().parse_args([*words, "script.py"])
    config = load_config_from_file(launched.config_file)
    if case["world_size"] > 1 or config.deepspeed_config:
        join(case["world_size"])
        PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_CPU)
    if config.deepspeed_config:
        file = config.deepspeed_config["deepspeed_config_file"]
        os.environ.update({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_CONFIG_FILE": file})
    script, training, model, mixture = made().parse_args_and_config(["--config", "train.yaml"])
    _strict(made())
    zero = _deepspeed(config.deepspeed_config, training)
    return {
        "processes": config.num_processes,
        "nodes": config.num_machines,
        "kind": str(getattr(config.distributed_type, "value", config.distributed_type)),
        "world_size": training.world_size,
        "zero_stage": zero,
        "fsdp_version": config.fsdp_config.get("fsdp_version"),
        "datasets": [one.path for one in mixture.datasets],
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "learning_rate": training.learning_rate,
        "max_grad_norm": training.max_grad_norm,
        "weight_decay": training.weight_decay,
        "seed": training.seed,
        "bf16": training.bf16,
        "fp16": training.fp16,
        "gradient_checkpointing": training.gradient_checkpointing,
        "dtype": model.dtype,
        "attn_implementation": model.attn_implementation,
        "use_peft": model.use_peft,
        "lora_r": model.lora_r,
        "lora_alpha": model.lora_alpha,
        "lora_dropout": model.lora_dropout,
        "load_in_4bit": model.load_in_4bit,
        "load_in_8bit": model.load_in_8bit,
        "max_length": getattr(training, "max_length", None),
        "num_generations": getattr(training, "num_generations", None),
        "rewards": getattr(script, "reward_funcs", None),
    }


def _strict(parser: Any) -> None:
    def complain(message: str) -> None:
        raise Rejected(f"strict: {message}")

    parser.error = complain
    given = yaml.safe_load(Path("train.yaml").read_text(encoding="utf-8"))
    for key, value in given.items():
        if isinstance(value, dict) or key in ("datasets", "model_name_or_path", "output_dir"):
            continue
        items = value if isinstance(value, list) else [value]
        parser.parse_known_args([f"--{key}", *map(str, items)])


def _deepspeed(said: dict[str, Any], training: Any) -> int:
    """The stage of ZeRO that an engine starts with; 0 without DeepSpeed."""
    if not said:
        return 0
    config = HfTrainerDeepSpeedConfig(said["deepspeed_config_file"])
    config.trainer_config_process(training)
    config.trainer_config_finalize(training, SimpleNamespace(config=SimpleNamespace(hidden_size=64)), 100)
    return int(start(config.config)["zero_stage"])
