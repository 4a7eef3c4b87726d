"""Flags of MGM's training script and the plan fields that they carry.

They are fields of three dataclasses that transformers' HfArgumentParser reads; its training arguments are those of
transformers 4.36. Source: mgm/train/train.py and llava_trainer.py at the commit of `facts.py`.
"""

from __future__ import annotations

import posixpath
from math import isqrt
from typing import Any

from mfc.target.codecs import (
    Codec,
    Reader,
    Reading,
    Unwritten,
    Writing,
    constant,
    contains,
    file,
    flag,
    one_way,
    only,
    path,
    same,
    saves,
    single,
    whole,
    words,
)
from mfc.target.keys import Key, section
from mfc.target.paths import located
from mfc.target.schedules import SCHEDULER, WARMUP_SHARE, WARMUP_STEPS, ratio
from mfc.target.when import ADAPTERS, BY_STEPS, KEEPS_SOME, When, given, quantised

OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
}
REPORTS = ("none", "tensorboard", "wandb", "mlflow")
_LEARNS = ("model.mm_projector", "model.vlm_uni")  # what the projector is, in names of parameters


INSTRUCTS = When(lambda plan: "language" not in plan.strategy.freeze_parts)
KBIT = quantised()


def side() -> Codec:
    """The side of a picture for the second tower, in pixels."""
    return Codec(
        ("image_max_pixels",),
        lambda at: isqrt(at.value("image_max_pixels")),
        lambda value, _: {"image_max_pixels": (value**2,)},
    )


def _cut(part: str) -> Codec:
    def write(at: Writing) -> Any:
        vision = at.plan.problem.model.architecture.vision
        assert vision is not None
        assert vision.mining is not None
        return vision.mining.grid if part == "grid" else vision.pictures.overview

    return one_way(write, "model.id", because="it does not tell which model it is")


def _folder(at: Writing) -> str:
    """The folder that rows name their pictures from: that of their file."""
    (one,) = at.value("data.train")
    return posixpath.dirname(located(str(one.path), at.out_to_spec)) or "."


def multiples() -> Codec:
    """The learning rate of the projector, as multiples of the other for both of its parts."""

    def write(at: Writing) -> str:
        times = ratio(at.value("projector_learning_rate"), at.value("learning_rate"))
        return ",".join(f"{name}:{times:g}" for name in _LEARNS)

    def read(value: Any, reader: Reader) -> Reading:
        times = {one.rpartition(":")[2] for one in str(value).split(",")}
        if len(times) != 1:
            raise Unwritten(f"{value!r} has several rates, and the projector has one")
        found = float(times.pop()) * reader.data["learning_rate"]
        return {"projector_learning_rate": (found, float(f"{found:.12g}"))}

    return Codec(("projector_learning_rate",), write, read)


