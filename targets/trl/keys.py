"""TRL's YAML keys and the plan fields they carry: one flat file for each command.

Everything that decides a result is written, never left to a default: TRL's differ from transformers' (checkpointing is
on, lengths are cut at 1024, models are loaded in fp32, DPO and KTO switch dropout off). Source: trainer/*_config.py
and scripts/utils.py of TRL 1.16.0, training_args.py of transformers 5.23.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mfc.target.codecs import (
    LEFT_OUT,
    Codec,
    Reader,
    Reading,
    Unwritten,
    Writing,
    constant,
    either,
    flag,
    items,
    one_way,
    path,
    reference,
    same,
    saves,
    whole,
    words,
)
from mfc.target.keys import Key, section
from mfc.target.launch import ALLOCATOR, THREADS
from mfc.target.schedules import FLOORED, SCHEDULER, scheduler_numbers
from mfc.target.values import adapted
from mfc.target.when import (
    ADAPTERS,
    BY_STEPS,
    EVALUATES,
    EVALUATES_BY_STEPS,
    KEEPS_SOME,
    When,
    both,
    given,
    is_,
    quantised,
    task,
)

from . import data
from .rollout import GRPO, ROLLOUT

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

COMMANDS = {"sft": "sft", "pretrain": "sft", "dpo": "dpo", "kto": "kto", "reward": "reward", "grpo": "grpo"}
ATTENTION = {"sdpa": "sdpa", "eager": "eager", "flash": "flash_attention_2", "flash3": "flash_attention_3"}
OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
}
# What it takes by other words for the same.
_OTHER_OPTIMIZERS = {
    **dict.fromkeys(("adamw_torch", "adamw_apex_fused", "adamw_torch_npu_fused", "adamw_hf"), "adamw"),
    "adamw_bnb_8bit": "adamw_8bit",
    "paged_adamw": "paged_adamw",
}
_HALF = {"bf16": "bfloat16", "pure_bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
# Families whose code is in their own repository, not in transformers.
_REMOTE_CODE = ("baichuan", "chatglm", "internlm2", "internlm3", "minicpm", "minicpm3", "qwen")


def keeps_fp32(plan: Plan) -> bool:
    """Whether weights that train are fp32 under autocast: nothing else keeps a master copy of them."""
    strategy = plan.strategy
    mixed = strategy.precision in ("bf16", "fp16") and strategy.sharding == "ddp"
    return mixed and strategy.method == "full"


def _dtype() -> Codec:
    """The type that weights are loaded in. DeepSpeed and FSDP make fp32 copies of what trains by themselves."""

    def write(at: Writing) -> str:
        return "float32" if keeps_fp32(at.plan) else _HALF[at.value("precision")]

    def read(word: Any, _: Reader) -> Reading:
        found = tuple(name for name, said in _HALF.items() if said == word)
        if not found:
            raise Unwritten(f"{word!r} is none of {', '.join(dict.fromkeys(_HALF.values()))}")
        return {"precision": (*found, "bf16", "fp16") if word == "float32" else found}

    return Codec(("precision",), write, read, cites=lambda plan: () if keeps_fp32(plan) else ("precision",))


def _targets() -> Codec:
    """Names of the linears that get adapters; PEFT finds all of them itself."""

    def write(at: Writing) -> list[str]:
        lora = at.plan.strategy.lora
        assert lora is not None
        return adapted(at.plan) if lora.targets in ("attention", "mlp") else lora.targets.split(",")

    def read(names: Any, _: Reader) -> Reading:
        families = () if names == ["all-linear"] else ("attention", "mlp")  # whose names depend on the model
        return {"lora_targets": (",".join(names), *families)}

    return Codec(("lora_targets",), write, read)


def _loss() -> Codec:
    """The loss of DPO in a list, of KTO, and of GRPO, where TRL's own default is DAPO's."""

    def write(at: Writing) -> Any:
        if at.value("task") == "grpo":
            return at.value("loss_type") or "grpo"
        return [at.value("preference_loss")] if at.value("task") == "dpo" else at.value("preference_loss")

    def read(value: Any, _: Reader) -> Reading:
        if isinstance(value, list):
            return {"preference_loss": tuple(value)}
        if value == "kto":
            return {"preference_loss": ("kto",)}
        return {"loss_type": (value, None) if value == "grpo" else (value,)}

    def cites(plan: Plan) -> tuple[str, ...]:
        return ("loss_type",) if plan.strategy.task == "grpo" else ("preference_loss",)

    return Codec(("preference_loss", "loss_type"), write, read, cites=cites)


def _quantised(*kinds: str) -> Callable[[Any], Reading]:
    """Adapters on a quantised base: what a switch that is on tells besides the bits."""
    return lambda on: {"method": ("qlora",), "quantization.kind": kinds} if on else {}


def _devices(at: Writing) -> Any:
    """The GPUs that train, where these are not all."""
    return ",".join(map(str, at.plan.problem.hardware.devices)) or LEFT_OUT


def _has_remote_code(plan: Plan) -> bool:
    return plan.problem.model.architecture.family in _REMOTE_CODE


def _drops_out(plan: Plan) -> bool:
    return plan.strategy.lora is not None and plan.strategy.lora.dropout > 0


_FOUR_BIT = quantised("nf4", "fp4")
_SHARDED = is_("sharding", "zero3")
_LEARNS_WORDS = task("sft", "pretrain", "dpo", "kto", "reward")  # commands with a max_length, and workers that tokenise

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
    Key("dtype", _dtype(), note="TRL's default is float32; full training on plain data parallelism keeps it"),
    Key("attn_implementation", words("attention", ATTENTION, others={"kernels-community/flash-attn": "flash"})),
    Key("use_peft", flag("method", "lora", "qlora"), note="false: all weights train"),
    Key("lora_r", same("lora_rank"), ADAPTERS),
    Key("lora_alpha", whole("lora_alpha"), ADAPTERS, "a whole number"),
    Key("lora_dropout", same("lora_dropout"), ADAPTERS, "TRL's default is 0.05"),
    Key(
        "disable_dropout",
        constant(False, "lora_dropout").citing("lora_dropout"),
        both(task("dpo", "kto", "reward"), When(_drops_out)),
        "TRL would switch that of adapters off as well",
    ),
    Key("lora_target_modules", _targets(), ADAPTERS, "attention and mlp become the family's names"),
    Key("lora_modules_to_save", items("modules_to_save"), ADAPTERS),
    Key(
        "lora_task_type",
        words("task", {"reward": "SEQ_CLS"}, rest="CAUSAL_LM"),
        ADAPTERS,
        "with any other, the head of a reward model is not saved",
    ),
    Key("use_rslora", flag("lora_variant", "rslora"), ADAPTERS),
    Key("use_dora", flag("lora_variant", "dora"), ADAPTERS),
    Key(
        "load_in_4bit",
        flag("quantization.bits", 4).telling(_quantised("nf4", "fp4")),
        quantised(),
        also=("quantization", "method"),
    ),
    Key(
        "load_in_8bit",
        flag("quantization.bits", 8).telling(_quantised("int8")),
        quantised(),
        also=("quantization", "method"),
    ),
    Key("bnb_4bit_quant_type", same("quantization.kind"), _FOUR_BIT, also=("quantization",)),
    Key("use_bnb_nested_quant", same("quantization.double"), _FOUR_BIT, also=("quantization",)),
    Key(
        "bnb_4bit_quant_storage",
        words("precision", _HALF),
        both(_FOUR_BIT, _SHARDED),
        "bytes cannot be split, numbers can",
    ),
)

DATA = section(
    "data",
    Key("datasets", one_way(data.training, "data.train", because="a builder and a data set on the hub look alike")),
    Key("test_split_size", same("data.eval"), EVALUATES, "a share, held out at random"),
    Key(
        "dataset_text_field",
        one_way(data.text_column, "data.train", because="the name of a column does not name the file"),
        task("pretrain"),
    ),
    Key(
        "max_length",
        same("max_length"),
        _LEARNS_WORDS,
        "TRL's default is 1024; GRPO has lengths of its own",
        ("overlong",),
    ),
    Key("assistant_only_loss", same("assistant_only_loss"), task("sft"), "TRL's default learns the questions too"),
    Key("packing", same("packing"), task("sft", "pretrain")),
    Key(
        "packing_strategy",
        words("task", {"sft": "bfd", "pretrain": "wrapped"}),
        both(task("sft", "pretrain"), is_("packing", True)),
        "bfd: samples of a row are kept apart; wrapped: texts run on",
    ),
    Key("dataset_num_proc", same("preprocessing_workers"), _LEARNS_WORDS),
    Key("dataloader_num_workers", same("dataloader_workers")),
)

TRAIN = section(
    "train",
    Key("per_device_train_batch_size", same("micro_batch"), note="TRL's default is 8"),
    Key("gradient_accumulation_steps", same("gradient_accumulation"), also=("batch_size",)),
    Key("learning_rate", same("learning_rate")),
    Key("num_train_epochs", same("epochs"), given("epochs")),
    Key("max_steps", same("max_steps"), given("max_steps")),
    Key("lr_scheduler_type", SCHEDULER, note="constant with a warm-up has a name of its own"),
    Key("lr_scheduler_kwargs", scheduler_numbers(stable=False), FLOORED),
    Key("warmup_steps", same("warmup"), note="below 1: a share of all steps"),
    Key("weight_decay", same("weight_decay")),
    Key("max_grad_norm", same("max_grad_norm")),
    Key("optim", words("optimizer", OPTIMIZERS, others=_OTHER_OPTIMIZERS)),
    Key("adam_beta1", same("adam_beta1")),
    Key("adam_beta2", same("adam_beta2")),
    Key("adam_epsilon", same("adam_epsilon")),
    Key("bf16", flag("precision", "bf16"), note="on by default; accelerate's mixed_precision is not used"),
    Key("fp16", flag("precision", "fp16")),
    Key("gradient_checkpointing", same("gradient_checkpointing"), note="on by default"),
    Key("activation_offloading", flag("offload_activations", "cpu"), _LEARNS_WORDS),
    Key("seed", same("seed")),
    Key("ddp_timeout", same("timeout_seconds"), note="seconds"),
)

PREFERENCE = section(
    "preference",
    Key("loss_type", _loss(), task("dpo", "kto", "grpo"), "in GRPO TRL's default is dapo"),
    Key(
        "beta",
        either(same("preference_beta"), same("kl_beta"), GRPO, "use_vllm", True, False),
        task("dpo", "kto", "grpo"),
        "in GRPO TRL's default is 0: no pull to the reference",
    ),
)

OUTPUT = section(
    "output",
    Key("output_dir", same("output_dir")),
    Key("save_strategy", saves(words("save_every", {"epoch": "epoch", "never": "no"}, rest="steps"))),
    Key("save_steps", same("save_every"), BY_STEPS),
    Key("save_total_limit", same("keep"), KEEPS_SOME),
    Key("logging_steps", same("log_every"), note="TRL's default is 10"),
    Key("report_to", same("report_to")),
    Key("eval_strategy", words("eval_every", {"epoch": "epoch"}, rest="steps"), EVALUATES, also=("data.eval",)),
    Key("eval_steps", same("eval_every"), both(EVALUATES, EVALUATES_BY_STEPS)),
    Key(
        "per_device_eval_batch_size",
        either(
            same("eval_micro_batch"), reference("num_generations", "num_generations"), GRPO, "use_vllm", True, False
        ),
        EVALUATES,
        "TRL's default is 8; in GRPO num_generations, which has to divide it",
    ),
)

KEYS: tuple[Key, ...] = (*MODEL, *DATA, *TRAIN, *PREFERENCE, *ROLLOUT, *OUTPUT)
ENVIRONMENT: tuple[Key, ...] = (
    Key(
        "CUDA_VISIBLE_DEVICES",
        one_way(_devices, "hardware.devices", because="a server that generates has GPUs that are not among these"),
    ),
    THREADS,
    ALLOCATOR,
)

# Plan fields that no key of any file carries, and where they are instead.
ELSEWHERE = {
    "existing": "launch.sh looks for checkpoints before it starts",
    "lora": "its parts are keys of their own",
    "loss": "TRL has a head of its own that never makes whole logits",
    "reference_model": "TRL makes it: a frozen copy, or the model without its adapters",
    "rollout": "its parts are keys of their own",
    "rollout_gpus": "vllm_mode, and the GPUs that each script sees",
    "rollout_share": "its parts are keys of their own",
    "max_prompt_length": "what the answer leaves of the model's length; nothing cuts prompts",
    "max_length": "GRPO: prompts as they are, and max_completion_length",
    "overlong": "GRPO cuts nothing",
    "preprocessing_workers": "GRPO tokenises as it goes",
    "eval_micro_batch": "GRPO evaluates whole groups of answers",
    "offload_activations": "GRPO has no such switch",
}
