"""LLaMA-Factory's YAML keys and the plan fields they carry, in the sections of its own examples.

Everything that decides a result is written, never left to a default. Not written: `gradient_checkpointing` (it would
turn checkpointing on again after `disable_gradient_checkpointing`), and keys that a supported transformers lacks.
Source: hparams/*_args.py of LLaMA-Factory 0.9.4 and 0.9.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.target.codecs import (
    Codec,
    Reader,
    Reading,
    Writing,
    constant,
    contains,
    flag,
    joined,
    negated,
    one_way,
    only,
    path,
    same,
    saves,
    share,
    text,
    whole,
    words,
)
from mfc.target.keys import Key, section
from mfc.target.launch import ALLOCATOR, DEVICES, GPU, NPU_ENVIRONMENT, THREADS
from mfc.target.schedules import FLOORED, SCHEDULER, WARMUP_SHARE, WARMUP_STEPS, scheduler_numbers
from mfc.target.values import adapted
from mfc.target.when import (
    ADAPTERS,
    BY_STEPS,
    DEEPSPEED,
    EVALUATES,
    EVALUATES_A_FILE,
    EVALUATES_A_SHARE,
    EVALUATES_BY_STEPS,
    KEEPS_SOME,
    PICTURES,
    SEVERAL_SETS,
    SYSTEM,
    WEIGHTED_SETS,
    When,
    both,
    given,
    is_,
    is_not,
    quantised,
    task,
)

from .. import accelerate
from . import data

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

_STAGES = {"pretrain": "pt", "sft": "sft", "reward": "rm", "kto": "kto"} | dict.fromkeys(
    ("dpo", "orpo", "simpo"), "dpo"
)
_TYPES = {"lora": "lora", "qlora": "lora", "full": "full", "freeze": "freeze"}
_ATTENTION = {"flash": "fa2", "flash3": "fa3", "sdpa": "sdpa", "eager": "disabled"}
_QUANTISERS = {**dict.fromkeys(("nf4", "fp4", "int8"), "bnb"), "hqq": "hqq", "eetq": "eetq"}
_OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
    **dict.fromkeys(
        ("galore", "apollo", "badam"), "adamw_torch"
    ),  # GaLore and APOLLO wrap it, and refuse the fused one
}
# What it starts by other words: without a name of an implementation, and its own choice where nothing is said.
_OTHER_OPTIMIZERS = {
    **dict.fromkeys(("adamw_torch", "adamw_apex_fused", "adamw_torch_npu_fused", "adamw_hf"), "adamw"),
    "adamw_8bit": "adamw_8bit",
    "paged_adamw": "paged_adamw",
}
_OTHER_ATTENTION = {"auto": "sdpa"}  # transformers' own choice: model/model_utils/attention.py changes nothing
# SwanLab comes with a switch of its own.
_REPORTS = {name: name for name in ("none", "tensorboard", "wandb", "mlflow", "trackio")} | {"swanlab": "none"}
# Families whose code is in their own repository, not in transformers.
_REMOTE_CODE = ("baichuan", "chatglm", "internlm2", "internlm3", "minicpm", "minicpm3", "qwen")


def _lora_target(at: Writing) -> str:
    """Names of the linears that get adapters; LLaMA-Factory finds all of them itself."""
    lora = at.plan.strategy.lora
    assert lora is not None
    if lora.targets == "all-linear":
        return "all"
    if lora.targets not in ("attention", "mlp"):
        return lora.targets
    return ",".join(adapted(at.plan))


def _read_lora_target(names: str, _: Reader) -> Reading:
    """Names are names; whether they are all of attention or mlp, only the model could tell."""
    return {"lora_targets": ("all-linear",) if names == "all" else (names, "attention", "mlp")}


def _read_bits(bits: Any) -> Reading:
    """Whether adapters train on a quantised base is said by these bits alone, and they leave few formats."""
    kinds = {4: ("nf4", "fp4", "hqq", "eetq"), 8: ("int8", "hqq", "eetq")}
    return {"method": ("qlora",), **({"quantization.kind": kinds[bits]} if bits in kinds else {})}


def _read_loss(loss: Any) -> Reading:
    """The loss tells tasks of one stage apart."""
    return {"task": (loss,) if loss in ("orpo", "simpo") else ("dpo",)}


def _has_remote_code(plan: Plan) -> bool:
    return plan.problem.model.architecture.family in _REMOTE_CODE


def _runs_torchrun(plan: Plan) -> bool:
    return (plan.strategy.world_size > 1 or plan.strategy.deepspeed) and not accelerate.FSDP(plan)


_QUANTISED = both(is_("method", "qlora"), quantised())
_BITSANDBYTES_4 = both(_QUANTISED, quantised("nf4", "fp4"))

MODEL = section(
    "model",
    Key("model_name_or_path", path("model.id")),
    Key("model_revision", same("model.revision"), given("model.revision")),
    Key(
        "trust_remote_code",
        constant(True, "model.id"),
        When(_has_remote_code),
        "for families whose code is not in transformers",
    ),
    Key("adapter_name_or_path", path("model.adapter"), given("model.adapter")),
    Key("create_new_adapter", only("model.adapter_mode", "merge"), given("model.adapter"), "adapter_mode: merge"),
    Key("flash_attn", words("attention", _ATTENTION, others=_OTHER_ATTENTION), note="eager: disabled"),
    Key("enable_liger_kernel", flag("loss", "fused"), note="fused: true"),
    Key(
        "disable_gradient_checkpointing",
        negated("gradient_checkpointing"),
        note="on by default in LLaMA-Factory, so it is its absence that is said",
    ),
    Key("use_unsloth_gc", flag("offload_activations", "cpu"), is_("offload_activations", "cpu")),
    Key(
        "quantization_bit",
        same("quantization.bits").telling(_read_bits),
        _QUANTISED,
        "not for checkpoints that are quantised already",
        also=("quantization",),
    ),
    Key(
        "quantization_method",
        words("quantization.kind", _QUANTISERS),
        _QUANTISED,
        "`bnb`; the older word `bitsandbytes` is ignored in silence since 0.9.3",
        also=("quantization",),
    ),
    Key("quantization_type", same("quantization.kind"), _BITSANDBYTES_4, also=("quantization",)),
    Key("double_quantization", same("quantization.double"), _BITSANDBYTES_4, also=("quantization",)),
    Key("image_max_pixels", same("image_max_pixels"), PICTURES),
    Key("video_max_pixels", same("image_max_pixels"), given("image_frames"), "of one frame"),
    Key("video_maxlen", same("image_frames"), given("image_frames"), "frames of a video"),
)

METHOD = section(
    "method",
    Key("stage", words("task", _STAGES), note="orpo, simpo: dpo"),
    Key("do_train", constant(True, "task")),
    Key("finetuning_type", words("method", _TYPES)),
    Key("lora_rank", same("lora_rank"), ADAPTERS),
    Key("lora_alpha", whole("lora_alpha"), ADAPTERS, "a whole number"),
    Key("lora_dropout", same("lora_dropout"), ADAPTERS),
    Key(
        "lora_target",
        Codec(("lora_targets",), _lora_target, _read_lora_target),
        ADAPTERS,
        "attention and mlp become the family's names",
    ),
    Key("use_rslora", only("lora_variant", "rslora"), ADAPTERS),
    Key("use_dora", only("lora_variant", "dora"), ADAPTERS),
    Key("additional_target", joined("modules_to_save"), ADAPTERS),
    Key("freeze_trainable_layers", same("trainable_layers"), is_("method", "freeze")),
    Key("freeze_vision_tower", contains("freeze_parts", "vision"), PICTURES),
    Key("freeze_multi_modal_projector", contains("freeze_parts", "projector"), PICTURES),
    Key("freeze_language_model", contains("freeze_parts", "language"), PICTURES),
    Key("pref_loss", same("preference_loss").telling(_read_loss), task("dpo", "orpo", "simpo")),
    Key("pref_beta", same("preference_beta"), given("preference_beta")),
    Key("simpo_gamma", same("preference_gamma"), given("preference_gamma")),
    Key(
        "ref_model",
        path("train.preference.reference"),
        is_not("train.preference.reference", "auto"),
        "otherwise the model itself: its adapters switched off, or a frozen copy",
        also=("reference_model",),
    ),
)

DATASET = section(
    "dataset",
    Key(
        "dataset",
        one_way(data.names, "data.train", because="dataset_info.json says what the names stand for"),
        note="names in dataset_info.json",
    ),
    Key("dataset_dir", constant(".", "data.train"), note="dataset_info.json lies beside the YAML"),
    Key(
        "media_dir",
        one_way(data.media_folder, "data.train", because="the folder of a file does not name the file"),
        PICTURES,
        "the folder of the data file",
    ),
    Key(
        "mix_strategy",
        one_way(data.mixture, "data.train", because="the word is the same for many mixtures"),
        SEVERAL_SETS,
    ),
    Key(
        "interleave_probs",
        one_way(data.shares, "data.train", because="shares are rounded, and weights may have any sum"),
        WEIGHTED_SETS,
    ),
    Key("template", same("template")),
    Key("default_system", same("system"), SYSTEM, "left out: the template's own"),
    Key("cutoff_len", same("max_length"), also=("overlong",)),
    Key("packing", same("packing")),
    Key("neat_packing", same("neat_packing"), task("sft"), "samples of a row do not see each other"),
    Key("preprocessing_num_workers", same("preprocessing_workers")),
    Key("dataloader_num_workers", same("dataloader_workers")),
)

OUTPUT = section(
    "output",
    Key("output_dir", same("output_dir")),
    Key(
        "overwrite_output_dir",
        flag("existing", "overwrite"),
        note="fail: launch.sh refuses to start; resume: LLaMA-Factory finds the checkpoint itself",
    ),
    Key("logging_steps", same("log_every")),
    Key(
        "save_strategy",
        saves(words("save_every", {"epoch": "epoch", "never": "no"}, rest="steps")),
        note="never: the model is saved at the end",
    ),
    Key("save_steps", same("save_every"), BY_STEPS),
    Key("save_total_limit", same("keep"), KEEPS_SOME),
    Key("report_to", words("report_to", _REPORTS)),
    Key("use_swanlab", only("report_to", "swanlab")),
)

TRAIN = section(
    "train",
    Key("per_device_train_batch_size", same("micro_batch"), note="LLaMA-Factory's default is 8"),
    Key("gradient_accumulation_steps", same("gradient_accumulation"), also=("batch_size",)),
    Key("learning_rate", same("learning_rate")),
    Key("num_train_epochs", same("epochs"), given("epochs")),
    Key("max_steps", same("max_steps"), given("max_steps")),
    Key("lr_scheduler_type", SCHEDULER, note="constant with a warm-up has a name of its own"),
    Key(
        "lr_scheduler_kwargs",
        scheduler_numbers(stable=True),
        FLOORED,
        "all steps are written: left out, LLaMA-Factory is stable for a third of the steps",
    ),
    Key("warmup_ratio", same("warmup"), WARMUP_SHARE),
    Key("warmup_steps", same("warmup"), WARMUP_STEPS),
    Key("weight_decay", same("weight_decay")),
    Key("max_grad_norm", same("max_grad_norm")),
    Key("optim", words("optimizer", _OPTIMIZERS, others=_OTHER_OPTIMIZERS)),
    Key("adam_beta1", same("adam_beta1")),
    Key("adam_beta2", same("adam_beta2")),
    Key("adam_epsilon", same("adam_epsilon")),
    Key("use_galore", only("optimizer", "galore")),
    Key("use_apollo", only("optimizer", "apollo")),
    Key("use_badam", only("optimizer", "badam")),
    Key("bf16", flag("precision", "bf16")),
    Key("fp16", flag("precision", "fp16")),
    Key("pure_bf16", only("precision", "pure_bf16")),
    Key("seed", same("seed")),
    Key("ddp_timeout", same("timeout_seconds"), note="seconds"),
    Key(
        "deepspeed",
        constant("ds_config.json", "sharding").citing("sharding"),
        DEEPSPEED,
        "the JSON of target deepspeed, without its optimizer and scheduler",
    ),
)

EVALUATION = section(
    "eval",
    Key("val_size", share("data.eval"), EVALUATES_A_SHARE),
    Key("eval_dataset", constant("eval", "data.eval"), EVALUATES_A_FILE),
    Key("per_device_eval_batch_size", same("eval_micro_batch"), EVALUATES, "LLaMA-Factory's default is 8"),
    Key("eval_strategy", words("eval_every", {"epoch": "epoch"}, rest="steps"), EVALUATES, also=("data.eval",)),
    Key("eval_steps", same("eval_every"), both(EVALUATES, EVALUATES_BY_STEPS)),
)

KEYS: tuple[Key, ...] = (*MODEL, *METHOD, *DATASET, *OUTPUT, *TRAIN, *EVALUATION)

# LLaMA-Factory starts torchrun where there is DeepSpeed or more than one GPU. Its launcher then lets memory segments
# grow unless OPTIM_TORCH is 0 (launcher.py); one process without it is left alone, and FSDP's are accelerate's.
TORCHRUN = When(_runs_torchrun)
_BY_CLI = is_not("sharding", "fsdp")
_ALONE = both(is_("sharding", "ddp", "fsdp"), When(lambda plan: not _runs_torchrun(plan)))

ENVIRONMENT: tuple[Key, ...] = (
    DEVICES,
    Key("USE_MODELSCOPE_HUB", words("hub", {"modelscope": "1"}), is_("hub", "modelscope")),
    Key("FORCE_TORCHRUN", constant("1", "sharding"), TORCHRUN),
    Key("NNODES", text("hardware.nodes"), both(_BY_CLI, is_not("hardware.nodes", 1))),
    Key("NPROC_PER_NODE", text("hardware.count"), _BY_CLI),
    THREADS,
    Key("OPTIM_TORCH", constant("0", "allocator").citing("allocator"), both(TORCHRUN, is_("allocator", ""))),
    ALLOCATOR._replace(when=both(_ALONE, GPU, given("allocator"))),
    *NPU_ENVIRONMENT,
)

# Plan fields that no key of any file carries, and where they are instead.
ELSEWHERE = {
    "image_share": "the data: how many rows hold images",
    "pictures": "the data: how many images a row holds",
    "lora": "its parts are keys of their own",
    "preference_loss": "the stage, where it has one loss",
    "reference_model": "it follows from the stage and the method",
}
