"""The keys of the demo's YAML, the arguments of its script, and the plan fields that they carry.

The YAML becomes a `FinetuningConfig`; `training_args` are the arguments of transformers' `Seq2SeqTrainingArguments`,
`peft_config` those of a PEFT config. Every level is a constructor, which refuses what it does not know. Source:
finetune.py at the commits of `forms.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.target.codecs import (
    Codec,
    Reader,
    Reading,
    Writing,
    constant,
    flag,
    items,
    one_way,
    only,
    path,
    reference,
    same,
    saves,
    whole,
    words,
)
from mfc.target.keys import Key, section
from mfc.target.launch import ALLOCATOR, DEVICES, THREADS
from mfc.target.schedules import FLOORED, SCHEDULER, WARMUP_SHARE, WARMUP_STEPS, scheduler_numbers
from mfc.target.values import adapted
from mfc.target.versions import before
from mfc.target.when import (
    ADAPTERS,
    BY_STEPS,
    DEEPSPEED,
    EVALUATES,
    EVALUATES_BY_STEPS,
    KEEPS_SOME,
    When,
    both,
    given,
    is_,
)

from . import data
from .forms import form

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
}
REPORTS = ("none", "tensorboard", "wandb", "mlflow")
_T, _P = "training_args.", "peft_config."
RENAMED = "4.41"  # transformers: evaluation_strategy became eval_strategy (training_args.py)


def _transformers(plan: Plan) -> str:
    return plan.profile.packages.get("transformers") or form(plan.profile.version).transformers


COMBINES = When(lambda plan: form(plan.profile.version).combines)
SWANLAB = When(lambda plan: form(plan.profile.version).swanlab)
KERNELS = When(lambda plan: "fused" in plan.profile.can("loss"))
OLD_NAMES = When(lambda plan: before(_transformers(plan), RENAMED))
NEW_NAMES = When(lambda plan: not before(_transformers(plan), RENAMED))
COPIES = both(is_("sharding", "ddp"), When(lambda plan: plan.strategy.world_size > 1))


def input_length() -> Codec:
    """Half of the tokens of a row, the larger one: the script cuts rows at both halves and one token more."""

    def read(value: Any, _: Reader) -> Reading:
        return {"max_length": (2 * value, 2 * value + 1)}

    return Codec(("max_length",), lambda at: at.value("max_length") // 2, read)


def output_length() -> Codec:
    """The other half."""

    def read(value: Any, _: Reader) -> Reading:
        return {"max_length": (2 * value + 1, 2 * value + 2)}

    return Codec(("max_length",), lambda at: (at.value("max_length") - 1) // 2, read)


def targets() -> Codec:
    """Names of the linears that get adapters, which differ between the families: query_key_value, or q_proj and on."""

    def write(at: Writing) -> list[str]:
        lora = at.plan.strategy.lora
        assert lora is not None
        return adapted(at.plan) if lora.targets in ("all-linear", "attention", "mlp") else lora.targets.split(",")

    def read(value: Any, _: Reader) -> Reading:
        return {"lora_targets": (",".join(value), "all-linear", "attention", "mlp")}

    return Codec(("lora_targets",), write, read)


def schedule_numbers() -> Codec:
    """Where a schedule ends: read beside the other training arguments."""
    made = scheduler_numbers(stable=False)

    def read(value: Any, reader: Reader) -> Reading:
        return made.read(value, reader._replace(data=reader.data["training_args"]))

    return made._replace(read=read)


DATA = section(
    "data_config",
    Key(
        "data_config.train_file",
        one_way(data.train_file, "data.train", because="its folder is an argument of the script"),
        note="a name inside DATA_DIR",
    ),
    Key(
        "data_config.val_file",
        one_way(data.eval_file, "data.eval", because="its folder is an argument of the script"),
        EVALUATES,
        "a name inside DATA_DIR",
    ),
    Key("data_config.num_proc", same("preprocessing_workers"), note="of each rank: every one prepares all rows"),
)

ROWS = (
    Key("max_input_length", input_length(), note="both halves and one more are the row", also=("overlong",)),
    Key("max_output_length", output_length()),
    Key("combine", constant(False, "data.train"), COMBINES, "false: every answer is learnt, not the last one alone"),
    Key("freezeV", constant(True, "data.train"), COMBINES, "of GLM-4V's tower; finetune.py asks for it and ignores it"),
    Key("swanlab", words("report_to", {"swanlab": "cloud"}, rest="disabled"), SWANLAB),
)

TRAINING = section(
    "training_args",
    Key(_T + "output_dir", same("output_dir")),
    Key(_T + "bf16", flag("precision", "bf16"), note="always: without it ZeRO-3 loads the model in fp32"),
    Key(_T + "gradient_checkpointing", same("gradient_checkpointing")),
    Key(
        _T + "gradient_checkpointing_kwargs.use_reentrant",
        constant(False, "gradient_checkpointing"),
        is_("gradient_checkpointing", True),
        "otherwise adapters get no gradient: nothing before them trains",
    ),
    Key(_T + "use_liger_kernel", flag("loss", "fused"), KERNELS, "fused: true"),
    Key(_T + "per_device_train_batch_size", same("micro_batch")),
    Key(_T + "gradient_accumulation_steps", same("gradient_accumulation"), also=("batch_size",)),
    Key(_T + "learning_rate", same("learning_rate")),
    Key(_T + "num_train_epochs", same("epochs"), given("epochs")),
    Key(_T + "max_steps", same("max_steps"), given("max_steps")),
    Key(_T + "lr_scheduler_type", SCHEDULER, note="constant with a warm-up has a name of its own"),
    Key(_T + "lr_scheduler_kwargs", schedule_numbers(), FLOORED),
    Key(_T + "warmup_ratio", same("warmup"), WARMUP_SHARE),
    Key(_T + "warmup_steps", same("warmup"), WARMUP_STEPS),
    Key(_T + "weight_decay", same("weight_decay")),
    Key(_T + "max_grad_norm", same("max_grad_norm")),
    Key(_T + "optim", words("optimizer", OPTIMIZERS)),
    Key(_T + "adam_beta1", same("adam_beta1")),
    Key(_T + "adam_beta2", same("adam_beta2")),
    Key(_T + "adam_epsilon", same("adam_epsilon")),
    Key(_T + "seed", same("seed")),
    Key(_T + "dataloader_num_workers", same("dataloader_workers")),
    Key(_T + "remove_unused_columns", constant(False, "data.train"), note="otherwise output_ids would be dropped"),
    Key(_T + "ddp_timeout", same("timeout_seconds"), note="seconds"),
    Key(_T + "ddp_find_unused_parameters", constant(False, "sharding"), COPIES, "every adapter is used in every step"),
    Key(
        _T + "deepspeed",
        constant("ds_config.json", "sharding").citing("sharding"),
        DEEPSPEED,
        "the JSON of target deepspeed, without its optimizer and scheduler",
    ),
    Key(_T + "save_strategy", saves(words("save_every", {"epoch": "epoch"}, rest="steps"))),
    Key(_T + "save_steps", same("save_every"), BY_STEPS),
    Key(_T + "save_total_limit", same("keep"), KEEPS_SOME),
    Key(_T + "logging_steps", same("log_every")),
    Key(_T + "report_to", same("report_to")),
    Key(_T + "per_device_eval_batch_size", same("eval_micro_batch"), EVALUATES, "answers are generated"),
    Key(
        _T + "evaluation_strategy",
        words("eval_every", {"epoch": "epoch"}, rest="steps"),
        both(EVALUATES, OLD_NAMES),
        "transformers before 4.41",
        also=("data.eval",),
    ),
    Key(
        _T + "eval_strategy",
        words("eval_every", {"epoch": "epoch"}, rest="steps"),
        both(EVALUATES, NEW_NAMES),
        "transformers 4.41 and later",
        also=("data.eval",),
    ),
    Key(_T + "eval_steps", same("eval_every"), both(EVALUATES, EVALUATES_BY_STEPS)),
    Key(_T + "predict_with_generate", constant(True, "data.eval"), EVALUATES, "the script evaluates in no other way"),
    Key(
        _T + "generation_config.max_new_tokens",
        reference("max_output_length", "max_length"),
        note="always written: the script unpacks generation_config without a look",
    ),
)

ADAPTER = section(
    "peft_config",
    Key(_P + "peft_type", words("method", {"lora": "LORA"}), ADAPTERS, "left out: all weights train"),
    Key(_P + "task_type", constant("CAUSAL_LM", "method"), ADAPTERS),
    Key(_P + "r", same("lora_rank"), ADAPTERS),
    Key(_P + "lora_alpha", whole("lora_alpha"), ADAPTERS, "a whole number"),
    Key(_P + "lora_dropout", same("lora_dropout"), ADAPTERS),
    Key(_P + "target_modules", targets(), ADAPTERS, "by name, as the family calls them"),
    Key(_P + "use_rslora", only("lora_variant", "rslora"), ADAPTERS),
    Key(_P + "use_dora", only("lora_variant", "dora"), ADAPTERS),
    Key(_P + "modules_to_save", items("modules_to_save"), ADAPTERS),
)

KEYS: tuple[Key, ...] = (*DATA, *ROWS, *TRAINING, *ADAPTER)

ARGUMENTS = section(
    "arguments",
    Key("data_dir", one_way(data.data_dir, "data.train", because="a folder does not name the files in it")),
    Key("model_dir", path("model.id")),
    Key("config_file", constant("train.yaml", "data.train")),
    Key("auto_resume_from_checkpoint", words("existing", {"resume": "yes"}), is_("existing", "resume")),
)
ENVIRONMENT = section("environment", DEVICES, ALLOCATOR, THREADS)

# Plan fields that no key of any file carries, and where they are instead.
ELSEWHERE = {"lora": "its parts are keys of their own"}
