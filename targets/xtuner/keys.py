"""XTuner's config: its sections, their keys, and the plan fields they carry.

The data is the config as XTuner reads it: `type` and other references to code are "module:name"; settings are said
twice, as the variable that users of XTuner know and where it is used. The template prints the second as the variable.
"""

from __future__ import annotations

from mfc.target.codecs import (
    Codec,
    constant,
    counted,
    doubled,
    flag,
    items,
    minutes,
    one_way,
    only,
    path,
    reference,
    row,
    same,
    whole,
    words,
)
from mfc.target.keys import Key, section
from mfc.target.launch import ALLOCATOR, DEVICES, THREADS
from mfc.target.when import ADAPTERS, SYSTEM, When, both, given, is_, is_not, task

from . import codecs as x
from . import data, schedule

ROWS, PAIRS = task("sft", "pretrain"), task(*x.PAIRED)
PACKED_PAIRS = both(PAIRS, is_("packing", True))
SHUFFLED = When(lambda plan: ROWS(plan) or PACKED_PAIRS(plan))
REFERENCE = both(task("dpo"), is_("reference_model", True))  # DPO holds a frozen copy of a model
REVISED, ITSELF = given("model.revision"), When(x.compares_with_itself)  # a revision is of one model alone
QUANTISED = given("quantization")
FOUR_BITS, EIGHT_BITS = (both(QUANTISED, is_("quantization.bits", number)) for number in (4, 8))
ADAM = is_not("optimizer", "sgd")
AUTOCAST = is_("precision", "bf16", "fp16")
BY_EPOCHS, BY_STEPS = is_("max_steps", None), given("max_steps")

SETTINGS = section(
    "Settings",
    Key("pretrained_model_name_or_path", path("model.id")),
    Key("use_varlen_attn", same("varlen")),
    Key("data_files", data.data_files()),
    Key("prompt_template", x.prompt_template(), given("template")),
    Key("max_length", same("max_length"), also=("overlong",)),
    Key("pack_to_max_length", same("packing"), ROWS),
    Key("max_packed_length", doubled("max_length"), PACKED_PAIRS, "both answers of a pair share the row", ("packing",)),
    Key("sequence_parallel_size", same("sequence_parallel")),
    Key("dpo_loss_type", same("preference_loss"), task("dpo")),
    Key("loss_beta", same("preference_beta"), task("dpo", "orpo")),
    Key("reward_token_id", same("reward_token"), task("reward")),
    Key("batch_size", same("micro_batch"), note="rows (DPO, ORPO, reward: pairs) on each GPU"),
    Key(
        "accumulative_counts",
        same("gradient_accumulation"),
        note="sequence parallelism is counted in already",
        also=("batch_size",),
    ),
    Key("dataloader_num_workers", same("dataloader_workers")),
    Key("max_epochs", whole("epochs"), BY_EPOCHS),
    Key("lr", same("learning_rate")),
    Key("betas", row("adam_beta1", "adam_beta2"), ADAM),
    Key("weight_decay", same("weight_decay")),
    Key("max_norm", same("max_grad_norm"), x.CLIPS, "0 under DeepSpeed: no clipping"),
    Key("save_steps", x.save_steps(), note="micro-steps"),
    Key("save_total_limit", counted("keep", "all", -1)),
    Key("evaluation_freq", x.sample_steps(), x.SAMPLES, "micro-steps"),
    Key("evaluation_inputs", items("samples"), x.SAMPLES),
    Key("SYSTEM", x.sample_system(), both(x.SAMPLES, SYSTEM), "of those answers; mfc_rows.py has that of the rows"),
)

_MODEL = reference("pretrained_model_name_or_path", "model.id")
_ATTENTION = words("attention", x.ATTENTION)
_COMPUTE = words("precision", x.TORCH)
_ADAPTED = words("task", {"reward": "FEATURE_EXTRACTION"}, rest="CAUSAL_LM")  # a reward model has no LM head


def _pretrained(at: str, kind: str, name: Codec, when: When | None = None, revised: When = REVISED) -> tuple[Key, ...]:
    return (
        Key(at + "type", constant(kind, "task"), when),
        Key(at + "pretrained_model_name_or_path", name, when),
        Key(at + "revision", same("model.revision"), both(revised, when) if when else revised),
        Key(at + "trust_remote_code", constant(True, "model.id"), when, "as XTuner itself does for the config"),
    )


