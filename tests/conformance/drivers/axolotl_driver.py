"""Would the installed Axolotl train with these files? Nothing is downloaded and no model is loaded.

A case: `{"argv": the words after `axolotl`, as the launch script says them, "folder": where it runs, "world_size":
processes, "capability": compute capability of the planned GPU as Axolotl has it}`. The layers, in order:

launch    The real command line takes the words, and torchrun's parser those that are handed on to it.
validate  Plugins are registered and `validate_config` looks at the YAML as on the planned GPUs; what it hands back
          holds every key of the file, since it drops what it does not know.
build     The arguments of the trainer of the task are built from the result.
late      The Trainer holds DeepSpeed's JSON against them, and a DeepSpeed engine starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import transformers.training_args
import yaml
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from axolotl.cli.config import prepare_plugins
from axolotl.cli.main import cli
from axolotl.core.builders import HFCausalTrainerBuilder, HFRLTrainerBuilder
from axolotl.core.training_args import AxolotlRewardConfig, AxolotlTrainingArguments
from axolotl.utils.config import resolve_dtype, validate_config
from axolotl.utils.dict import DictDefault
from torch.distributed.run import get_args_parser
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

from tests.conformance.drivers import deepspeed_driver
from tests.conformance.drivers.batch import Rejected
from tests.conformance.drivers.deepspeed_driver import join, start

prepare = partial(deepspeed_driver.prepare, "ShareMemCommBuilder", "CPUAdamBuilder")  # the Trainer brings AdamW
STEPS = 100


def check(case: dict[str, Any]) -> dict[str, Any]:
    """The facts that Axolotl read back. Raises Rejected, or whatever Axolotl itself raises."""
    os.chdir(case["folder"])
    transformers.training_args.is_torch_bf16_gpu_available = lambda: True
    command, file, launched = _launch(case["argv"])
    if command != "train":
        raise Rejected(f"launch: {command} is no training")
    config = _validate(file, case)
    join(case["world_size"])
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_CPU)
    training = _build(config)
    return {
        "processes": int(launched.nproc_per_node),
        "nodes": int(launched.nnodes.rpartition(":")[2]),
        "zero_stage": _deepspeed(config, training),
        "fsdp_version": config.fsdp_version,
        "offloads": bool(config.fsdp_config and config.fsdp_config.offload_params),
        "dtype": str(config.torch_dtype).removeprefix("torch."),
        "attn_implementation": config.attn_implementation,
        "adapter": config.adapter,
        "lora_r": config.lora_r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "load_in_4bit": bool(config.load_in_4bit),
        "load_in_8bit": bool(config.load_in_8bit),
        "lora_kernels": any(config[f"lora_{name}_kernel"] for name in ("mlp", "qkv", "o", "embedding")),
        "fused": bool(config.liger_fused_linear_cross_entropy),
        "sample_packing": bool(config.sample_packing),
        "sequence_len": config.sequence_len,
        "rl": str(config.rl.value) if config.rl else None,
        "reward_model": bool(config.reward_model),
        "datasets": [one["path"] for one in config.datasets],
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "learning_rate": training.learning_rate,
        "max_grad_norm": training.max_grad_norm,
        "weight_decay": training.weight_decay,
        "seed": training.seed,
        "bf16": training.bf16,
        "fp16": training.fp16,
        "optim": str(training.optim.value),
        "gradient_checkpointing": training.gradient_checkpointing,
        "num_generations": getattr(training, "num_generations", None),
        "steps_per_generation": getattr(training, "steps_per_generation", None),
        "save_strategy": str(training.save_strategy.value),
    }


def _launch(argv: list[str]) -> tuple[str, str, Any]:
    """The command, its file and what torchrun reads: by the real command line, whose last step is caught."""
    command = cli.commands[argv[0]]
    context = command.make_context(argv[0], list(argv[1:]))
    if context.params["launcher"] != "torchrun":
        raise Rejected(f"launch: {context.params['launcher']}")
    launched = get_args_parser().parse_args([*context.args, "-m", "axolotl.cli.train"])
    return argv[0], context.params["config"], launched


def _validate(file: str, case: Mapping[str, Any]) -> Any:
    """The validated config. Raises Rejected for keys that are not in it, with what Axolotl's default is not."""
    given = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    config = DictDefault(given)
    prepare_plugins(config)
    capabilities = {
        "bf16": True,
        "fp8": False,
        "tf32": True,
        "n_gpu": case["world_size"],
        "compute_capability": case["capability"],
    }
    checked = validate_config(config, capabilities=capabilities, env_capabilities={"torch_version": "2.13.0"})
    if lost := [path for path, value in _leaves(given) if value is not None and _at(checked, path) is None]:
        raise Rejected(f"validate: {', '.join('.'.join(map(str, path)) for path in lost)} would be dropped")
    resolve_dtype(checked)
    return checked


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    if not isinstance(node, (dict, list)):
        yield path, node
    for key, value in items:
        yield from _leaves(value, (*path, key))


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        if isinstance(node, list):
            node = node[key] if key < len(node) else None
        else:
            node = node.get(key) if isinstance(node, dict) else getattr(node, str(key), None)
        if node is None:
            return None
    return node


def _build(config: Any) -> Any:
    """The arguments of the trainer, as its builder makes them before there is a model."""
    config.ddp = True
    if config.rl:
        builder = HFRLTrainerBuilder(config, None, None)
        return builder._build_training_arguments(STEPS)[0]
    builder = HFCausalTrainerBuilder(config, None, None)
    said, _ = builder._set_base_training_args(STEPS)
    return (AxolotlRewardConfig if config.reward_model else AxolotlTrainingArguments)(**said)


def _deepspeed(config: Any, training: Any) -> int:
    """The stage of ZeRO that an engine starts with; 0 without DeepSpeed."""
    if not config.deepspeed:
        return 0
    said = HfTrainerDeepSpeedConfig(config.deepspeed)
    said.trainer_config_process(training)
    said.trainer_config_finalize(training, SimpleNamespace(config=SimpleNamespace(hidden_size=64)), STEPS)
    return int(start(said.config)["zero_stage"])