KEYS: tuple[Key, ...] = (
    *section(
        "model",
        Key("model_name_or_path", path("model.id"), note="words in it choose the class"),
        Key("version", same("template"), note="the conversation; plain for the first stage, but Gemma's"),
        Key("tune_mm_mlp_adapter", contains("freeze_parts", "language"), note="true: the first stage"),
        Key(
            "pretrain_mm_mlp_adapter",
            path("model.adapter"),
            given("model.adapter"),
            "mm_projector.bin of the first stage",
        ),
        Key("mm_projector_type", constant("mlp2x_gelu", "model.id")),
        Key("mm_vision_select_layer", constant(-2, "model.id"), note="of CLIP's 24 layers"),
        Key("mm_use_im_start_end", constant(False, "model.id")),
        Key("mm_use_im_patch_token", constant(False, "model.id"), note="true would add a token to the vocabulary"),
    ),
    *section(
        "method",
        Key("lora_enable", only("method", "lora", "qlora"), note="left out: all weights train"),
        Key("lora_r", same("lora_rank"), ADAPTERS, also=("lora",)),
        Key("lora_alpha", whole("lora_alpha"), ADAPTERS, "a whole number"),
        Key("lora_dropout", same("lora_dropout"), ADAPTERS),
        Key("bits", same("quantization.bits"), KBIT),
        Key("quant_type", same("quantization.kind"), KBIT),
        Key("double_quant", same("quantization.double"), KBIT),
    ),
    *section(
        "data",
        Key("data_path", file("data.train.0.path"), note="one JSON list"),
        Key(
            "image_folder",
            one_way(_folder, "data.train", because="a folder does not name the file in it"),
            note="the folder of data_path",
        ),
        Key("image_size_aux", side(), note="pixels a side; data.image.max_pixels is its square"),
        Key("image_grid", _cut("grid"), note="2 for the HD models"),
        Key("image_global", _cut("overview")),
        Key(
            "image_aspect_ratio",
            constant("pad", "data.train"),
            INSTRUCTS,
            "pictures stay whole; the first stage cuts squares out of their middle",
        ),
        Key("model_max_length", same("max_length"), note="tokens of pictures count", also=("overlong",)),
        Key("dataloader_num_workers", same("dataloader_workers")),
    ),
    *section(
        "training",
        Key("deepspeed", constant("ds_config.json", "sharding").citing("sharding"), note="the JSON of mfc's own"),
        Key("bf16", flag("precision", "bf16")),
        Key("fp16", flag("precision", "fp16")),
        Key("gradient_checkpointing", same("gradient_checkpointing"), note="of the language model's layers alone"),
        Key("per_device_train_batch_size", same("micro_batch")),
        Key("gradient_accumulation_steps", same("gradient_accumulation"), also=("batch_size",)),
        Key("learning_rate", same("learning_rate")),
        Key("lr_multi", multiples(), given("projector_learning_rate"), "projector_learning_rate / learning_rate"),
        Key("num_train_epochs", same("epochs"), given("epochs")),
        Key("max_steps", same("max_steps"), given("max_steps")),
        Key("lr_scheduler_type", SCHEDULER, note="constant with a warm-up has a name of its own"),
        Key("warmup_ratio", same("warmup"), WARMUP_SHARE),
        Key("warmup_steps", same("warmup"), WARMUP_STEPS),
        Key("weight_decay", same("weight_decay")),
        Key("max_grad_norm", same("max_grad_norm"), note="the JSON's gradient_clipping is what clips"),
        Key("optim", words("optimizer", OPTIMIZERS)),
        Key("adam_beta1", same("adam_beta1"), given("adam_beta1")),
        Key("adam_beta2", same("adam_beta2"), given("adam_beta2")),
        Key("adam_epsilon", same("adam_epsilon"), given("adam_epsilon")),
        Key("seed", same("seed")),
        Key("ddp_timeout", same("timeout_seconds"), note="seconds"),
    ),
    *section(
        "run",
        Key("output_dir", same("output_dir")),
        Key("save_strategy", saves(words("save_every", {"epoch": "epoch", "never": "no"}, rest="steps"))),
        Key("save_steps", same("save_every"), BY_STEPS),
        Key("save_total_limit", same("keep"), KEEPS_SOME),
        Key("logging_steps", same("log_every")),
        Key("report_to", single(same("report_to"))),
    ),
)

# Decisions that no flag carries.
ELSEWHERE = {
    **dict.fromkeys(("lora", "quantization"), "its parts are flags of their own"),
    "lora_targets": "always the same linears: find_all_linear_names",
    "whole_parts": "beside adapters the projector always trains whole",
    "attention": "train_mem.py asks for flash attention, train.py for none",
    "existing": "train.sh looks for checkpoints before it starts",
    "preprocessing_workers": "rows are tokenized as they are loaded",
    "pictures": "a row holds one picture, or one that is black",
    "image_share": "a row of text gets a black picture of full size",
    "hardware.devices": "arguments of the launcher",
    **dict.fromkeys(("allocator", "cpu_threads"), "the environment that train.sh sets"),
}
