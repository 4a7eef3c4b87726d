"""What mfc knows of each field of a plan: one row per field, from which every list of fields is read.

A field is what a rule derives, what the search chooses, or what a spec says of the run (`task`). The rules of a target
may derive fields of its own; a field without a row is a plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any, NamedTuple

Given = Mapping[str, Any]  # what is known of a plan: the facts of its problem and every field that is decided


class Anything(tuple[Any, ...]):
    """The values of a field whose values nobody can list: every value is among them."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        return True


ANYTHING = Anything()


class Applies(NamedTuple):
    """Where there is something to decide about a field, and how to say so after "only"."""

    test: Callable[[Given], bool]
    said: str


ALWAYS = Applies(lambda _: True, "")


class Field(NamedTuple):
    """One field. Its place in `FIELDS` is the order in which the search chooses and reports list."""

    name: str
    path: str = ""  # where the spec says it; empty: it follows from the rest
    open: bool = False  # the spec may leave it to mfc there: by `auto`, or by a range
    section: bool = False  # `path` is a whole section, of which a rule makes the field
    candidates: tuple[Any, ...] | None = None  # what the search tries where it is open, simplest first; None: derived
    machinery: Mapping[Any, int] = {}  # what a value needs beyond plain training, for ties; values not named: 1
    relaxed: int = 0  # its turn when pins are loosened because nothing fits; 0: never, for it changes results
    meaning: bool = False  # part of what the user means, so the same on every framework
    result: bool = False  # it can change the outcome of training, so a report shows what mfc chose
    values: tuple[Any, ...] = ANYTHING  # all that there are
    neutral: tuple[Any, ...] | None = None  # what a target that says nothing of it can say; None: it need not say
    applies: Applies = ALWAYS  # elsewhere, as where it is None, there is nothing to decide
    compared: bool = True  # false: a framework's own word, or what other fields say
    speaks: bool = False  # its values say what they are: zero3, qlora
    decided: bool = True  # false: only asked of a target, no plan has it


def _under(*shardings: str) -> Applies:
    return Applies(lambda given: given["sharding"] in shardings, f"under {' and '.join(shardings)}")


def _for(*tasks: str) -> Applies:
    return Applies(lambda given: given["task"] in tasks, f"for task {' and '.join(tasks)}")


_ADAPTERS = Applies(lambda given: given["method"] in ("lora", "qlora"), "with adapters: method lora and qlora")
_MOMENTS = Applies(lambda given: given["optimizer"] != "sgd", "for optimizers with moments")
_ADAM = Applies(lambda given: given["optimizer"] not in ("sgd", "lion"), "for the Adams")
_LOADING = Applies(lambda given: not given["quantization"].pre, "for a model that is quantised as it loads")
_STABLE = Applies(lambda given: given["schedule"] == "warmup_stable_decay", "with schedule warmup_stable_decay")
_FLOORED = Applies(
    lambda given: given["schedule"] in ("cosine_with_min_lr", "warmup_stable_decay"),
    "with schedules cosine_with_min_lr and warmup_stable_decay",
)
_FREEZES = Applies(lambda given: given["method"] == "freeze", "with method freeze")
_PICTURES = Applies(lambda given: given["architecture"].vision is not None, "for models that take images")
_EVALUATES = Applies(lambda given: given["spec"].data.eval not in (None, "none", 0.0), "with data.eval")
_LOOKS = Applies(
    lambda given: _EVALUATES.test(given) or bool(given["spec"].run.samples), "with data.eval and run.samples"
)
_OFFLOADS = Applies(
    lambda given: (
        given["sharding"].startswith("zero")
        and (given["offload_optimizer"], given["offload_parameters"]) != ("none", "none")
    ),
    "where DeepSpeed offloads something",
)

