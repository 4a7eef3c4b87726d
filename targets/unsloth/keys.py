"""The keys of Unsloth's YAML and the plan fields they carry. Source: unsloth_cli/config.py of Unsloth 2026.10.9.

Everything that decides a result is written: its defaults (rank 64 with alpha 16, all tokens learnt, a 4-bit model) are
not what other frameworks have.
"""

from __future__ import annotations

from typing import Any

from mfc.target.codecs import (
    Codec,
    Reader,
    Reading,
    Unwritten,
    Writing,
    constant,
    flag,
    one_way,
    path,
    same,
    whole,
    words,
)
from mfc.target.keys import Key, section
from mfc.target.launch import ALLOCATOR, DEVICES
from mfc.target.values import adapted
from mfc.target.when import ADAPTERS, given, is_

from . import data

_T, _L = "training.", "lora."
_CHECKPOINTING = {"unsloth": (True, "cpu"), "true": (True, "none"), "none": (False, "none")}


def _checkpointing() -> Codec:
    """Whether layers are computed again, and whether their inputs wait on the host."""

    def write(at: Writing) -> str:
        asked = (at.value("gradient_checkpointing"), at.value("offload_activations"))
        return next(word for word, meant in _CHECKPOINTING.items() if meant == asked)

    def read(word: Any, _: Reader) -> Reading:
        if word not in _CHECKPOINTING:
            raise Unwritten(f"{word!r} is none of {', '.join(_CHECKPOINTING)}")
        again, waits = _CHECKPOINTING[word]
        return {"gradient_checkpointing": (again,), "offload_activations": (waits,)}

    return Codec(("gradient_checkpointing", "offload_activations"), write, read)


def _targets() -> Codec:
    """Names of the linears that get adapters, in one text."""

    def write(at: Writing) -> str:
        lora = at.plan.strategy.lora
        assert lora is not None
        named = adapted(at.plan) if lora.targets in ("all-linear", "attention", "mlp") else lora.targets.split(",")
        return ",".join(named)

    def read(value: Any, _: Reader) -> Reading:
        return {"lora_targets": (value, "all-linear", "attention", "mlp")}

    return Codec(("lora_targets",), write, read)


def _saves() -> Codec:
    """Steps between checkpoints; 0 is none but the model at the end."""

    def write(at: Writing) -> int:
        every = at.value("save_every")
        return 0 if every == "never" else int(every)

    return Codec(("save_every",), write, lambda value, _: {"save_every": (value or "never",)})


KEYS: tuple[Key, ...] = (
    *section("model", Key("model", path("model.id"))),
    *section(
        "data",
        Key("data.dataset", same("data.train.0.hub"), given("data.train.0.hub"), "one of the hub"),
        Key(
            "data.local_dataset",
            one_way(data.files, "data.train", because="a file does not tell the layout of its rows"),
            given("data.train.0.path"),
        ),
        Key(
            "data.format_type",
            one_way(data.form, "data.train", because="it does not name the data"),
            note="messages: chatml; text: raw",
            also=("task", "template"),
        ),
    ),
    *section(
        "training",
        Key(_T + "training_type", words("method", {"lora": "lora", "qlora": "lora", "full": "full"})),
        Key(_T + "load_in_4bit", flag("method", "qlora"), also=("quantization",)),
        Key(_T + "max_seq_length", same("max_length"), also=("overlong",)),
        Key(_T + "packing", same("packing")),
        Key(
            _T + "train_on_completions",
            words("task", {"sft": True, "pretrain": False}),
            note="answers alone; Unsloth's default learns the questions too",
        ),
        Key(_T + "batch_size", same("micro_batch")),
        Key(_T + "gradient_accumulation_steps", same("gradient_accumulation"), also=("batch_size",)),
        Key(_T + "gradient_checkpointing", _checkpointing(), note="unsloth: inputs of layers wait on the host"),
        Key(_T + "learning_rate", same("learning_rate")),
        Key(_T + "warmup_steps", whole("warmup"), note="steps"),
        Key(_T + "weight_decay", same("weight_decay"), note="Unsloth's default is 0.01"),
        Key(_T + "num_epochs", whole("epochs"), given("epochs")),
        Key(_T + "max_steps", same("max_steps"), given("max_steps")),
        Key(_T + "random_seed", same("seed")),
        Key(_T + "save_steps", _saves()),
        Key(_T + "output_dir", same("output_dir"), note="inside `outputs`, which launch.sh has beside it"),
    ),
    *section(
        "lora",
        Key(_L + "lora_r", same("lora_rank"), ADAPTERS, also=("lora",)),
        Key(_L + "lora_alpha", whole("lora_alpha"), ADAPTERS, "a whole number"),
        Key(_L + "lora_dropout", same("lora_dropout"), ADAPTERS),
        Key(_L + "target_modules", _targets(), ADAPTERS, "by name"),
        Key(_L + "use_rslora", flag("lora_variant", "rslora"), ADAPTERS),
    ),
    *section(
        "logging",
        Key("logging.enable_tensorboard", flag("report_to", "tensorboard")),
        Key("logging.enable_wandb", flag("report_to", "wandb")),
    ),
)
ENVIRONMENT = section(
    "environment",
    ALLOCATOR,
    DEVICES,
    Key("UNSLOTH_USE_MODELSCOPE", constant("1", "hub").citing("hub"), is_("hub", "modelscope")),
)

# Plan fields that no key carries, and where they are instead.
ELSEWHERE = {
    "existing": "launch.sh looks into the output folder before it starts",
    "hub": "an environment variable of launch.sh, for ModelScope",
    "precision": "the GPU's: bf16 where it has units for it, else fp16; all weights train in pure bf16",
    "attention": "flash-attn where it is installed, else xformers or SDPA",
    "loss": "always in chunks",
    "optimizer": "bitsandbytes' AdamW in 8 bits, always",
    "schedule": "linear, always",
    **dict.fromkeys(("adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm"), "the Trainer's own"),
    "keep": "every checkpoint is kept",
    "log_every": "every step",
    **dict.fromkeys(("dataloader_workers", "preprocessing_workers"), "its own count, from the machine's cores"),
    "timeout_seconds": "one process waits for nobody",
    "modules_to_save": "there are none",
}
