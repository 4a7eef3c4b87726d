"""XTuner's config: its sections, their keys, and the plan fields they carry.

The data is the config as XTuner reads it: `type` and other references to code are "module:name"; settings are said
twice, as the variable that users of XTuner know and where it is used. The template prints the second as the variable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mfc.target.keys import Key

from . import values as v

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

_TOKENIZER = "transformers:AutoTokenizer.from_pretrained"
_LLM = "transformers:AutoModelForCausalLM.from_pretrained"
_QUANT = "model.llm.quantization_config."
_LORA = "model.lora."
_SETTINGS, _MODEL, _DATA, _OPTIM, _RUNTIME = (
    "Settings",
    "Model & Tokenizer",
    "Dataset & Dataloader",
    ("Scheduler & Optimizer"),
    "Runtime",
)


def _setting(name: str, fields: tuple[str, ...], value: Any = None, when: v.Test | None = None, note: str = "") -> Key:
    return Key(name, fields, value, when, _SETTINGS, note)


def _pretrained(path: str, kind: str, name: Callable[[Plan], Any], when: v.Test | None = None) -> tuple[Key, ...]:
    revised: v.Test = (lambda plan: v.revised(plan) and when(plan)) if when else v.revised
    return (
        Key(path + "type", ("task",), v.const(kind), when, _MODEL),
        Key(path + "pretrained_model_name_or_path", ("model",), name, when, _MODEL),
        Key(path + "revision", ("model",), v.revision, revised, _MODEL),
        Key(
            path + "trust_remote_code", ("model",), v.const(True), when, _MODEL, "as XTuner itself does for the config"
        ),
    )


SETTINGS = (
    _setting("pretrained_model_name_or_path", ("model",), v.model),
    _setting("use_varlen_attn", ("varlen", "attention"), None),
    _setting(
        "data_files",
        ("data",),
        v.files,
        v.has_files,
    ),
    _setting(
        "prompt_template",
        ("template",),
        v.template,
        v.given("template"),
    ),
    _setting("max_length", ("max_length", "overlong")),
    _setting("pack_to_max_length", ("packing",), None, v.rows),
    _setting("sequence_parallel_size", ("sequence_parallel",)),
    _setting("dpo_loss_type", ("preference_loss",), None, v.task("dpo")),
    _setting("loss_beta", ("preference_beta",), None, v.task("dpo", "orpo")),
    _setting("reward_token_id", ("reward_token",), None, v.task("reward")),
    _setting("batch_size", ("micro_batch",), note="rows (DPO, ORPO, reward: pairs) on each GPU"),
    _setting(
        "accumulative_counts",
        ("gradient_accumulation", "batch_size"),
        None,
        None,
        "sequence parallelism is counted in already",
    ),
    _setting("dataloader_num_workers", ("dataloader_workers",)),
    _setting("max_epochs", ("epochs",), v.epochs, v.by_epochs),
    _setting("lr", ("learning_rate",)),
    _setting("betas", ("adam_beta1", "adam_beta2"), v.betas, v.adam),
    _setting("weight_decay", ("weight_decay",)),
    _setting("max_norm", ("max_grad_norm",), None, v.clips, "0 under DeepSpeed: no clipping"),
    _setting("save_steps", ("save_steps", "save_every"), None, None, "micro-steps"),
    _setting("save_total_limit", ("keep",)),
)

MODEL = (
    *_pretrained("tokenizer.", _TOKENIZER, v.model),
    Key("tokenizer.padding_side", ("task",), v.const("right"), None, _MODEL),
    Key(
        "model.type",
        ("task",),
        v.model_class,
        None,
        _MODEL,
    ),
    Key(
        "model.loss_type",
        ("preference_loss", "task"),
        v.loss_type,
        v.task("dpo", "reward"),
        _MODEL,
    ),
    Key("model.beta", ("preference_beta",), None, v.task("dpo", "orpo"), _MODEL),
    Key("model.reward_token_id", ("reward_token",), None, v.task("reward"), _MODEL),
    Key("model.use_varlen_attn", ("varlen",), None, None, _MODEL),
    Key(
        "model.use_activation_checkpointing", ("gradient_checkpointing",), None, None, _MODEL, "on by default in XTuner"
    ),
    *_pretrained("model.llm.", _LLM, v.model),
    Key(
        "model.llm.torch_dtype",
        ("precision", "method", "sharding"),
        v.weights_dtype,
        None,
        _MODEL,
        "DeepSpeed casts to the format of its JSON",
    ),
    Key(
        "model.llm.attn_implementation",
        ("attention",),
        v.of("attention", v.ATTENTION),
        None,
        _MODEL,
        "always written: XTuner's own choice depends on what is installed",
    ),
    Key(_QUANT + "type", ("quantization",), v.const("transformers:BitsAndBytesConfig"), v.quantised, _MODEL),
    Key(_QUANT + "load_in_4bit", ("quantization",), v.const(True), v.bits(4), _MODEL),
    Key(_QUANT + "load_in_8bit", ("quantization",), v.const(True), v.bits(8), _MODEL),
    Key(_QUANT + "bnb_4bit_compute_dtype", ("precision",), v.compute_dtype, v.four_bits, _MODEL),
    Key(
        _QUANT + "bnb_4bit_use_double_quant",
        ("quantization",),
        v.double,
        v.four_bits,
        _MODEL,
    ),
    Key(
        _QUANT + "bnb_4bit_quant_type",
        ("quantization",),
        v.kind,
        v.four_bits,
        _MODEL,
    ),
    *_pretrained("model.ref_llm.", _LLM, v.reference_name, v.reference),
    Key(
        "model.ref_llm.torch_dtype",
        ("reference_model", "precision"),
        v.compute_dtype,
        v.reference,
        _MODEL,
        "under ZeRO-3 XTuner asks for it by name",
    ),
    Key("model.ref_llm.attn_implementation", ("attention",), v.of("attention", v.ATTENTION), v.reference, _MODEL),
    Key(_LORA + "type", ("method",), v.const("peft:LoraConfig"), v.lora, _MODEL),
    Key(_LORA + "r", ("lora_rank",), None, v.lora, _MODEL),
    Key(_LORA + "lora_alpha", ("lora_alpha",), v.alpha, v.lora, _MODEL),
    Key(_LORA + "lora_dropout", ("lora_dropout",), None, v.lora, _MODEL),
    Key(_LORA + "target_modules", ("lora_targets",), v.lora_targets, v.lora, _MODEL, "always by name"),
    Key(
        _LORA + "modules_to_save",
        ("modules_to_save",),
        v.saved_modules,
        v.saves_modules,
        _MODEL,
    ),
    Key(_LORA + "use_rslora", ("lora_variant",), v.const(True), v.variant("rslora"), _MODEL),
    Key(_LORA + "use_dora", ("lora_variant",), v.const(True), v.variant("dora"), _MODEL),
    Key(_LORA + "bias", ("method",), v.const("none"), v.lora, _MODEL),
    Key(
        _LORA + "task_type",
        ("method",),
        v.adapter_task,
        v.lora,
        _MODEL,
    ),
)

_SET = "train_dataset."
DATA = (
    Key(
        _SET + "type",
        ("task",),
        v.dataset,
        None,
        _DATA,
    ),
    Key(_SET + "dataset", ("data",), v.const({}), None, _DATA),
    Key(_SET + "tokenizer", ("model",), v.const({}), None, _DATA, "the tokenizer above"),
    Key(_SET + "max_length", ("max_length", "overlong"), None, None, _DATA),
    Key(_SET + "dataset_map_fn", ("data",), v.rows_map, None, _DATA, "mfc_rows.py where XTuner has none"),
    Key(
        _SET + "template_map_fn",
        ("template",),
        v.template_map,
        v.given("template"),
        _DATA,
    ),
    Key(_SET + "remove_unused_columns", ("data",), v.const(True), v.rows, _DATA),
    Key(_SET + "shuffle_before_pack", ("packing",), v.const(True), v.rows, _DATA),
    Key(_SET + "pack_to_max_length", ("packing",), None, v.rows, _DATA),
    Key(_SET + "is_dpo", ("task",), v.compares, v.pairs, _DATA),
    Key(_SET + "is_reward", ("task",), v.rewards, v.pairs, _DATA),
    Key(_SET + "reward_token_id", ("reward_token",), None, v.task("reward"), _DATA),
    Key(_SET + "use_varlen_attn", ("varlen",), None, None, _DATA),
    Key(_SET + "map_num_proc", ("preprocessing_workers",), None, v.rows, _DATA, "XTuner's default is 32 processes"),
    Key(_SET + "num_proc", ("preprocessing_workers",), None, v.pairs, _DATA),
    Key("train_dataloader.batch_size", ("micro_batch",), None, None, _DATA),
    Key("train_dataloader.num_workers", ("dataloader_workers",), None, None, _DATA),
    Key("train_dataloader.dataset", ("data",), v.const({}), None, _DATA, "the data set above"),
    Key(
        "train_dataloader.sampler",
        ("sequence_parallel",),
        v.sampler,
        None,
        _DATA,
        "XTuner's own where sequences are split",
    ),
    Key(
        "train_dataloader.collate_fn.type",
        ("task",),
        v.collate,
        None,
        _DATA,
    ),
    Key("train_dataloader.collate_fn.use_varlen_attn", ("varlen",), None, None, _DATA),
)

_STEP = "optim_wrapper."
OPTIM = (
    Key(
        _STEP + "type",
        ("precision",),
        v.wrapper,
        None,
        _OPTIM,
        "under DeepSpeed only the optimizer below counts",
    ),
    Key(_STEP + "optimizer.type", ("optimizer",), v.of("optimizer", v.OPTIMIZERS), None, _OPTIM),
    Key(_STEP + "optimizer.lr", ("learning_rate",), None, None, _OPTIM),
    Key(_STEP + "optimizer.betas", ("adam_beta1", "adam_beta2"), v.betas, v.adam, _OPTIM),
    Key(_STEP + "optimizer.eps", ("adam_epsilon",), None, v.adam, _OPTIM),
    Key(_STEP + "optimizer.weight_decay", ("weight_decay",), None, None, _OPTIM),
    Key(_STEP + "clip_grad", ("max_grad_norm",), v.clip, None, _OPTIM),
    Key(_STEP + "accumulative_counts", ("gradient_accumulation",), None, None, _OPTIM),
    Key(
        _STEP + "loss_scale",
        ("precision",),
        v.loss_scale,
        v.amp,
        _OPTIM,
    ),
    Key(_STEP + "dtype", ("precision",), v.of("precision", v.DTYPES), v.amp, _OPTIM),
    Key(
        "param_scheduler",
        ("schedule", "warmup"),
        v.schedule,
        None,
        _OPTIM,
        "micro-steps where the spec has max_steps, else epochs",
    ),
    Key("train_cfg.type", ("epochs",), v.const("xtuner.engine.runner:TrainLoop"), None, _OPTIM),
    Key("train_cfg.max_epochs", ("epochs",), v.epochs, v.by_epochs, _OPTIM),
    Key("train_cfg.max_iters", ("max_steps", "gradient_accumulation"), v.steps, v.by_steps, _OPTIM, "micro-steps"),
)

_HOOK = "default_hooks."
RUNTIME = (
    Key(
        "custom_hooks",
        ("varlen",),
        v.hooks,
        None,
        _RUNTIME,
        "no chat during training: it takes memory that nothing counts",
    ),
    Key(_HOOK + "timer.type", (), v.const("mmengine.hooks:IterTimerHook"), None, _RUNTIME),
    Key(_HOOK + "logger.type", ("log_every",), v.const("mmengine.hooks:LoggerHook"), None, _RUNTIME),
    Key(_HOOK + "logger.log_metric_by_epoch", ("log_every",), v.const(False), None, _RUNTIME),
    Key(_HOOK + "logger.interval", ("log_steps", "log_every"), None, None, _RUNTIME, "micro-steps"),
    Key(_HOOK + "param_scheduler.type", ("schedule",), v.const("mmengine.hooks:ParamSchedulerHook"), None, _RUNTIME),
    Key(_HOOK + "checkpoint.type", ("save_steps",), v.const("mmengine.hooks:CheckpointHook"), None, _RUNTIME),
    Key(_HOOK + "checkpoint.by_epoch", ("save_steps",), v.const(False), None, _RUNTIME),
    Key(_HOOK + "checkpoint.interval", ("save_steps",), None, None, _RUNTIME),
    Key(_HOOK + "checkpoint.max_keep_ckpts", ("keep",), None, None, _RUNTIME),
    Key(_HOOK + "checkpoint.save_last", ("save_steps",), v.const(True), None, _RUNTIME),
    Key(_HOOK + "sampler_seed.type", ("seed",), v.const("mmengine.hooks:DistSamplerSeedHook"), None, _RUNTIME),
    Key("env_cfg.cudnn_benchmark", (), v.const(False), None, _RUNTIME),
    Key("env_cfg.mp_cfg", (), v.const({"mp_start_method": "fork", "opencv_num_threads": 0}), None, _RUNTIME),
    Key("env_cfg.dist_cfg.backend", (), v.const("nccl"), None, _RUNTIME),
    Key("env_cfg.dist_cfg.timeout", ("timeout_seconds",), None, None, _RUNTIME, "seconds"),
    Key("visualizer", ("report_to",), v.visualizer, None, _RUNTIME),
    Key("log_level", (), v.const("INFO"), None, _RUNTIME),
    Key("load_from", (), v.const(None), None, _RUNTIME),
    Key("resume", ("existing",), v.const(False), None, _RUNTIME, "launch.sh resumes where the spec says so"),
    Key("randomness.seed", ("seed",), None, None, _RUNTIME),
    Key("randomness.deterministic", (), v.const(False), None, _RUNTIME),
    Key("log_processor.by_epoch", ("log_every",), v.const(False), None, _RUNTIME),
    Key("work_dir", ("output_dir",), None, None, _RUNTIME),
)

KEYS: tuple[Key, ...] = (*SETTINGS, *MODEL, *DATA, *OPTIM, *RUNTIME)
