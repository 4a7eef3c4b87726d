"""Would GLM-4's fine-tuning demo train with this file? No model is loaded.

A case: `{"folder": where it runs, "script": finetune.py of a checkout, "world_size": processes}`. The script's own
`FinetuningConfig.from_file` reads train.yaml as rank 0 of a job of the planned size, so the real training arguments,
generation config and adapter config are built, and DeepSpeed's JSON is held against the arguments as the Trainer does.
What the script imports only to score answers is stood in for where it is not installed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import transformers.training_args

from tests.conformance.drivers import deepspeed_driver
from tests.conformance.drivers.batch import Rejected
from tests.conformance.drivers.deepspeed_driver import join, start

SCORES = {"jieba": {}, "rouge_chinese": {"Rouge": object}}
BLEU = {"SmoothingFunction": object, "sentence_bleu": None}

prepare = partial(deepspeed_driver.prepare, "ShareMemCommBuilder", "CPUAdamBuilder")  # the Trainer brings AdamW


def check(case: dict[str, Any]) -> dict[str, Any]:
    """The facts that the script read back. Raises Rejected, or whatever the script itself raises."""
    script = _script(Path(case["script"]))
    os.chdir(case["folder"])
    if case["world_size"] > 1 or Path("ds_config.json").exists():
        join(case["world_size"])
    transformers.training_args.is_torch_bf16_gpu_available = lambda: True
    config = script.FinetuningConfig.from_file("train.yaml")
    training, data = config.training_args, config.data_config
    if data.data_format != ".jsonl":
        raise Rejected(f"it cannot load {data.train_file}")
    deepspeed = getattr(training, "hf_deepspeed_config", None)
    if deepspeed is not None:
        deepspeed.trainer_config_finalize(training, SimpleNamespace(config=SimpleNamespace(hidden_size=64)), 100)
        start(deepspeed.config)
    return _facts(config, deepspeed.config.get("zero_optimization", {}) if deepspeed is not None else {})


def _script(path: Path) -> Any:
    """The module of the script."""
    for name, held in SCORES.items():
        _stand_in(name, held)
    if importlib.util.find_spec("nltk") is None:
        for name in ("nltk", "nltk.translate"):
            _stand_in(name, {})
        _stand_in("nltk.translate.bleu_score", BLEU)
    spec = importlib.util.spec_from_file_location("glm4_finetune", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _stand_in(name: str, held: dict[str, Any]) -> None:
    if name.partition(".")[0] in sys.modules or importlib.util.find_spec(name.partition(".")[0]) is None:
        module = types.ModuleType(name)
        module.__dict__.update(held)
        sys.modules.setdefault(name, module)


def _facts(config: Any, zero: dict[str, Any]) -> dict[str, Any]:
    training, adapter = config.training_args, config.peft_config
    evaluation = getattr(training, "eval_strategy", None) or training.evaluation_strategy
    return {
        "rows": config.max_input_length + config.max_output_length + 1,
        "answers": training.generation_config.max_new_tokens,
        "evaluates": training.do_eval and getattr(evaluation, "value", evaluation) != "no",
        "generates": training.predict_with_generate,
        "bf16": training.bf16,
        "fp16": training.fp16,
        "gradient_checkpointing": training.gradient_checkpointing,
        "remove_unused_columns": training.remove_unused_columns,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "world_size": training.world_size,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": getattr(training.lr_scheduler_type, "value", training.lr_scheduler_type),
        "optim": getattr(training.optim, "value", training.optim),
        "num_train_epochs": training.num_train_epochs,
        "max_steps": training.max_steps,
        "seed": training.seed,
        "adapter": type(adapter).__name__,
        "r": getattr(adapter, "r", None),
        "lora_alpha": getattr(adapter, "lora_alpha", None),
        "target_modules": sorted(getattr(adapter, "target_modules", None) or ()),
        "zero_stage": zero.get("stage", 0),
        "offload_optimizer": zero.get("offload_optimizer", {}).get("device", "none"),
        "offload_parameters": zero.get("offload_param", {}).get("device", "none"),
    }