_QUANT, _LORA = "model.llm.quantization_config.", "model.lora."
MODEL = section(
    "Model & Tokenizer",
    *_pretrained("tokenizer.", x.TOKENIZER, _MODEL),
    Key("tokenizer.padding_side", constant("right", "task")),
    Key("model.type", words("task", x.MODELS, rest=x.TUNES)),
    Key(
        "model.loss_type",
        words("preference_loss", {"sigmoid": "sigmoid", None: "ranking"}),
        task("dpo", "reward"),
        also=("task",),
    ),
    Key("model.beta", reference("loss_beta", "preference_beta"), task("dpo", "orpo")),
    Key("model.penalty_type", constant("none", "task"), task("reward"), "XTuner's default adds a barrier to the loss"),
    Key("model.reward_token_id", reference("reward_token_id", "reward_token"), task("reward")),
    Key("model.use_varlen_attn", reference("use_varlen_attn", "varlen")),
    Key("model.use_activation_checkpointing", same("gradient_checkpointing"), note="on by default in XTuner"),
    *_pretrained("model.llm.", x.LLM, _MODEL),
    Key("model.llm.torch_dtype", x.weights_dtype(), note="DeepSpeed casts to the format of its JSON"),
    Key(
        "model.llm.attn_implementation",
        _ATTENTION,
        note="always written: XTuner's own choice depends on what is installed",
    ),
    Key(_QUANT + "type", constant("transformers:BitsAndBytesConfig", "quantization").citing("quantization"), QUANTISED),
    Key(_QUANT + "load_in_4bit", constant(True, "quantization").citing("quantization"), FOUR_BITS),
    Key(_QUANT + "load_in_8bit", constant(True, "quantization").citing("quantization"), EIGHT_BITS),
    Key(_QUANT + "bnb_4bit_compute_dtype", _COMPUTE, FOUR_BITS),
    Key(_QUANT + "bnb_4bit_use_double_quant", same("quantization.double"), FOUR_BITS, also=("quantization",)),
    Key(_QUANT + "bnb_4bit_quant_type", same("quantization.kind"), FOUR_BITS, also=("quantization",)),
    *_pretrained("model.ref_llm.", x.LLM, x.reference_name(), REFERENCE, both(REVISED, ITSELF)),
    Key(
        "model.ref_llm.torch_dtype",
        _COMPUTE._replace(fields=("reference_model", "precision")).citing("precision"),
        REFERENCE,
        "under ZeRO-3 XTuner asks for it by name",
    ),
    Key("model.ref_llm.attn_implementation", _ATTENTION, REFERENCE),
    Key(_LORA + "type", constant("peft:LoraConfig", "method").citing("method"), ADAPTERS),
    Key(_LORA + "r", same("lora_rank"), ADAPTERS),
    Key(_LORA + "lora_alpha", whole("lora_alpha"), ADAPTERS),
    Key(_LORA + "lora_dropout", same("lora_dropout"), ADAPTERS),
    Key(
        _LORA + "target_modules",
        one_way(x.lora_targets, "lora_targets", because="which linears there are follows from the model"),
        ADAPTERS,
        "always by name",
    ),
    Key(_LORA + "modules_to_save", items("modules_to_save"), ADAPTERS),
    Key(_LORA + "use_rslora", only("lora_variant", "rslora"), ADAPTERS),
    Key(_LORA + "use_dora", only("lora_variant", "dora"), ADAPTERS),
    Key(_LORA + "bias", constant("none", "method"), ADAPTERS),
    Key(
        _LORA + "task_type",
        words("task", {"reward": "FEATURE_EXTRACTION"}, rest="CAUSAL_LM"),
        ADAPTERS,
    ),
)


def _paired(pairs: str, rows: str) -> Codec:
    return words("task", dict.fromkeys(x.PAIRED, pairs), rest=rows)


_SET = "train_dataset."
DATA = section(
    "Dataset & Dataloader",
    Key(
        _SET + "type",
        _paired("xtuner.dataset.preference_dataset:build_preference_dataset", "xtuner.dataset:process_hf_dataset"),
    ),
    Key(_SET + "dataset", data.loader()),
    Key(_SET + "max_dataset_length", same("data.train.0.samples"), both(ROWS, given("data.train.0.samples"))),
    Key(_SET + "tokenizer", reference("tokenizer", "model.id"), note="the tokenizer above"),
    Key(_SET + "max_length", reference("max_length", "max_length", "overlong")),
    Key(_SET + "dataset_map_fn", data.rows_map(), note="mfc_rows.py where XTuner has none"),
    Key(_SET + "template_map_fn", x.template_map(), given("template")),
    Key(_SET + "remove_unused_columns", constant(True, "data.train"), ROWS),
    Key(_SET + "shuffle_before_pack", constant(True, "packing"), SHUFFLED),
    Key(_SET + "pack_to_max_length", reference("pack_to_max_length", "packing"), ROWS),
    Key(_SET + "is_dpo", flag("task", "dpo", "orpo"), PAIRS),
    Key(_SET + "is_reward", flag("task", "reward"), PAIRS),
    Key(_SET + "reward_token_id", reference("reward_token_id", "reward_token"), task("reward")),
    Key(_SET + "use_varlen_attn", reference("use_varlen_attn", "varlen")),
    Key(_SET + "max_packed_length", reference("max_packed_length", "max_length"), PACKED_PAIRS),
    Key(_SET + "map_num_proc", same("preprocessing_workers"), ROWS, "XTuner's default is 32 processes"),
    Key(_SET + "num_proc", same("preprocessing_workers"), PAIRS),
    Key("train_dataloader.batch_size", reference("batch_size", "micro_batch")),
    Key("train_dataloader.num_workers", reference("dataloader_num_workers", "dataloader_workers")),
    Key("train_dataloader.dataset", reference("train_dataset", "data.train"), note="the data set above"),
    Key(
        "train_dataloader.sampler",
        words("sequence_parallel", {1: x.ALIKE}, rest=x.SPLIT),
        note="XTuner's own where sequences are split",
    ),
    Key(
        "train_dataloader.collate_fn.type",
        _paired(
            "xtuner.dataset.collate_fns.preference_collate_fn:preference_collate_fn",
            "xtuner.dataset.collate_fns:default_collate_fn",
        ),
    ),
    Key("train_dataloader.collate_fn.use_varlen_attn", reference("use_varlen_attn", "varlen")),
)

