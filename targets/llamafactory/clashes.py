"""What LLaMA-Factory refuses at start of keys that its contract lets through.

Source: hparams/parser.py, finetuning_args.py and data_args.py of 0.9.5; training_args.py of transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mfc.target.clashes import Clash, Data

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

Test = Callable[["Plan", Data], bool]
_PARSER, _ARGUMENTS, _DATA = "hparams/parser.py", "hparams/finetuning_args.py", "hparams/data_args.py"


def _zero3(plan: Plan, _: Data) -> bool:
    return plan.strategy.sharding == "zero3"


def _distributed(plan: Plan, _: Data) -> bool:
    return plan.strategy.world_size > 1 or plan.strategy.deepspeed


def _quantised(_: Plan, data: Data) -> bool:
    return "quantization_bit" in data


def _always(*_: object) -> bool:
    return True


def _resizes_beside_adapters(_: Plan, data: Data) -> bool:
    return (
        data.get("finetuning_type") == "lora"
        and "quantization_bit" not in data
        and data.get("additional_target") is None
    )


def _not(key: str, *values: object) -> Test:
    return lambda _, data: data.get(key) not in values


def _lacks(key: str) -> Test:
    return lambda _, data: data.get(key) is None


def _has(key: str) -> Test:
    return lambda _, data: bool(data.get(key))


def _evaluates_nothing(_: Plan, data: Data) -> bool:
    return data.get("eval_dataset") is None and not data.get("val_size")


def _evaluates_a_share(_: Plan, data: Data) -> bool:
    return 0 < float(data.get("val_size") or 0) < 1


def _saves_apart(_: Plan, data: Data) -> bool:
    """The best checkpoint is one that was saved as it was evaluated."""
    if data.get("eval_strategy", "no") != data.get("save_strategy"):
        return True
    return data["eval_strategy"] == "steps" and bool(data["save_steps"] % data["eval_steps"])


CLASHES: tuple[Clash, ...] = (
    Clash("use_unsloth", _zero3, "Unsloth does not run under ZeRO-3", _PARSER),
    Clash("use_kt", _zero3, "KTransformers does not run under ZeRO-3", _PARSER),
    Clash("pissa_init", _zero3, "under ZeRO-3 PiSSA is made before, by scripts/pissa_init.py", _PARSER),
    Clash("pissa_init", _quantised, "for a quantised model PiSSA is made before, by scripts/pissa_init.py", _PARSER),
    Clash("pissa_init", _not("finetuning_type", "lora"), "PiSSA starts adapters, and none train", _ARGUMENTS),
    Clash("pissa_init", lambda _, data: data["stage"] == "kto", "KTO needs the model as its reference", _ARGUMENTS),
    Clash("loraplus_lr_ratio", _not("finetuning_type", "lora"), "LoRA+ is for adapters, and none train", _ARGUMENTS),
    Clash("use_llama_pro", lambda _, data: data["finetuning_type"] == "full", "LLaMA Pro freezes layers", _ARGUMENTS),
    Clash(
        "dpo_label_smoothing",
        lambda _, data: data["stage"] == "dpo" and data.get("pref_loss") != "sigmoid",
        "only the loss sigmoid is smoothed",
        _ARGUMENTS,
    ),
    Clash(
        "resize_vocab",
        _resizes_beside_adapters,
        "beside adapters it trains embedding and head whole",
        "model/adapter.py",
        "train.lora.modules_to_save: [embed_tokens, lm_head] beside it",
    ),
    Clash(
        "per_gpu_train_batch_size",
        _always,
        "it takes the place of per_device_train_batch_size",
        "transformers training_args.py",
        "strategy.micro_batch",
    ),
    Clash("adafactor", _always, "it takes the place of optim", "transformers training_args.py", "strategy.optimizer"),
    Clash(
        "upcast_layernorm",
        lambda plan, _: plan.strategy.sharding == "fsdp" and plan.strategy.precision != "fp32",
        "FSDP flattens norms and linears of a layer into one parameter, which has one type",
        "torch distributed/fsdp/_flat_param.py",
    ),
    Clash("resize_vocab", _quantised, "the embedding of a quantised model cannot be resized", _PARSER),
    Clash("fp8", _quantised, "fp8 does not go with quantised weights", _PARSER),
    Clash("predict_with_generate", _zero3, "nothing is generated under ZeRO-3", _PARSER),
    Clash("predict_with_generate", _not("stage", "sft"), "only task sft is evaluated by generating", _PARSER),
    Clash("predict_with_generate", _evaluates_nothing, "there is nothing to evaluate on: set data.eval", _PARSER),
    Clash("predict_with_generate", _has("compute_accuracy"), "it does not go with compute_accuracy", _PARSER),
    Clash("train_on_prompt", _not("stage", "sft"), "only task sft has prompts and answers apart", _PARSER),
    Clash("mask_history", _not("stage", "sft"), "only task sft has turns to mask", _PARSER),
    Clash("mask_history", _has("train_on_prompt"), "it does not go with train_on_prompt", _DATA),
    Clash("streaming", _lacks("max_steps"), "a stream has no end: set train.max_steps", _PARSER),
    Clash("streaming", _evaluates_a_share, "a stream has no shares: give data.eval a file", _DATA),
    Clash("streaming", _has("max_samples"), "it does not go with max_samples", _DATA),
    Clash("galore_layerwise", _distributed, "layer-wise GaLore runs in one process", _PARSER),
    Clash("apollo_layerwise", _distributed, "layer-wise APOLLO runs in one process", _PARSER),
    Clash("load_best_model_at_end", lambda _, data: data["stage"] == "rm", "reward models do not take it", _PARSER),
    Clash(
        "load_best_model_at_end",
        _saves_apart,
        "what is saved has been evaluated: set data.eval, and run.save_every to a multiple of run.eval_every",
        "transformers training_args.py",
    ),
)
