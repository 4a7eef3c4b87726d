"""ms-swift's flags and the plan fields they carry; each is a flag of `swift sft|pt|rlhf` and a key of its config file.

Everything that decides a result is written: several of ms-swift's defaults are not what its users expect (an
accumulation that depends on the GPUs, the model's whole context as the length), and some differ between its versions.
Source: swift/arguments and swift/trainers/arguments.py of ms-swift 4.6.0; 3.12 has the same names but `train_type`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.catalog.parameters import adapters
from mfc.target.keys import Key

from . import data, when
from .rlhf import PREFERENCE, ROLLOUT

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

ATTENTION = {"flash": "flash_attn", "sdpa": "sdpa", "eager": "eager"}
OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
}
FSDP = "fsdp.json"


def targets(plan: Plan) -> list[str]:
    """Names of the linears that get adapters; ms-swift finds all of them itself."""
    lora = plan.strategy.lora
    assert lora is not None
    if lora.targets == "all-linear":
        return ["all-linear"]
    if lora.targets not in ("attention", "mlp"):
        return lora.targets.split(",")
    found = adapters(
        plan.problem.model.architecture,
        lora,
        fused_experts=plan.profile.stack.fused_experts,
        expert_adapters=plan.profile.stack.expert_adapters,
    )
    return list(dict.fromkeys(one.linear.name for one in found if not one.linear.fused_expert))


def weights(plan: Plan) -> str:
    """The type that weights are loaded in. Full training in fp16 trains fp32 weights: fp16 ones end in NaN."""
    precision = plan.strategy.precision
    return "float32" if precision == "fp16" and plan.strategy.lora is None else when.DTYPES[precision]


def _steps(plan: Plan) -> bool:
    return str(plan.values["save_every"]) != "epoch"


def _strategy(plan: Plan) -> str:
    return "steps" if _steps(plan) else "epoch"


def _scheduler(plan: Plan) -> str:
    name: str = plan.values["schedule"]
    return "constant_with_warmup" if name == "constant" and plan.values["warmup"] else name


def _length(plan: Plan) -> int:
    # In GRPO and PPO max_length bounds the prompt; the answer has a flag of its own.
    return int(plan.values["max_prompt_length"]) if when.generates(plan) else plan.strategy.max_length


def _overlong(plan: Plan) -> str:
    if plan.values["overlong"] == "drop":
        return "delete"
    return "left" if when.generates(plan) else "right"


def _eval_batch(plan: Plan) -> int:
    # GPUs x this is a multiple of num_generations, as ms-swift demands.
    return int(plan.values["num_generations"] if plan.strategy.task == "grpo" else plan.values["eval_micro_batch"])


MODEL = (
    Key("model", ("model.id",), when.spec(lambda spec: spec.model.id), None, "model"),
    Key(
        "model_revision",
        ("model.revision",),
        when.spec(lambda spec: spec.model.revision),
        lambda plan: plan.problem.spec.model.revision is not None,
        "model",
    ),
    Key("model_type", ("model_type",), None, when.given("model_type"), "model", "ms-swift's own name of the family"),
    Key("use_hf", ("model.id",), when.const(True), None, "model", "ids of the spec are Hugging Face's"),
    Key("torch_dtype", ("precision",), weights, None, "model", "full training in fp16 keeps fp32 weights"),
    Key("attn_impl", ("attention",), lambda plan: ATTENTION[plan.strategy.attention], None, "model"),
    Key("template", ("template",), None, when.given("template"), "model"),
    Key(
        "adapters",
        ("model.adapter",),
        lambda plan: [plan.problem.spec.model.adapter],
        lambda plan: plan.problem.spec.model.adapter is not None,
        "model",
    ),
    Key("max_pixels", ("image_max_pixels",), None, when.pictures, "model", "also as MAX_PIXELS or IMAGE_MAX_TOKEN_NUM"),
)

METHOD = (
    Key(
        "tuner_type",
        ("method",),
        lambda plan: "lora" if when.lora(plan) else "full",
        when.new,
        "method",
        "qlora is lora on quantised weights",
    ),
    Key(
        "train_type",
        ("method",),
        lambda plan: "lora" if when.lora(plan) else "full",
        when.old,
        "method",
        "the name of tuner_type in 3.x",
    ),
    Key("lora_rank", ("lora_rank",), None, when.lora, "method"),
    Key("lora_alpha", ("lora_alpha",), None, when.lora, "method", "ms-swift's default is 32 at any rank"),
    Key("lora_dropout", ("lora_dropout",), None, when.lora, "method"),
    Key(
        "target_modules", ("lora_targets",), targets, when.lora, "method", "attention and mlp become the family's names"
    ),
    Key(
        "use_rslora",
        ("lora_variant",),
        when.variant("rslora"),
        when.lora,
        "method",
    ),
    Key(
        "use_dora",
        ("lora_variant",),
        when.variant("dora"),
        when.lora,
        "method",
    ),
    Key(
        "modules_to_save",
        ("modules_to_save",),
        lambda plan: list(plan.values["modules_to_save"]),
        lambda plan: when.lora(plan) and bool(plan.values["modules_to_save"]),
        "method",
    ),
    Key(
        "quant_method",
        ("quantization",),
        lambda plan: (
            plan.strategy.quantization.kind
            if when.quantised("hqq", "eetq")(plan) and plan.strategy.quantization
            else "bnb"
        ),
        when.quantised(),
        "method",
        "without it quant_bits is ignored in silence",
    ),
    Key(
        "quant_bits",
        ("quantization",),
        lambda plan: plan.strategy.quantization.bits if plan.strategy.quantization else None,
        when.quantised(),
        "method",
    ),
    Key(
        "bnb_4bit_quant_type",
        ("quantization",),
        lambda plan: plan.strategy.quantization.kind if plan.strategy.quantization else None,
        when.quantised("nf4", "fp4"),
        "method",
    ),
    Key(
        "bnb_4bit_use_double_quant",
        ("quantization",),
        lambda plan: plan.strategy.quantization is not None and plan.strategy.quantization.double,
        when.quantised("nf4", "fp4"),
        "method",
    ),
    Key(
        "bnb_4bit_compute_dtype",
        ("precision",),
        lambda plan: when.DTYPES[plan.strategy.precision],
        when.quantised("nf4", "fp4"),
        "method",
    ),
    Key("freeze_llm", ("freeze_parts",), when.frozen("language"), when.pictures, "method"),
    Key("freeze_vit", ("freeze_parts",), when.frozen("vision"), when.pictures, "method"),
    Key("freeze_aligner", ("freeze_parts",), when.frozen("projector"), when.pictures, "method"),
)

DATA = (
    Key("dataset", ("data.train",), data.training, None, "data"),
    Key("columns", ("data.train",), data.columns, lambda plan: bool(data.columns(plan)), "data"),
    Key("interleave_prob", ("data.train",), data.shares, data.weights_differ, "data"),
    Key(
        "val_dataset",
        ("data.eval",),
        lambda plan: [data.evaluation_file(plan)],
        lambda plan: data.evaluation_file(plan) is not None,
        "data",
    ),
    Key("split_dataset_ratio", ("data.eval",), data.evaluation_share, None, "data"),
    Key(
        "max_length",
        ("max_length", "max_prompt_length"),
        _length,
        None,
        "data",
        "the prompt's in GRPO; left out it is the model's whole context",
    ),
    Key("truncation_strategy", ("overlong",), _overlong, None, "data", "drop: delete; ms-swift's default"),
    Key("packing", ("packing",), None, when.task("sft", "pretrain"), "data"),
    Key(
        "packing_length",
        ("max_length",),
        lambda plan: plan.strategy.max_length,
        lambda plan: plan.strategy.packing,
        "data",
    ),
    Key("dataset_num_proc", ("preprocessing_workers",), None, None, "data"),
    Key("dataloader_num_workers", ("dataloader_workers",), None, None, "data"),
)

TRAIN = (
    Key("per_device_train_batch_size", ("micro_batch",), None, None, "train"),
    Key(
        "gradient_accumulation_steps",
        ("gradient_accumulation", "batch_size"),
        lambda plan: plan.strategy.gradient_accumulation,
        None,
        "train",
        "left out it depends on the number of GPUs",
    ),
    Key("learning_rate", ("learning_rate",), None, None, "train"),
    Key("lr_scheduler_type", ("schedule",), _scheduler, None, "train"),
    Key("warmup_ratio", ("warmup",), None, None, "train"),
    Key("num_train_epochs", ("epochs",), None, lambda plan: plan.values["epochs"] is not None, "train"),
    Key("max_steps", ("max_steps",), None, lambda plan: plan.values["max_steps"] is not None, "train"),
    Key("optim", ("optimizer",), lambda plan: OPTIMIZERS[plan.strategy.optimizer], None, "train"),
    Key("adam_beta1", ("adam_beta1",), None, None, "train"),
    Key("adam_beta2", ("adam_beta2",), None, None, "train", "ms-swift's default is 0.95"),
    Key("adam_epsilon", ("adam_epsilon",), None, None, "train"),
    Key("weight_decay", ("weight_decay",), None, None, "train", "ms-swift's default is 0.1"),
    Key("max_grad_norm", ("max_grad_norm",), None, None, "train"),
    Key("bf16", ("precision",), lambda plan: plan.strategy.precision == "bf16", None, "train"),
    Key(
        "fp16",
        ("precision",),
        lambda plan: plan.strategy.precision == "fp16",
        None,
        "train",
        "float32 weights alone would turn it on",
    ),
    Key(
        "gradient_checkpointing",
        ("gradient_checkpointing",),
        lambda plan: plan.strategy.gradient_checkpointing and not when.fsdp2(plan),
        None,
        "train",
        "on by default; under FSDP2 its own takes over",
    ),
    Key(
        "vit_gradient_checkpointing",
        ("gradient_checkpointing",),
        lambda plan: plan.strategy.gradient_checkpointing and "vision" not in plan.strategy.freeze_parts,
        when.pictures,
        "train",
    ),
    Key("use_liger_kernel", ("loss",), lambda plan: plan.strategy.loss == "fused", None, "train"),
    Key(
        "sequence_parallel_size",
        ("sequence_parallel",),
        None,
        lambda plan: plan.strategy.task in ("sft", "pretrain", "dpo", "grpo"),
        "train",
    ),
    Key(
        "deepspeed",
        ("sharding", "offload_optimizer", "offload_parameters"),
        when.const("ds_config.json"),
        lambda plan: plan.strategy.deepspeed,
        "train",
        "the JSON of target deepspeed",
    ),
    Key("fsdp", ("sharding", "offload_parameters"), when.const(FSDP), when.fsdp2, "train"),
    Key("seed", ("seed",), None, None, "train"),
    Key("data_seed", ("seed",), lambda plan: plan.values["seed"], None, "train"),
    Key("ddp_timeout", ("timeout_seconds",), None, None, "train", "seconds; ms-swift's default is 208 days"),
)

OUTPUT = (
    Key("output_dir", ("output_dir",), None, None, "output"),
    Key(
        "add_version",
        ("output_dir",),
        when.const(False),
        None,
        "output",
        "ms-swift would add a folder named by version and time",
    ),
    Key("save_strategy", ("save_every",), _strategy, None, "output"),
    Key("save_steps", ("save_every",), None, _steps, "output"),
    Key("save_total_limit", ("keep",), None, None, "output"),
    Key("logging_steps", ("log_every",), None, None, "output"),
    Key(
        "report_to",
        ("report_to",),
        lambda plan: [plan.values["report_to"]],
        None,
        "output",
        "ms-swift's default is tensorboard",
    ),
    Key(
        "eval_strategy",
        ("data.eval", "save_every"),
        lambda plan: _strategy(plan) if data.evaluates(plan) else "no",
        None,
        "output",
    ),
    Key(
        "eval_steps",
        ("data.eval", "save_every"),
        lambda plan: plan.values["save_every"],
        lambda plan: data.evaluates(plan) and _steps(plan),
        "output",
    ),
    Key(
        "per_device_eval_batch_size",
        ("eval_micro_batch",),
        _eval_batch,
        data.evaluates,
        "output",
        "in GRPO num_generations, which has to divide it",
    ),
)

KEYS: tuple[Key, ...] = (*MODEL, *METHOD, *DATA, *TRAIN, *PREFERENCE, *ROLLOUT, *OUTPUT)

# Plan fields that no flag carries, and what does.
ELSEWHERE = {
    "allocator": "the environment of train.sh",
    "cpu_threads": "the environment of train.sh",
    "existing": "train.sh looks for checkpoints before it starts",
    "lora": "its parts are flags of their own",
    "rollout": "its parts are flags of their own",
    "trainable_layers": "method freeze is not offered",
}