_STEP = "optim_wrapper."
OPTIM = section(
    "Scheduler & Optimizer",
    Key(
        _STEP + "type",
        words(
            "precision",
            dict.fromkeys(("bf16", "fp16"), "mmengine.optim:AmpOptimWrapper"),
            rest="mmengine.optim:OptimWrapper",
        ),
        note="under DeepSpeed only the optimizer below counts",
    ),
    Key(_STEP + "optimizer.type", words("optimizer", x.OPTIMIZERS)),
    Key(_STEP + "optimizer.lr", reference("lr", "learning_rate")),
    Key(_STEP + "optimizer.betas", reference("betas", "adam_beta1", "adam_beta2"), ADAM),
    Key(_STEP + "optimizer.eps", same("adam_epsilon"), ADAM),
    Key(_STEP + "optimizer.weight_decay", reference("weight_decay", "weight_decay")),
    Key(
        _STEP + "paramwise_cfg",
        constant(x.UNDECAYED, "weight_decay").citing("weight_decay"),
        x.DECAYS,
        "norms and biases do not decay, as in transformers; DeepSpeed takes the optimizer alone",
    ),
    Key(_STEP + "clip_grad", x.clip()),
    Key(_STEP + "accumulative_counts", reference("accumulative_counts", "gradient_accumulation")),
    Key(_STEP + "loss_scale", words("precision", {"fp16": "dynamic"}, rest=1.0), AUTOCAST),
    Key(_STEP + "dtype", words("precision", x.DTYPES), AUTOCAST),
    Key("param_scheduler", schedule.PARTS, note="micro-steps where the spec has max_steps, else epochs"),
    Key("train_cfg.type", constant("xtuner.engine.runner:TrainLoop", "epochs")),
    Key("train_cfg.max_epochs", reference("max_epochs", "epochs"), BY_EPOCHS),
    Key("train_cfg.max_iters", x.micro_steps("max_steps"), BY_STEPS, "micro-steps"),
)

_HOOK = "default_hooks."
RUNTIME = section(
    "Runtime",
    Key(
        "custom_hooks",
        x.hooks(),
        note="EvaluateChatHook for run.samples",
    ),
    Key(_HOOK + "timer.type", constant("mmengine.hooks:IterTimerHook")),
    Key(_HOOK + "logger.type", constant("mmengine.hooks:LoggerHook", "log_every")),
    Key(_HOOK + "logger.log_metric_by_epoch", constant(False, "log_every")),
    Key(_HOOK + "logger.interval", x.log_steps(), note="micro-steps"),
    Key(_HOOK + "param_scheduler.type", constant("mmengine.hooks:ParamSchedulerHook", "schedule")),
    Key(_HOOK + "checkpoint.type", constant("mmengine.hooks:CheckpointHook", "save_steps")),
    Key(_HOOK + "checkpoint.by_epoch", constant(False, "save_steps")),
    Key(_HOOK + "checkpoint.interval", reference("save_steps", "save_steps")),
    Key(_HOOK + "checkpoint.max_keep_ckpts", reference("save_total_limit", "keep")),
    Key(_HOOK + "checkpoint.save_last", constant(True, "save_steps").citing("save_steps")),
    Key(_HOOK + "sampler_seed.type", constant("mmengine.hooks:DistSamplerSeedHook", "seed")),
    Key("env_cfg.cudnn_benchmark", constant(False)),
    Key("env_cfg.mp_cfg", constant({"mp_start_method": "fork", "opencv_num_threads": 0})),
    Key("env_cfg.dist_cfg.backend", constant("nccl")),
    Key("env_cfg.dist_cfg.timeout", same("timeout_seconds"), note="seconds"),
    Key("visualizer", words("report_to", {"none": None, **x.VISUALIZERS})),
    Key("log_level", constant("INFO")),
    Key("load_from", constant(None)),
    Key("resume", constant(False, "existing"), note="launch.sh resumes where the spec says so"),
    Key("randomness.seed", same("seed")),
    Key("randomness.deterministic", constant(False)),
    Key("log_processor.by_epoch", constant(False, "log_every")),
    Key("work_dir", same("output_dir")),
)

KEYS: tuple[Key, ...] = (*SETTINGS, *MODEL, *DATA, *OPTIM, *RUNTIME)

# What launch.sh exports; XTuner's own is in minutes.
ENVIRONMENT = (Key("XTUNER_DATASET_TIMEOUT", minutes("timeout_seconds")), ALLOCATOR, THREADS, DEVICES)