SCHEDULES = (
    *("cosine", "linear", "constant", "polynomial", "inverse_sqrt"),
    *("cosine_with_min_lr", "warmup_stable_decay"),
)
TASKS = ("pretrain", "sft", "reward", "dpo", "kto", "orpo", "simpo", "ppo", "grpo", "distill")
PREFERENCES = ("dpo", "kto", "orpo", "simpo")
ROLLOUTS = ("ppo", "grpo")
LOSS_TYPES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "real", "fipo")
MODES = ("colocate", "server", "native")  # vLLM on the training GPUs, on GPUs of its own, or the trainer generates
_PARTS = tuple(some for number in range(4) for some in permutations(("vision", "projector", "language"), number))
_OFFLOAD = {"none": 0, "cpu": 4, "nvme": 6}  # it costs host memory, CPU time and a compiler on the machine
_KERNELS = ("sdpa", "flash", "flash3", "eager")
_OPTIMIZERS = (
    *("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "sgd"),
    *("lion", "muon", "galore", "apollo", "badam"),
)

FIELDS: tuple[Field, ...] = (
    # What the search chooses, in the order in which it does. `method` is lora unless the spec says auto.
    Field("task", "train.task", values=TASKS, neutral=("sft",)),
    Field(
        "method",
        "train.method",
        open=True,
        candidates=("full", "lora", "qlora"),
        meaning=True,
        result=True,
        values=("full", "lora", "qlora", "freeze"),
        neutral=("full",),
        speaks=True,
    ),
    Field(
        "precision",
        "train.precision",
        open=True,
        candidates=("bf16", "fp16", "fp32"),
        result=True,
        values=("bf16", "pure_bf16", "fp16", "fp32"),
        neutral=("fp32",),
    ),
    Field(
        "sharding",
        "strategy.sharding",
        open=True,
        candidates=("ddp", "zero1", "zero2", "zero3", "fsdp", "fsdp2"),
        machinery={"ddp": 0, "zero1": 1, "zero2": 1, "zero3": 2, "fsdp": 3, "fsdp2": 2},
        relaxed=3,
        values=("ddp", "zero1", "zero2", "zero3", "fsdp", "fsdp2"),
        neutral=("ddp",),
        speaks=True,
    ),
    Field(
        "offload_optimizer",
        "strategy.offload.optimizer",
        open=True,
        candidates=("none", "cpu", "nvme"),
        machinery=_OFFLOAD,
        relaxed=4,
        values=("none", "cpu", "nvme"),
        neutral=("none",),
        applies=_under("zero1", "zero2", "zero3", "fsdp", "fsdp2"),
    ),
    Field(
        "offload_parameters",
        "strategy.offload.parameters",
        open=True,
        candidates=("none", "cpu", "nvme"),
        machinery=_OFFLOAD,
        relaxed=5,
        values=("none", "cpu", "nvme"),
        neutral=("none",),
        applies=_under("zero3", "fsdp", "fsdp2"),
    ),
    Field(
        "offload_activations",
        "strategy.offload.activations",
        open=True,
        candidates=("none", "cpu"),
        machinery={"none": 0, "cpu": 2},  # it costs host memory and trips over its link
        relaxed=5,
        values=("none", "cpu"),
        neutral=("none",),
    ),
    Field(
        "pin_memory",
        "strategy.offload.pin_memory",
        open=True,
        candidates=(True, False),
        machinery={True: 0, False: 1},
        relaxed=10,
        values=(False, True),
        applies=_OFFLOADS,
    ),
    Field(
        "sequence_parallel",
        "strategy.sequence_parallel",
        open=True,
        candidates=(1, 2, 4, 8),
        machinery={1: 0, 2: 2, 4: 2, 8: 2},
        relaxed=8,
        neutral=(1,),
    ),
    Field(
        "attention",
        "strategy.attention",
        open=True,
        candidates=("sdpa", "flash", "flash3", "eager"),
        machinery={"sdpa": 0, "flash": 1, "flash3": 1, "eager": 1},
        relaxed=6,
        values=_KERNELS,
        neutral=("sdpa",),
    ),
    Field(
        "loss",
        "strategy.loss",
        open=True,
        candidates=("plain", "fused"),
        machinery={"plain": 0, "fused": 1},
        relaxed=7,
        values=("plain", "fused"),
        neutral=("plain",),
    ),
    Field(
        "mlp",
        "strategy.mlp",
        open=True,
        candidates=("whole", "tiled"),
        machinery={"whole": 0, "tiled": 1},
        relaxed=7,
        values=("whole", "tiled"),
        neutral=("whole",),
    ),
    Field(
        "optimizer",
        "strategy.optimizer",
        open=True,
        candidates=("adamw", "adamw_8bit"),
        relaxed=9,
        result=True,
        values=_OPTIMIZERS,
        neutral=("adamw",),
        speaks=True,
    ),
    Field(
        "gradient_checkpointing",
        "strategy.gradient_checkpointing",
        open=True,
        candidates=(False, True),
        relaxed=1,
        values=(False, True),
        neutral=(False,),
    ),
    Field(
        "lora_rank",
        "train.lora.rank",
        open=True,
        candidates=(16,),
        meaning=True,
        result=True,
        applies=_ADAPTERS,
    ),
    Field("max_length", "data.max_length", open=True, candidates=(2048,), meaning=True, result=True),
    Field("micro_batch", "strategy.micro_batch", open=True, candidates=(), relaxed=2),  # divisors of a rank's share
    # What rules derive and the spec may pin.
    Field("batch_size", "train.batch_size", open=True, meaning=True, result=True),
    Field("learning_rate", "train.learning_rate", open=True, meaning=True, result=True),
    Field("lora_alpha", "train.lora.alpha", open=True, result=True, applies=_ADAPTERS),
    Field("packing", "data.packing", open=True, result=True, values=(False, True), neutral=(False,)),
    Field("template", "data.template", open=True, result=True, compared=False),
    Field("system", "data.system", neutral=()),
    # What follows, or what the spec alone says.
    Field("epochs", "train.epochs", meaning=True),
    Field("max_steps", "train.max_steps", meaning=True),
    Field("gradient_accumulation"),
    Field(
        "schedule",
        "train.optim.schedule",
        result=True,
        values=SCHEDULES,
        neutral=("constant",),
    ),
    Field("warmup", "train.optim.warmup", result=True),
    Field("min_learning_rate", "train.optim.min_learning_rate", result=True, applies=_FLOORED),
    Field("decay", "train.optim.decay", result=True, applies=_STABLE),
    Field("weight_decay", "train.optim.weight_decay"),
    Field("max_grad_norm", "train.optim.max_grad_norm"),
    Field("adam_beta1", "train.optim.betas", applies=_MOMENTS),
    Field("adam_beta2", "train.optim.betas", applies=_MOMENTS),
    Field("adam_epsilon", "train.optim.epsilon", applies=_ADAM),
    Field("seed", "train.optim.seed"),
    Field("overlong", "data.overlong", values=("truncate", "drop"), neutral=("truncate",)),
    Field("lora", "train.lora", applies=_ADAPTERS, compared=False),
    Field("lora_dropout", "train.lora.dropout", applies=_ADAPTERS),
    Field("lora_targets", "train.lora.targets", result=True, applies=_ADAPTERS),
    Field(
        "lora_variant",
        "train.lora.variant",
        values=("lora", "rslora", "dora"),
        neutral=("lora",),
        applies=_ADAPTERS,
    ),
    Field("modules_to_save", "train.lora.modules_to_save", applies=_ADAPTERS),
    Field(
        "quantization",
        "train.quantization",
        section=True,
        result=True,
        neutral=(),
        applies=_LOADING,
    ),
    Field("freeze_parts", "train.freeze_parts", values=_PARTS, applies=_PICTURES),
    Field(
        "whole_parts",
        "train.whole_parts",
        values=(*_PARTS[:3], ("vision", "projector"), ("projector", "vision")),
        neutral=((),),
        applies=_PICTURES,
    ),
    Field("vision_learning_rate", "train.vision_learning_rate", neutral=(), applies=_PICTURES),
    Field("projector_learning_rate", "train.projector_learning_rate", neutral=(), applies=_PICTURES),
    Field(
        "trainable_layers",
        "train.trainable_layers",
        applies=_FREEZES,
    ),
    Field("image_max_pixels", "data.image.max_pixels", applies=_PICTURES),
    Field("image_frames", "data.image.frames", neutral=(), applies=_PICTURES),
    Field("image_share", "data.image.share", applies=_PICTURES),
    Field("pictures", "data.image.per_sample", applies=_PICTURES),
    # Families of which a target gives a row of text alone an empty picture: always, or under DeepSpeed.
    Field("blank_pictures", neutral=(), decided=False),
    Field("blank_pictures_deepspeed", neutral=(), decided=False),
    Field("reference_model", applies=_for(*PREFERENCES, *ROLLOUTS)),
    Field("preference_loss", neutral=(), applies=_for(*PREFERENCES)),
    Field("preference_beta", "train.preference.beta", applies=_for(*PREFERENCES)),
    Field("preference_gamma", "train.preference.gamma", applies=_for("simpo")),
    # How GRPO and PPO generate. The modes are for a target to say, task by task, and what PPO's critic is: a model like
    # the reward model, one like the policy, or a head on the policy itself.
    Field("grpo_rollout", values=MODES, neutral=(), decided=False),
    Field("ppo_rollout", values=MODES, neutral=(), decided=False),
    Field("critic", values=("model", "policy", "head"), neutral=("model",), decided=False),
    Field("rollout", applies=_for(*ROLLOUTS), compared=False),
    Field("rollout_mode", "train.rollout.mode", applies=_for(*ROLLOUTS)),
    Field("rollout_gpus", "train.rollout.gpus", applies=_for(*ROLLOUTS)),
    Field("rollout_share", applies=_for(*ROLLOUTS)),
    Field("num_generations", "train.rollout.num_generations", applies=_for("grpo")),
    Field("max_completion_length", "train.rollout.max_completion_length", applies=_for(*ROLLOUTS)),
    Field("max_prompt_length", "train.rollout.max_prompt_length", applies=_for(*ROLLOUTS)),
    Field("steps_per_generation", applies=_for(*ROLLOUTS)),
    Field("kl_beta", "train.rollout.beta", applies=_for(*ROLLOUTS)),
    Field("rewards", "train.rollout.rewards", applies=_for(*ROLLOUTS)),
    Field("teacher", "train.distillation.teacher", applies=_for("distill")),
    Field("teacher_parameters", applies=_for("distill"), compared=False),
    Field("distillation_alpha", "train.distillation.alpha", applies=_for("distill")),
    Field("distillation_temperature", "train.distillation.temperature", applies=_for("distill")),
    # Which tasks' samples can share a row, for a target to say.
    Field("packing_task", values=TASKS, neutral=("pretrain", "sft"), decided=False),
    Field("reward_weights", "train.rollout.reward_weights", applies=_for("grpo")),
    Field("plugins", "train.rollout.plugins", applies=_for("grpo")),
    Field("iterations", "train.rollout.iterations", applies=_for(*ROLLOUTS)),
    Field("loss_type", "train.rollout.loss_type", values=LOSS_TYPES, neutral=(), applies=_for("grpo")),
    Field("temperature", "train.rollout.temperature", applies=_for(*ROLLOUTS)),
    Field("top_p", "train.rollout.top_p", applies=_for("grpo")),
    Field("top_k", "train.rollout.top_k", applies=_for("grpo")),
    Field("repetition_penalty", "train.rollout.repetition_penalty", applies=_for("grpo")),
    # Whose accelerators it runs on, for a target to say.
    Field("vendor", values=("nvidia", "amd", "huawei"), neutral=("nvidia", "amd"), decided=False),
    # What a data set may say beyond its place, format and weight, for a target to say.
    Field("data_options", values=("subset", "split", "columns", "roles", "samples"), neutral=(), decided=False),
    # Which attention kernels keep the samples of a packed row apart, for a target to say.
    Field("packing_attention", values=_KERNELS, neutral=_KERNELS, decided=False),
    # Which know the attention sinks that some models learn.
    Field("sink_attention", values=("eager", "flash3"), neutral=("eager",), decided=False),
    # DeepSpeed's own numbers.
    Field("reduce_bucket_elements", "strategy.buckets.reduce", open=True, applies=_under("zero1", "zero2", "zero3")),
    Field("allgather_bucket_elements", "strategy.buckets.allgather", open=True, applies=_under("zero1", "zero2")),
    Field("overlap_comm", "strategy.overlap_comm", open=True, applies=_under("zero1", "zero2", "zero3")),
    Field("prefetch_bucket_elements", "strategy.buckets.prefetch", open=True, applies=_under("zero3")),
    Field("persistence_threshold_elements", "strategy.buckets.persistence", open=True, applies=_under("zero3")),
    Field("sub_group_elements", applies=_under("zero3")),
    Field("max_live_elements", "strategy.buckets.live", open=True, applies=_under("zero3")),
    Field("cpu_threads"),
    # The run around it.
    Field("allocator"),
    Field("dataloader_workers", "data.workers", open=True),
    Field("preprocessing_workers", "data.preprocessing_workers", open=True),
    Field("timeout_seconds", "run.timeout", open=True),
    Field("save_every", "run.save_every"),
    Field("samples", "run.samples", neutral=((),)),
    Field("eval_every", "run.eval_every", open=True, applies=_LOOKS),
    Field("eval_micro_batch", "run.eval_micro_batch", open=True, applies=_EVALUATES),
    Field("keep", "run.keep"),
    Field("log_every", "run.log_every"),
    Field(
        "report_to",
        "run.report_to",
        values=("none", "tensorboard", "wandb", "swanlab", "mlflow", "trackio"),
        neutral=("none",),
    ),
    Field("hub", "hub", values=("huggingface", "modelscope"), neutral=("huggingface",)),
    Field("output_dir", "run.output_dir"),
    Field("existing", "run.existing", values=("fail", "resume", "overwrite"), neutral=()),
)

BY_NAME: Mapping[str, Field] = {field.name: field for field in FIELDS}

# What the search chooses, simplest first; values for open fields only.
CANDIDATES: Mapping[str, tuple[Any, ...]] = {
    field.name: field.candidates for field in FIELDS if field.candidates is not None
}
CHOICES = tuple(CANDIDATES)
# Where the spec holds each field that a plan may choose: for reading pins, wording errors and writing edits.
SPEC_PATHS: Mapping[str, str] = {field.name: field.path for field in FIELDS if field.open}
# The section of the spec behind a field that a rule makes of it, to name when that field cannot be.
SECTIONS: Mapping[str, str] = {field.name: field.path for field in FIELDS if field.section}
# Pins that cost no result, in the order in which they are loosened.
RELAXED = tuple(field.name for field in sorted(FIELDS, key=lambda field: field.relaxed) if field.relaxed)
MEANING = tuple(field.name for field in FIELDS if field.meaning)
RESULTS = tuple(field.name for field in FIELDS if field.result)
# What a target has to say that it can, and what counts where it says nothing.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {field.name: field.neutral for field in FIELDS if field.neutral is not None}

# Of every field all that there is: the plan of no framework in particular.
EVERYTHING: Mapping[str, tuple[Any, ...]] = {name: BY_NAME[name].values for name in NEUTRAL}


def decided(name: str, given: Given) -> bool:
    """Whether there is anything to decide about a field, given the whole plan."""
    return given[name] is not None and field(name).applies.test(given)


def field(name: str) -> Field:
    """The row of a field; a plain one for those that only a target knows."""
    return BY_NAME.get(name) or Field(name)


def place(name: str) -> str:
    """Where the spec says a field, or a part of one; empty where it follows from the rest."""
    head, dot, part = name.partition(".")
    if head not in BY_NAME:
        return name if dot else ""
    path = BY_NAME[head].path
    return f"{path}.{part}" if path and BY_NAME[head].section and part else path


def simplicity(name: str, value: Any) -> int:
    """How far a value is from the simplest one of its field."""
    values = CANDIDATES[name]
    return values.index(value) if value in values else len(values)
