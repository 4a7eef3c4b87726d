"""ms-swift's flags and the plan fields they carry; each is a flag of `swift sft|pt|rlhf` and a key of its config file.

Everything that decides a result is written: several of ms-swift's defaults are not what its users expect (an
accumulation that depends on the GPUs, the model's whole context as the length), and some differ between its versions.
Source: swift/arguments and swift/trainers/arguments.py of ms-swift 4.6.0; 3.12 has the same names but `train_type`.
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
    doubled,
    either,
    file,
    flag,
    items,
    one_way,
    path,
    reference,
    same,
    saves,
    single,
    whole,
    words,
)
from mfc.target.keys import Key, section
from mfc.target.schedules import FLOORED, SCHEDULER, WARMUP_SHARE, WARMUP_STEPS, as_json, scheduler_numbers
from mfc.target.values import adapted
from mfc.target.versions import before
from mfc.target.when import (
    ADAPTERS,
    DEEPSPEED,
    EVALUATES,
    EVALUATES_A_FILE,
    EVALUATES_BY_STEPS,
    KEEPS_SOME,
    PICTURES,
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

from . import data, pictures
from .rlhf import PREFERENCE, ROLLOUT, rolled

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

ATTENTION = {"flash": "flash_attn", "flash3": "flash_attention_3", "sdpa": "sdpa", "eager": "eager"}
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
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
_OTHER_ATTENTION = {"flash_attention_2": "flash", "flash": "flash"}
FSDP = "fsdp.json"

_LOADED_BY = words("quantization.kind", {"nf4": "bnb", "fp4": "bnb", "int8": "bnb", "hqq": "hqq", "eetq": "eetq"})
_FOUR_BIT = quantised("nf4", "fp4")
_FSDP2 = is_("sharding", "fsdp2")


def _is_old(plan: Plan) -> bool:
    return before(plan.profile.version, "4")


def _keeps_fp32(plan: Plan) -> bool:
    return (plan.strategy.precision, plan.strategy.method) == ("fp16", "full")


_OLD, _NEW = When(_is_old), When(lambda plan: not _is_old(plan))


def weights() -> Codec:
    """The type that weights are loaded in. Full training in fp16 trains fp32 weights: fp16 ones end in NaN."""
    plain = words("precision", DTYPES)

    def write(at: Writing) -> Any:
        return "float32" if _keeps_fp32(at.plan) else plain.write(at)

    def read(word: Any, reader: Reader) -> Reading:
        return {"precision": ("fp16", "fp32")} if word == "float32" else plain.read(word, reader)

    def cites(plan: Plan) -> tuple[str, ...]:
        return () if _keeps_fp32(plan) else ("precision",)

    return Codec(("precision",), write, read, cites=cites)


def tuner() -> Codec:
    """The method: lora_llm is adapters in the language model beside a tower and a projector that train whole."""
    plain = words("method", {"lora": "lora", "qlora": "lora", "full": "full"})

    def write(at: Writing) -> Any:
        return "lora_llm" if at.value("whole_parts") else plain.write(at)

    def read(word: Any, reader: Reader) -> Reading:
        if word != "lora_llm":
            return plain.read(word, reader)
        return {"method": ("lora", "qlora"), "whole_parts": pictures.BESIDE}

    return Codec(("method", "whole_parts"), write, read, cites=lambda _: ("method",))


def targets() -> Codec:
    """Names of the linears that get adapters; ms-swift finds all of them itself."""

    def write(at: Writing) -> list[str]:
        lora = at.plan.strategy.lora
        assert lora is not None
        if lora.targets not in ("attention", "mlp"):
            return lora.targets.split(",")
        return adapted(at.plan)

    def read(names: Any, _: Reader) -> Reading:
        families = () if names == ["all-linear"] else ("attention", "mlp")  # whose names depend on the model
        return {"lora_targets": (",".join(names), *families)}

    return Codec(("lora_targets",), write, read)


def tower_checkpointing() -> Codec:
    """Whether the vision tower computes its activations again: where it trains."""

    def write(at: Writing) -> bool:
        return at.value("gradient_checkpointing") and "vision" not in at.value("freeze_parts")

    def cites(plan: Plan) -> tuple[str, ...]:
        kept_out = plan.strategy.gradient_checkpointing and "vision" in plan.strategy.freeze_parts
        return ("freeze_parts",) if kept_out else (field,)

    field = "gradient_checkpointing"
    return Codec((field,), write, lambda value, _: {field: (True,)} if value else {}, cites=cites)


def _read_bits(bits: Any) -> Reading:
    """Whether adapters train on a quantised base is said by these bits, and they leave few formats."""
    kinds = {4: ("nf4", "fp4", "hqq", "eetq"), 8: ("int8", "hqq", "eetq")}
    return {"method": ("qlora",), **({"quantization.kind": kinds[bits]} if bits in kinds else {})}


_SAVES = words("save_every", {"epoch": "epoch"}, rest="steps")
_PACE = words("eval_every", {"epoch": "epoch"}, rest="steps")
NEVER = (
    10**9
)  # steps: no run has as many, and the last step saves; with the strategy "no" ms-swift saves nothing at all


def evaluation() -> Codec:
    """When the run evaluates, if ever."""

    def write(at: Writing) -> Any:
        return _PACE.write(at) if EVALUATES(at.plan) else "no"

    def read(word: Any, reader: Reader) -> Reading:
        return {"data.eval": (None, "none", 0.0)} if word == "no" else _PACE.read(word, reader)

    def cites(plan: Plan) -> tuple[str, ...]:
        return ("eval_every",) if EVALUATES(plan) else ()

    return Codec(("data.eval", "eval_every"), write, read, cites=cites)


def save_steps() -> Codec:
    """Steps between checkpoints."""

    def write(at: Writing) -> Any:
        every = at.value("save_every")
        return NEVER if every == "never" else every

    return Codec(("save_every",), write, lambda steps, _: {"save_every": ("never",) if steps == NEVER else (steps,)})


MODEL = section(
    "model",
    Key("model", path("model.id")),
    Key("model_revision", same("model.revision"), given("model.revision")),
    Key("model_type", same("model_type"), given("model_type"), "ms-swift's own name of the family"),
    Key("use_hf", flag("hub", "huggingface"), note="ms-swift's own default is ModelScope"),
    Key("torch_dtype", weights(), note="full training in fp16 keeps fp32 weights"),
    Key("attn_impl", words("attention", ATTENTION, others=_OTHER_ATTENTION)),
    Key("template", same("template"), given("template")),
    Key("system", same("system"), SYSTEM, "left out: the template's own"),
    Key("adapters", single(path("model.adapter")), given("model.adapter")),
    Key("max_pixels", same("image_max_pixels"), PICTURES, "also as MAX_PIXELS or IMAGE_MAX_TOKEN_NUM"),
)

_TUNERS = tuner()
_PLAIN = When(lambda plan: not pictures.NAMED(plan))
_BESIDE = When(lambda plan: plan.strategy.task == "reward" or bool(plan.values["modules_to_save"]))

METHOD = section(
    "method",
    Key("tuner_type", _TUNERS, _NEW, "qlora is lora on quantised weights"),
    Key("train_type", _TUNERS, _OLD, "the name of tuner_type in 3.x"),
    Key("lora_rank", same("lora_rank"), ADAPTERS),
    Key("lora_alpha", whole("lora_alpha"), ADAPTERS, "ms-swift's default is 32 at any rank"),
    Key("lora_dropout", same("lora_dropout"), ADAPTERS),
    Key("target_modules", targets(), both(ADAPTERS, _PLAIN), "attention and mlp become the family's names"),
    Key(
        "target_regex",
        Codec(("lora_targets", "freeze_parts"), pictures.pattern, pictures.read_pattern),
        pictures.NAMED,
        "names of a model with a tower: those of frozen parts are left out",
    ),
    Key("use_rslora", flag("lora_variant", "rslora"), ADAPTERS),
    Key("use_dora", flag("lora_variant", "dora"), ADAPTERS),
    Key("modules_to_save", items("modules_to_save"), ADAPTERS),
    Key(
        "lora_dtype",
        words("precision", DTYPES),
        both(ADAPTERS, is_("sharding", "zero3"), _BESIDE),
        "PEFT makes adapters fp32, and under ZeRO-3 all that trains has to have one type",
        also=("sharding",),
    ),
    Key("quant_method", _LOADED_BY, quantised(), "without it quant_bits is ignored in silence", ("quantization",)),
    Key("quant_bits", same("quantization.bits").telling(_read_bits), quantised(), also=("quantization",)),
    Key("bnb_4bit_quant_type", same("quantization.kind"), _FOUR_BIT, also=("quantization",)),
    Key("bnb_4bit_use_double_quant", same("quantization.double"), _FOUR_BIT, also=("quantization",)),
    Key("bnb_4bit_compute_dtype", words("precision", DTYPES), _FOUR_BIT),
    Key("freeze_llm", contains("freeze_parts", "language"), PICTURES),
    Key("freeze_vit", contains("freeze_parts", "vision"), PICTURES),
    Key("freeze_aligner", contains("freeze_parts", "projector"), PICTURES),
    Key("vit_lr", same("vision_learning_rate"), given("vision_learning_rate")),
    Key("aligner_lr", same("projector_learning_rate"), given("projector_learning_rate")),
)

DATA = section(
    "data",
    Key(
        "dataset", one_way(data.training, "data.train", because="a path and a hub id look alike, and no format is said")
    ),
    Key("columns", one_way(data.columns, "data.train", because="sets of several formats share them"), data.PLAIN),
    Key(
        "custom_dataset_info",
        constant([data.INFO], "data.train"),
        data.DESCRIBED,
        "where data sets rename columns or roles, or name a split",
    ),
    Key(
        "interleave_prob",
        one_way(data.shares, "data.train", because="shares add up to one, whatever the weights were"),
        WEIGHTED_SETS,
    ),
    Key(
        "stopping_strategy",
        constant("all_exhausted", "data.train"),
        WEIGHTED_SETS,
        "until every set has been seen; ms-swift's default stops at the first that ends",
    ),
    Key("val_dataset", single(file("data.eval")), EVALUATES_A_FILE),
    Key("split_dataset_ratio", Codec(("data.eval",), data.held_out, data.read_held_out)),
    Key(
        "max_length",
        rolled(same("max_length"), same("max_prompt_length")),
        note="the prompt's in GRPO; left out it is the model's whole context",
    ),
    Key(
        "truncation_strategy",
        rolled(
            words("overlong", {"truncate": "right", "drop": "delete"}),
            words("overlong", {"truncate": "left", "drop": "delete"}),
        ),
        note="drop: delete; ms-swift's default",
    ),
    Key(
        "packing",
        same("packing"),
        task("sft", "pretrain", "dpo", "kto", "grpo"),
        "GRPO: the answers of a micro-batch lie end to end (padding_free)",
    ),
    Key(
        "packing_length",
        either(same("max_length"), doubled("max_length"), task("dpo"), "rlhf_type", "dpo"),
        both(task("sft", "pretrain", "dpo", "kto"), is_("packing", True)),
        "DPO: both answers of a pair share the row",
    ),
    Key("dataset_num_proc", same("preprocessing_workers")),
    Key("dataloader_num_workers", same("dataloader_workers")),
)

TRAIN = section(
    "train",
    Key("per_device_train_batch_size", same("micro_batch")),
    Key(
        "gradient_accumulation_steps",
        same("gradient_accumulation"),
        note="left out it depends on the number of GPUs",
        also=("batch_size",),
    ),
    Key("learning_rate", same("learning_rate")),
    Key("lr_scheduler_type", SCHEDULER),
    Key("lr_scheduler_kwargs", as_json(scheduler_numbers(stable=False)), FLOORED, "JSON"),
    Key("warmup_ratio", same("warmup"), WARMUP_SHARE),
    Key("warmup_steps", same("warmup"), WARMUP_STEPS),
    Key("num_train_epochs", same("epochs"), given("epochs")),
    Key("max_steps", same("max_steps"), given("max_steps")),
    Key("optim", words("optimizer", OPTIMIZERS, others=_OTHER_OPTIMIZERS)),
    Key("adam_beta1", same("adam_beta1")),
    Key("adam_beta2", same("adam_beta2"), note="ms-swift's default is 0.95"),
    Key("adam_epsilon", same("adam_epsilon")),
    Key("weight_decay", same("weight_decay"), note="ms-swift's default is 0.1"),
    Key("max_grad_norm", same("max_grad_norm")),
    Key("bf16", flag("precision", "bf16")),
    Key("fp16", flag("precision", "fp16"), note="float32 weights alone would turn it on"),
    Key(
        "gradient_checkpointing",
        either(same("gradient_checkpointing"), constant(False, "gradient_checkpointing"), _FSDP2, "fsdp", FSDP),
        note="on by default; under FSDP2 its own takes over",
    ),
    Key("vit_gradient_checkpointing", tower_checkpointing(), PICTURES),
    Key("use_liger_kernel", flag("loss", "fused")),
    Key("sequence_parallel_size", same("sequence_parallel"), task("sft", "pretrain", "dpo", "grpo")),
    Key(
        "deepspeed",
        constant("ds_config.json", "sharding", "offload_optimizer", "offload_parameters").citing("sharding"),
        DEEPSPEED,
        "the JSON of target deepspeed",
    ),
    Key("fsdp", constant(FSDP, "sharding", "offload_parameters", "offload_optimizer").citing("sharding"), _FSDP2),
    Key("seed", same("seed")),
    Key("data_seed", same("seed")),
    Key("ddp_timeout", same("timeout_seconds"), note="seconds; ms-swift's default is 208 days"),
)

OUTPUT = section(
    "output",
    Key("output_dir", same("output_dir")),
    Key("add_version", constant(False, "output_dir"), note="ms-swift would add a folder named by version and time"),
    Key("save_strategy", saves(_SAVES)),
    Key("save_steps", save_steps(), is_not("save_every", "epoch"), f"never: {NEVER}, and the model at the end"),
    Key("save_total_limit", same("keep"), KEEPS_SOME),
    Key("logging_steps", same("log_every")),
    Key("report_to", single(same("report_to")), note="ms-swift's default is tensorboard"),
    Key("eval_strategy", evaluation()),
    Key("eval_steps", same("eval_every"), both(EVALUATES, EVALUATES_BY_STEPS), also=("data.eval",)),
    Key(
        "per_device_eval_batch_size",
        either(
            same("eval_micro_batch"), reference("num_generations", "num_generations"), task("grpo"), "rlhf_type", "grpo"
        ),
        EVALUATES,
        "in GRPO num_generations, which has to divide it",
    ),
)

KEYS: tuple[Key, ...] = (*MODEL, *METHOD, *DATA, *TRAIN, *PREFERENCE, *ROLLOUT, *OUTPUT)

# Plan fields that no key of any file carries, and where they are said.
ELSEWHERE = {
    "image_share": "the data: how many rows hold images",
    "pictures": "the data: how many images a row holds",
    "existing": "train.sh looks for checkpoints before it starts",
    "lora": "its parts are flags of their own",
    "preference_loss": "rlhf_type, where it has one loss",
    "reference_model": "it follows from rlhf_type and tuner_type",
    "rollout": "its parts are flags of their own",
    "rollout_gpus": "vllm_mode, and the GPUs that each script sees",
    "rollout_share": "its parts are flags of their own",
}
