"""LLaMA-Factory's YAML keys and the plan fields they carry, in the sections of its own examples.

Everything that decides a result is written, never left to a default. Not written: `gradient_checkpointing` (it would
turn checkpointing on again after `disable_gradient_checkpointing`), and keys that a supported transformers lacks.
Source: hparams/*_args.py of LLaMA-Factory 0.9.4 and 0.9.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mfc.catalog.parameters import adapters
from mfc.target.keys import Key

from . import data

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

Test = Callable[["Plan"], bool]

STAGES = {"pretrain": "pt", "sft": "sft", "reward": "rm", "kto": "kto"}  # all other tasks are dpo
TYPES = {"qlora": "lora"}
ATTENTION = {"flash": "fa2", "sdpa": "sdpa", "eager": "disabled"}
OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
    "galore": "adamw_torch",  # GaLore and APOLLO wrap it, and refuse the fused one
    "apollo": "adamw_torch",
    "badam": "adamw_torch",
}
# Families whose code is in their own repository, not in transformers.
REMOTE_CODE = ("baichuan", "chatglm", "internlm2", "internlm3", "minicpm", "minicpm3", "qwen")


def lora_target(plan: Plan) -> str:
    """Names of the linears that get adapters; LLaMA-Factory finds all of them itself."""
    lora = plan.strategy.lora
    assert lora is not None
    if lora.targets == "all-linear":
        return "all"
    if lora.targets not in ("attention", "mlp"):
        return lora.targets
    found = adapters(
        plan.problem.model.architecture,
        lora,
        fused_experts=plan.profile.stack.fused_experts,
        expert_adapters=plan.profile.stack.expert_adapters,
    )
    return ",".join(dict.fromkeys(one.linear.name for one in found if not one.linear.fused_expert))


def _lora(plan: Plan) -> bool:
    return plan.strategy.lora is not None


def _variant(name: str) -> Test:
    return lambda plan: plan.strategy.lora is not None and plan.strategy.lora.variant == name


def _quantised(*kinds: str) -> Test:
    def test(plan: Plan) -> bool:
        stored = plan.strategy.quantization
        return stored is not None and not stored.pre and (not kinds or stored.kind in kinds)

    return test


def _quantisation_method(plan: Plan) -> str:
    stored = plan.strategy.quantization
    return stored.kind if stored is not None and stored.kind in ("hqq", "eetq") else "bnb"


def _pictures(plan: Plan) -> bool:
    return plan.problem.model.architecture.vision is not None


def _frozen(part: str) -> Callable[[Plan], bool]:
    return lambda plan: part in plan.strategy.freeze_parts


def _is(field: str, *values: Any) -> Test:
    return lambda plan: (plan.strategy.task if field == "task" else plan.values[field]) in values


def _given(field: str) -> Test:
    return lambda plan: plan.values[field] is not None


def _spec(get: Callable[[Any], Any]) -> Callable[[Plan], Any]:
    return lambda plan: get(plan.problem.spec)


def _evaluates(plan: Plan) -> bool:
    return data.evaluation_file(plan) is not None or data.evaluation_share(plan) > 0


def _sft_packs(plan: Plan) -> bool:
    return plan.strategy.task == "sft"


def _scheduler(plan: Plan) -> str:
    name: str = plan.values["schedule"]
    return "constant_with_warmup" if name == "constant" and plan.values["warmup"] else name


def _by_steps(plan: Plan) -> bool:
    return isinstance(plan.values["save_every"], int)


def _strategy(plan: Plan) -> str:
    return "steps" if _by_steps(plan) else "epoch"


def _weights_differ(plan: Plan) -> bool:
    return len({one.weight for one in plan.problem.spec.data.train}) > 1


def _shares(plan: Plan) -> str:
    weights = [one.weight for one in plan.problem.spec.data.train]
    return ",".join(f"{weight / sum(weights):.6g}" for weight in weights)


def _reports(plan: Plan) -> str:
    # SwanLab comes with a switch of its own.
    return "none" if plan.values["report_to"] == "swanlab" else str(plan.values["report_to"])


def _whole(plan: Plan) -> int:
    return int(plan.values["lora_alpha"])


def _true(_: Plan) -> bool:
    return True


MODEL = (
    Key("model_name_or_path", ("model.id",), _spec(lambda spec: spec.model.id), section="model"),
    Key(
        "model_revision",
        ("model.revision",),
        _spec(lambda spec: spec.model.revision),
        lambda plan: plan.problem.spec.model.revision is not None,
        "model",
    ),
    Key(
        "trust_remote_code",
        ("model.id",),
        _true,
        lambda plan: plan.problem.model.architecture.family in REMOTE_CODE,
        "model",
        "for families whose code is not in transformers",
    ),
    Key(
        "adapter_name_or_path",
        ("model.adapter",),
        _spec(lambda spec: spec.model.adapter),
        lambda plan: plan.problem.spec.model.adapter is not None,
        "model",
    ),
    Key(
        "create_new_adapter",
        ("model.adapter_mode",),
        _true,
        lambda plan: plan.problem.spec.model.adapter is not None and plan.problem.spec.model.adapter_mode == "merge",
        "model",
        "adapter_mode: merge",
    ),
    Key(
        "flash_attn", ("attention",), lambda plan: ATTENTION[plan.strategy.attention], None, "model", "eager: disabled"
    ),
    Key("enable_liger_kernel", ("loss",), lambda plan: plan.strategy.loss == "fused", None, "model", "fused: true"),
    Key(
        "disable_gradient_checkpointing",
        ("gradient_checkpointing",),
        lambda plan: not plan.strategy.gradient_checkpointing,
        None,
        "model",
        "on by default in LLaMA-Factory, so it is its absence that is said",
    ),
    Key(
        "quantization_bit",
        ("quantization",),
        lambda plan: plan.strategy.quantization.bits if plan.strategy.quantization else None,
        _quantised(),
        "model",
        "not for checkpoints that are quantised already",
    ),
    Key(
        "quantization_method",
        ("quantization",),
        _quantisation_method,
        _quantised(),
        "model",
        "`bnb`; the older word `bitsandbytes` is ignored in silence since 0.9.3",
    ),
    Key(
        "quantization_type",
        ("quantization",),
        lambda plan: plan.strategy.quantization.kind if plan.strategy.quantization else None,
        _quantised("nf4", "fp4"),
        "model",
    ),
    Key(
        "double_quantization",
        ("quantization",),
        lambda plan: plan.strategy.quantization is not None and plan.strategy.quantization.double,
        _quantised("nf4", "fp4"),
        "model",
    ),
    Key("image_max_pixels", ("image_max_pixels",), None, _pictures, "model"),
)

METHOD = (
    Key("stage", ("task",), lambda plan: STAGES.get(plan.strategy.task, "dpo"), None, "method", "orpo, simpo: dpo"),
    Key("do_train", ("task",), _true, None, "method"),
    Key(
        "finetuning_type",
        ("method",),
        lambda plan: TYPES.get(plan.strategy.method, plan.strategy.method),
        None,
        "method",
    ),
    Key("lora_rank", ("lora_rank",), None, _lora, "method"),
    Key("lora_alpha", ("lora_alpha",), _whole, _lora, "method", "a whole number"),
    Key("lora_dropout", ("lora_dropout",), None, _lora, "method"),
    Key("lora_target", ("lora_targets",), lora_target, _lora, "method", "attention and mlp become the family's names"),
    Key("use_rslora", ("lora_variant",), _true, _variant("rslora"), "method"),
    Key("use_dora", ("lora_variant",), _true, _variant("dora"), "method"),
    Key(
        "additional_target",
        ("modules_to_save",),
        lambda plan: ",".join(plan.values["modules_to_save"]),
        lambda plan: _lora(plan) and bool(plan.values["modules_to_save"]),
        "method",
    ),
    Key("freeze_trainable_layers", ("trainable_layers",), None, _is("method", "freeze"), "method"),
    Key("freeze_vision_tower", ("freeze_parts",), _frozen("vision"), _pictures, "method"),
    Key("freeze_multi_modal_projector", ("freeze_parts",), _frozen("projector"), _pictures, "method"),
    Key("freeze_language_model", ("freeze_parts",), _frozen("language"), _pictures, "method"),
    Key(
        "pref_loss",
        ("preference_loss",),
        None,
        _is("task", "dpo", "orpo", "simpo"),
        "method",
    ),
    Key("pref_beta", ("preference_beta",), None, _given("preference_beta"), "method"),
    Key("simpo_gamma", ("preference_gamma",), None, _given("preference_gamma"), "method"),
    Key(
        "ref_model",
        ("reference_model",),
        _spec(lambda spec: spec.train.preference.reference),
        lambda plan: plan.problem.spec.train.preference.reference != "auto",
        "method",
        "otherwise the model itself: its adapters switched off, or a frozen copy",
    ),
)

DATASET = (
    Key(
        "dataset",
        ("data.train",),
        lambda plan: ",".join(data.training_sets(plan)),
        None,
        "dataset",
        "names in dataset_info.json",
    ),
    Key("dataset_dir", ("data.train",), lambda _: ".", None, "dataset", "dataset_info.json lies beside the YAML"),
    Key("media_dir", ("data.train",), lambda _: ".", _pictures, "dataset", "the folder of the data file"),
    Key(
        "mix_strategy",
        ("data.train",),
        lambda plan: "interleave_over" if _weights_differ(plan) else "concat",
        lambda plan: len(plan.problem.spec.data.train) > 1,
        "dataset",
    ),
    Key("interleave_probs", ("data.train",), _shares, _weights_differ, "dataset"),
    Key("template", ("template",), None, None, "dataset"),
    Key("cutoff_len", ("max_length", "overlong"), lambda plan: plan.strategy.max_length, None, "dataset"),
    Key("packing", ("packing",), None, None, "dataset"),
    Key("neat_packing", ("neat_packing",), None, _sft_packs, "dataset", "samples of a row do not see each other"),
    Key("preprocessing_num_workers", ("preprocessing_workers",), None, None, "dataset"),
    Key("dataloader_num_workers", ("dataloader_workers",), None, None, "dataset"),
)

OUTPUT = (
    Key("output_dir", ("output_dir",), None, None, "output"),
    Key(
        "overwrite_output_dir",
        ("existing",),
        lambda plan: plan.values["existing"] == "overwrite",
        None,
        "output",
        "fail: launch.sh refuses to start; resume: LLaMA-Factory finds the checkpoint itself",
    ),
    Key("logging_steps", ("log_every",), None, None, "output"),
    Key("save_strategy", ("save_every",), _strategy, None, "output"),
    Key("save_steps", ("save_every",), None, _by_steps, "output"),
    Key("save_total_limit", ("keep",), None, None, "output"),
    Key("report_to", ("report_to",), _reports, None, "output"),
    Key("use_swanlab", ("report_to",), _true, _is("report_to", "swanlab"), "output"),
)

TRAIN = (
    Key("per_device_train_batch_size", ("micro_batch",), None, None, "train", "LLaMA-Factory's default is 8"),
    Key("gradient_accumulation_steps", ("gradient_accumulation", "batch_size"), None, None, "train"),
    Key("learning_rate", ("learning_rate",), None, None, "train"),
    Key("num_train_epochs", ("epochs",), None, _given("epochs"), "train"),
    Key("max_steps", ("max_steps",), None, _given("max_steps"), "train"),
    Key("lr_scheduler_type", ("schedule",), _scheduler, None, "train", "constant with a warm-up has a name of its own"),
    Key("warmup_ratio", ("warmup",), None, None, "train"),
    Key("weight_decay", ("weight_decay",), None, None, "train"),
    Key("max_grad_norm", ("max_grad_norm",), None, None, "train"),
    Key("optim", ("optimizer",), lambda plan: OPTIMIZERS[plan.strategy.optimizer], None, "train"),
    Key("adam_beta1", ("adam_beta1",), None, None, "train"),
    Key("adam_beta2", ("adam_beta2",), None, None, "train"),
    Key("adam_epsilon", ("adam_epsilon",), None, None, "train"),
    Key("use_galore", ("optimizer",), _true, _is("optimizer", "galore"), "train"),
    Key("use_apollo", ("optimizer",), _true, _is("optimizer", "apollo"), "train"),
    Key("use_badam", ("optimizer",), _true, _is("optimizer", "badam"), "train"),
    Key("bf16", ("precision",), lambda plan: plan.strategy.precision == "bf16", None, "train"),
    Key("fp16", ("precision",), lambda plan: plan.strategy.precision == "fp16", None, "train"),
    Key("pure_bf16", ("precision",), _true, _is("precision", "pure_bf16"), "train"),
    Key("seed", ("seed",), None, None, "train"),
    Key("ddp_timeout", ("timeout_seconds",), None, None, "train", "seconds"),
    Key(
        "deepspeed",
        ("sharding",),
        lambda _: "ds_config.json",
        lambda plan: plan.strategy.deepspeed,
        "train",
        "the JSON of target deepspeed, without its optimizer and scheduler",
    ),
)

EVALUATION = (
    Key("val_size", ("data.eval",), data.evaluation_share, lambda plan: data.evaluation_share(plan) > 0, "eval"),
    Key("eval_dataset", ("data.eval",), lambda _: "eval", lambda plan: data.evaluation_file(plan) is not None, "eval"),
    Key("per_device_eval_batch_size", ("eval_micro_batch",), None, _evaluates, "eval", "LLaMA-Factory's default is 8"),
    Key("eval_strategy", ("data.eval", "save_every"), _strategy, _evaluates, "eval"),
    Key(
        "eval_steps",
        ("data.eval", "save_every"),
        lambda plan: plan.values["save_every"],
        lambda plan: _evaluates(plan) and _by_steps(plan),
        "eval",
    ),
)

KEYS: tuple[Key, ...] = (*MODEL, *METHOD, *DATASET, *OUTPUT, *TRAIN, *EVALUATION)

# Plan fields that no key of the YAML or of the JSON carries, and where they are instead.
ELSEWHERE = {
    "allocator": "the environment that launch.sh sets",
    "cpu_threads": "the environment that launch.sh sets",
    "lora": "its parts are keys of their own",
    "sequence_parallel": "always 1",
}
