"""Would the installed LLaMA-Factory train with this file? Nothing is downloaded and no model is loaded.

A case: `{"file": "train.yaml", "folder": where it runs, "torchrun": is it started by torchrun, "world_size": processes,
"bf16": can the planned GPU compute in bf16, "accelerate": the config file of `accelerate launch`, or null}`. The
layers, in order:

launch  The real `accelerate launch` reads its config file and makes the variables of the processes that it would
        start; its FSDP plugin is made of them.
keys    Every key is a field that one of the five dataclasses takes. The real parser builds the dataclasses before it
        looks at left-over keys, so another complaint would hide a typo.
parse   The real `get_train_args` on what the real reader makes of the file, as rank 0 of a job of the planned size: the
        process group is torch's fake one, so all batch arithmetic is done with the true world size.
strict  Each value once more through the same parser in its command-line form: in dict mode (YAML) it looks at neither
        types nor choices, so `pref_loss: orp0` passes the layer before.
late    What the run checks after parsing and before a weight is touched: stage, template, datasets, attention,
        quantisation, optimizer; then the Trainer holds DeepSpeed's JSON against the YAML and a DeepSpeed engine starts.

Whether the GPU knows bf16 is answered by the case; packages that need a GPU (bitsandbytes, liger-kernel, ...) are
reported as `needs` and not demanded here.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any

import accelerate.utils.dataclasses as dataclasses_of_accelerate
import llamafactory.hparams.parser as parser_module
import torch
import transformers.training_args
from accelerate.commands import launch
from accelerate.utils.launch import prepare_multi_gpu_env
from llamafactory.data.parser import get_dataset_list
from llamafactory.data.template import TEMPLATES
from llamafactory.model.model_utils import quantization
from llamafactory.model.model_utils.attention import configure_attn_implementation
from torch.distributed.fsdp import FullyShardedDataParallel
from transformers import HfArgumentParser, PretrainedConfig

from tests.conformance.drivers import deepspeed_driver
from tests.conformance.drivers.batch import Rejected
from tests.conformance.drivers.deepspeed_driver import join, start

STAGES = ("pt", "sft", "rm", "ppo", "dpo", "kto")  # llamafactory.train.tuner compares with these one by one
PAIRS = ("rm", "dpo")
GALORE_OPTIMIZERS = ("adamw_torch", "adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit", "adafactor")


prepare = partial(deepspeed_driver.prepare, "ShareMemCommBuilder", "CPUAdamBuilder")  # the Trainer brings AdamW


def check(case: dict[str, Any]) -> dict[str, Any]:
    """The facts that LLaMA-Factory read back. Raises Rejected, or whatever LLaMA-Factory itself raises."""
    os.chdir(case["folder"])
    needs = _pretend(case)
    if case.get("accelerate"):
        _launch(case)
    sys.argv = ["llamafactory-cli", case["file"]]
    given = parser_module.read_args()
    if not isinstance(given, dict):
        raise Rejected(f"yaml: {case['file']} does not hold a mapping")
    known = {f.name: f for kind in parser_module._TRAIN_ARGS for f in dataclasses.fields(kind) if f.init}
    if unknown := sorted(set(given) - set(known)):
        raise Rejected(f"keys: unknown {', '.join(unknown)}")
    model, data, training, finetuning, _ = parser_module.get_train_args(dict(given))
    _strict(given, known)
    _late(model, data, training, finetuning)
    return {**_facts(model, data, training, finetuning), "needs": needs}


def _pretend(case: dict[str, Any]) -> list[str]:
    """Be rank 0 of the planned job on the planned GPU; gives the list that fills with packages asked for."""
    if case["torchrun"]:
        join(case["world_size"])
    needs: list[str] = []

    def note(requirement: str, mandatory: bool = False) -> None:
        if requirement not in needs:
            needs.append(requirement)

    for module in (parser_module, transformers.training_args):
        module.is_torch_bf16_gpu_available = lambda: case.get("bf16", True)
    for module in (parser_module, quantization):
        module.check_version = note
    return needs


def _launch(case: dict[str, Any]) -> None:
    """Take over the variables that `accelerate launch` gives to its processes."""
    typed = ["--config_file", case["accelerate"], "--main_process_ip", "localhost", "--main_process_port", "29400"]
    args = launch.launch_command_parser().parse_args([*typed, "-m", "llamafactory.launcher", case["file"]])
    args, _, _ = launch._validate_launch_command(args)
    if int(args.num_processes) != case["world_size"]:
        raise Rejected(f"launch: {args.num_processes} processes, not {case['world_size']}")
    os.environ.update({k: v for k, v in prepare_multi_gpu_env(args).items() if k.startswith(("ACCELERATE_", "FSDP_"))})
    dataclasses_of_accelerate.is_cuda_available = lambda: True  # sync_module_states asks for the GPU's number
    torch.cuda.current_device = lambda: 0
    dataclasses_of_accelerate.FullyShardedDataParallelPlugin()


def _strict(given: dict[str, Any], known: dict[str, Any]) -> None:
    def complain(message: str) -> None:
        raise ValueError(message)

    parser = HfArgumentParser(parser_module._TRAIN_ARGS)
    parser.error = complain
    for key, value in given.items():
        if value is None or "dict" in str(known[key].type):
            continue
        listed = isinstance(value, list)
        if listed and not (known[key].type is str or "List" in str(known[key].type) or "list" in str(known[key].type)):
            raise Rejected(f"strict: {key} is declared {known[key].type}, not a list")
        for item in value if listed else [value]:
            try:
                parser.parse_args([f"--{key}={item}"])
            except (TypeError, ValueError) as error:
                raise Rejected(f"strict: {error}") from error


def _late(model: Any, data: Any, training: Any, finetuning: Any) -> None:
    if finetuning.stage not in STAGES:
        raise Rejected(f"late: unknown stage {finetuning.stage}")
    if data.template is not None and data.template not in TEMPLATES:
        raise Rejected(f"late: template {data.template} does not exist")
    _datasets(data, finetuning.stage)
    bare = PretrainedConfig()
    configure_attn_implementation(bare, model)
    if model.quantization_bit is not None:
        built: dict[str, Any] = {}
        for name in ("BitsAndBytesConfig", "HqqConfig", "EetqConfig"):
            setattr(quantization, name, lambda *args, **kwargs: kwargs)
        quantization.configure_quantization(bare, None, model, True, built)
        if "quantization_config" not in built:
            raise Rejected(f"late: quantization_method {model.quantization_method} is silently ignored")
    if under_fsdp() and model.upcast_layernorm:  # the real FSDP, of a layer as this would make it
        layer = [torch.nn.Linear(8, 8, dtype=torch.bfloat16), torch.nn.LayerNorm(8, dtype=torch.float32)]
        FullyShardedDataParallel(torch.nn.Sequential(*layer), device_id=torch.device("cpu"), use_orig_params=True)
    optimizer = getattr(training.optim, "value", training.optim)
    if finetuning.use_galore and optimizer not in GALORE_OPTIMIZERS:
        raise Rejected(f"late: GaLore cannot wrap {optimizer}")
    if finetuning.use_apollo and optimizer != "adamw_torch":
        raise Rejected(f"late: APOLLO cannot wrap {optimizer}")
    layerwise = (finetuning.use_galore and finetuning.galore_layerwise) or (
        finetuning.use_apollo and finetuning.apollo_layerwise
    )
    if layerwise and training.gradient_accumulation_steps != 1:
        raise Rejected("late: layer-wise GaLore and APOLLO need gradient_accumulation_steps 1")
    if (deepspeed := getattr(training, "hf_deepspeed_config", None)) is not None:
        deepspeed.trainer_config_finalize(training, SimpleNamespace(config=SimpleNamespace(hidden_size=64)), 100)
        start(deepspeed.config)


def _datasets(data: Any, stage: str) -> None:
    names = [*(data.dataset or []), *(data.eval_dataset or [])]
    for name, found in zip(names, get_dataset_list(names, data.dataset_dir), strict=True):
        if data.dataset_dir != "ONLINE" and bool(found.ranking) != (stage in PAIRS):
            raise Rejected(f"late: dataset {name} has ranking={found.ranking}, stage {stage} wants the opposite")


def under_fsdp() -> bool:
    """Whether `accelerate launch` asks for FSDP, with weights split too."""
    return os.environ.get("ACCELERATE_USE_FSDP") == "true" and os.environ["FSDP_SHARDING_STRATEGY"] == "FULL_SHARD"


def _facts(model: Any, data: Any, training: Any, finetuning: Any) -> dict[str, Any]:
    deepspeed = getattr(training, "hf_deepspeed_config", None)
    zero = deepspeed.config.get("zero_optimization", {}) if deepspeed is not None else {}
    if under_fsdp():
        place = {"device": "cpu" if os.environ["FSDP_OFFLOAD_PARAMS"] == "true" else "none"}
        zero = {"stage": 3, "offload_optimizer": place, "offload_param": place}
    return {
        "stage": finetuning.stage,
        "pref_loss": finetuning.pref_loss,
        "finetuning_type": finetuning.finetuning_type,
        "lora_rank": finetuning.lora_rank,
        "lora_alpha": finetuning.lora_alpha,
        "lora_dropout": finetuning.lora_dropout,
        "lora_target": finetuning.lora_target,
        "use_dora": finetuning.use_dora,
        "use_rslora": finetuning.use_rslora,
        "freeze_trainable_layers": finetuning.freeze_trainable_layers,
        "pure_bf16": finetuning.pure_bf16,
        "compute_dtype": str(model.compute_dtype).removeprefix("torch."),
        "bf16": training.bf16,
        "fp16": training.fp16,
        "quantization_bit": model.quantization_bit,
        "gradient_checkpointing": not model.disable_gradient_checkpointing,
        "flash_attn": model.flash_attn,
        "enable_liger_kernel": model.enable_liger_kernel,
        "template": data.template,
        "cutoff_len": data.cutoff_len,
        "packing": data.packing,
        "neat_packing": data.neat_packing,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "world_size": training.world_size,
        "optim": getattr(training.optim, "value", training.optim),
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": getattr(training.lr_scheduler_type, "value", training.lr_scheduler_type),
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "num_train_epochs": training.num_train_epochs,
        "max_steps": training.max_steps,
        "seed": training.seed,
        "zero_stage": zero.get("stage", 0),
        "offload_optimizer": zero.get("offload_optimizer", {}).get("device", "none"),
        "offload_parameters": zero.get("offload_param", {}).get("device", "none"),
    }
