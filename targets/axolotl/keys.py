"""Axolotl's YAML keys and the plan fields they carry: one flat file.

Everything that decides a result is written, never left to a default: Axolotl's own differ by task (checkpointing is
reentrant in fine-tuning and not beside preferences, adapters of fine-tuning get kernels of Axolotl's, SimPO learns the
chosen answer besides), and keys that it does not know it drops without a word. Source: utils/schemas/*.py,
core/builders/*.py and loaders/*.py of Axolotl 0.19.0.
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
    counted,
    flag,
    items,
    one_way,
    path,
    same,
    single,
    whole,
    words,
)
from mfc.target.keys import Key, section
from mfc.target.launch import ALLOCATOR, DEVICES, THREADS
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
    When,
    both,
    given,
    is_,
    is_not,
    quantised,
    task,
)

from . import data, kernels
from .rollout import ROLLOUT

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

CONFIG = "ds_config.json"
LIGER = "axolotl.integrations.liger.LigerPlugin"
CUT = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
# The word of `rl`; pretraining and fine-tuning have none, reward models a switch of their own.
TASKS = {name: name for name in ("dpo", "kto", "orpo", "simpo", "grpo")}
ATTENTION = {"sdpa": "sdpa", "eager": "eager", "flash": "flash_attention_2", "flash3": "flash_attention_3"}
SINKS = "kernels-community/vllm-flash-attn3"  # FlashAttention-3 with attention sinks (gpt_oss)
# The same kernels as the Hub has them built, which transformers loads by the name of their repository.
_OTHER_KERNELS = {
    "kernels-community/flash-attn2": "flash",
    "kernels-community/flash-attn3": "flash3",
    SINKS: "flash3",
}
OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
}
# What it takes by other words for the same.
_OTHER_OPTIMIZERS = {
    **dict.fromkeys(("adamw_torch", "adamw_apex_fused", "adamw_torch_npu_fused", "adamw_hf"), "adamw"),
    **dict.fromkeys(("adamw_8bit", "adamw_torch_8bit"), "adamw_8bit"),  # torchao's holds as many bits
    "paged_adamw": "paged_adamw",
}
REPORTS = ("wandb", "tensorboard", "mlflow", "trackio")
# Families whose code is in their own repository, not in transformers.
_REMOTE_CODE = ("baichuan", "chatglm", "internlm2", "internlm3", "minicpm", "minicpm3", "qwen")


def _attention() -> Codec:
    plain = words("attention", ATTENTION, others=_OTHER_KERNELS)

    def write(at: Writing) -> Any:
        sinks = any(block.attention.sinks for _, block in at.plan.problem.model.architecture.blocks)
        return SINKS if sinks and at.value("attention") == "flash3" else plain.write(at)

    return plain._replace(write=write)


def _adapter() -> Codec:
    """Lora or qlora: Axolotl's qlora is 4-bit alone, so 8-bit weights go with lora."""

    def write(at: Writing) -> str:
        stored = at.value("quantization")
        return "qlora" if stored is not None and stored.bits == 4 else "lora"

    def read(word: Any, _: Reader) -> Reading:
        if word not in ("lora", "qlora"):
            raise Unwritten(f"{word!r} is neither lora nor qlora")
        return {"method": ("qlora",) if word == "qlora" else ("lora", "qlora")}

    return Codec(("method",), write, read)


def _quantised(*kinds: str) -> Callable[[Any], Reading]:
    """Adapters on a quantised base: what a switch that is on tells besides the bits."""
    return lambda on: {"method": ("qlora",), "quantization.kind": kinds} if on else {}


def _finds_linears(plan: Plan) -> bool:
    return plan.strategy.lora is not None and plan.strategy.lora.targets == "all-linear"


def _names_linears(plan: Plan) -> bool:
    return plan.strategy.lora is not None and plan.strategy.lora.targets != "all-linear"


def _plugins() -> Codec:
    """The plugin that makes the fused loss."""

    def write(at: Writing) -> list[str]:
        return [CUT if kernels.cuts(at.plan.profile) else LIGER]

    return Codec(("loss",), write, lambda names, _: {"loss": ("fused",)} if {CUT, LIGER} & set(names) else {})


def _named() -> Codec:
    """Names of the linears that get adapters."""

    def write(at: Writing) -> list[str]:
        lora = at.plan.strategy.lora
        assert lora is not None
        return adapted(at.plan) if lora.targets in ("attention", "mlp") else lora.targets.split(",")

    return Codec(("lora_targets",), write, lambda names, _: {"lora_targets": (",".join(names), "attention", "mlp")})


def _template() -> Codec:
    """The template of chats; the tokenizer's own has a name here."""

    def write(at: Writing) -> str:
        return at.value("template") or data.TOKENIZERS

    return Codec(("template",), write, lambda word, _: {"template": ("", word) if word == data.TOKENIZERS else (word,)})


def _warmup_steps(at: Writing) -> Any:
    """A number of steps; SimPO's trainer takes no share, so that is made one of a known number of steps."""
    warmup = at.value("warmup")
    return int(warmup * at.value("max_steps")) if isinstance(warmup, float) else warmup


def _read_warmup_steps(value: Any, reader: Reader) -> Reading:
    return {} if reader.data.get("rl") == "simpo" else {"warmup": (value,)}


def _offload() -> Codec:
    """Weights, gradients and optimizer together: one reason for all."""
    made = flag("offload_parameters", "cpu")._replace(fields=("offload_parameters", "offload_optimizer"))
    return made.citing("offload_parameters").telling(lambda off: {"offload_optimizer": ("cpu" if off else "none",)})


def _has_remote_code(plan: Plan) -> bool:
    return plan.problem.model.architecture.family in _REMOTE_CODE


_FOUR_BIT = quantised("nf4", "fp4")
_FSDP = is_("sharding", "fsdp2")
_FUSED = is_("loss", "fused")
_BY_LIGER = both(_FUSED, When(lambda plan: not kernels.cuts(plan.profile)))
_BY_CUT = both(_FUSED, When(lambda plan: kernels.cuts(plan.profile)))
_TILED = is_("mlp", "tiled")
_CHECKPOINTS = is_("gradient_checkpointing", True)
_ALL = 10**6  # checkpoints: more than any run writes
_SIMPO = task("simpo")
_BY_STEPS_OF_SIMPO = When(lambda plan: plan.strategy.task == "simpo" and WARMUP_SHARE(plan))
_CHATS = task("sft", "dpo", "simpo", "reward")


def _splits_adapters(plan: Plan) -> bool:
    """Adapters under ZeRO-3.

    The DeepSpeed that Axolotl comes with (0.18.6 to 0.18.9) gives gathered weights back before non-reentrant
    checkpointing compares what it computed anew: a CheckpointError in real starts, mended in 0.19.3.
    """
    return plan.strategy.sharding == "zero3" and ADAPTERS(plan)


def _reentrant() -> Codec:
    """How checkpointing calls a layer, of which a file tells nothing."""

    def read(value: Any, reader: Reader) -> Reading:
        if value is True and not ("adapter" in reader.data and "deepspeed" in reader.data):
            raise Unwritten("mfc has true here for adapters under ZeRO-3 alone")
        return {}

    return Codec(("gradient_checkpointing",), lambda at: _splits_adapters(at.plan), read).citing()


MODEL = section(
    "model",
    Key("base_model", path("model.id")),
    Key("revision_of_model", same("model.revision"), given("model.revision")),
    Key(
        "trust_remote_code",
        constant(True, "model.id"),
        When(_has_remote_code),
        "for families whose code is not in transformers",
    ),
    Key("attn_implementation", _attention()),
    Key("plugins", _plugins(), _FUSED, "what follows are keys of the plugin's"),
    Key("cut_cross_entropy", flag("loss", "fused"), _BY_CUT, "where its package is declared"),
    Key("liger_fused_linear_cross_entropy", flag("loss", "fused"), _BY_LIGER),
    Key("liger_rms_norm", flag("loss", "fused").citing(), _BY_LIGER),
    Key("liger_glu_activation", flag("loss", "fused").citing(), _BY_LIGER),
    Key("liger_rope", flag("loss", "fused").citing(), _BY_LIGER),
    Key("tiled_mlp", flag("mlp", "tiled"), _TILED),
    Key(
        "tiled_mlp_num_shards",
        one_way(lambda at: kernels.tiles(at.plan), "max_length", because="the hidden size is in it too").citing(),
        _TILED,
        "tiles of as many tokens as the hidden size; Axolotl's default is one for every 32768",
    ),
    Key("tiled_mlp_use_original_mlp", constant(True, "mlp").citing(), _TILED, "Liger's MLP is tiled too"),
    Key("adapter", _adapter(), ADAPTERS, "left out: all weights train; qlora is 4-bit, lora may be 8-bit"),
    Key("lora_model_dir", path("model.adapter"), given("model.adapter"), "an adapter to go on with"),
    Key(
        "load_in_4bit",
        flag("quantization.bits", 4).telling(_quantised("nf4", "fp4")),
        quantised(),
        also=("quantization",),
    ),
    Key("load_in_8bit", flag("quantization.bits", 8).telling(_quantised("int8")), quantised(), also=("quantization",)),
    Key("bnb_config_kwargs.bnb_4bit_quant_type", same("quantization.kind"), _FOUR_BIT, also=("quantization",)),
    Key("bnb_config_kwargs.bnb_4bit_use_double_quant", same("quantization.double"), _FOUR_BIT, also=("quantization",)),
    Key("lora_r", same("lora_rank"), ADAPTERS),
    Key("lora_alpha", whole("lora_alpha"), ADAPTERS, "a whole number"),
    Key("lora_dropout", same("lora_dropout"), ADAPTERS),
    Key(
        "lora_target_linear",
        Codec(("lora_targets",), lambda _: True, lambda *_: {"lora_targets": ("all-linear",)}),
        When(_finds_linears),
        "Axolotl finds all linears but the head",
    ),
    Key("lora_target_modules", _named(), When(_names_linears), "attention and mlp become the family's names"),
    Key("lora_modules_to_save", items("modules_to_save"), ADAPTERS),
    Key("peft_use_rslora", flag("lora_variant", "rslora"), ADAPTERS),
    Key("peft_use_dora", flag("lora_variant", "dora"), ADAPTERS),
    *(
        Key(name, constant(False), ADAPTERS, "kernels of Axolotl's own, on by default in fine-tuning")
        for name in ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")
    ),
)

DATA = section(
    "data",
    Key("datasets", one_way(data.training, "data.train", because="a folder and a data set on the hub look alike")),
    Key(
        "test_datasets",
        one_way(data.evaluation, "data.eval", because="it describes the rows besides"),
        EVALUATES_A_FILE,
        "a file with rows like those of the first set",
    ),
    Key("val_set_size", same("data.eval"), EVALUATES_A_SHARE, "the last share of the shuffled data"),
    Key("chat_template", _template(), _CHATS),
    Key("sequence_len", same("max_length"), note="Axolotl's default is 512"),
    Key("excess_length_strategy", same("overlong"), is_not("task", "grpo"), "Axolotl's default is drop"),
    Key("train_on_inputs", constant(False, "task"), task("sft"), "answers alone are learnt"),
    Key("sample_packing", same("packing"), task("sft", "pretrain")),
    Key(
        "pad_to_sequence_len",
        same("packing"),
        task("sft", "pretrain", "reward"),
        "packed rows are filled up; others to their longest",
    ),
    Key("eval_sample_packing", same("packing"), both(task("sft", "pretrain"), EVALUATES)),
    Key("dataset_num_proc", same("preprocessing_workers")),
    Key("dataloader_num_workers", same("dataloader_workers")),
)

TRAIN = section(
    "train",
    Key("reward_model", flag("task", "reward"), task("reward")),
    Key("micro_batch_size", same("micro_batch")),
    Key("gradient_accumulation_steps", same("gradient_accumulation"), also=("batch_size",)),
    Key("learning_rate", same("learning_rate")),
    Key("num_epochs", same("epochs"), given("epochs")),
    Key("max_steps", same("max_steps"), given("max_steps")),
    Key("lr_scheduler", SCHEDULER, note="constant with a warm-up has a name of its own"),
    Key("lr_scheduler_kwargs", scheduler_numbers(stable=False), FLOORED),
    Key(
        "warmup_steps",
        Codec(("warmup",), _warmup_steps, _read_warmup_steps),
        When(lambda plan: WARMUP_STEPS(plan) or _BY_STEPS_OF_SIMPO(plan)),
    ),
    Key("warmup_ratio", same("warmup"), both(WARMUP_SHARE, is_not("task", "simpo")), "of all steps, rounded down"),
    Key("weight_decay", same("weight_decay")),
    Key("max_grad_norm", same("max_grad_norm")),
    Key("optimizer", words("optimizer", OPTIMIZERS, others=_OTHER_OPTIMIZERS)),
    Key("adam_beta1", same("adam_beta1")),
    Key("adam_beta2", same("adam_beta2")),
    Key("adam_epsilon", same("adam_epsilon")),
    Key("bf16", flag("precision", "bf16"), note="weights are loaded in bf16 and computed with under autocast"),
    Key("fp16", flag("precision", "fp16")),
    Key("tf32", constant(False, "precision"), note="on by default, where there is fp32 to compute"),
    Key("gradient_checkpointing", same("gradient_checkpointing")),
    Key(
        "gradient_checkpointing_kwargs.use_reentrant",
        _reentrant(),
        _CHECKPOINTS,
        "in fine-tuning the default is true, which adapters under ZeRO-3 need: false ends in a CheckpointError there",
    ),
    Key(
        "activation_offloading",
        words("offload_activations", {"none": False, "cpu": "hidden_states"}),
        note="true would offload every activation of adapters and recompute none",
    ),
    Key("seed", same("seed")),
    Key("ddp_timeout", same("timeout_seconds"), note="seconds"),
)

PREFERENCE = section(
    "preference",
    Key("rl", words("task", TASKS), task(*TASKS)),
    Key("dpo_loss_type", single(same("preference_loss")), task("dpo")),
    Key("rl_beta", same("preference_beta"), task("dpo", "kto", "simpo")),
    Key("orpo_alpha", same("preference_beta"), task("orpo")),
    Key("simpo_gamma", same("preference_gamma"), _SIMPO),
    Key("cpo_alpha", constant(0.0, "task"), _SIMPO, "its default of 1 would learn the chosen answers besides"),
    Key("remove_unused_columns", constant(False, "task"), task("kto"), "Axolotl asks for it"),
)

SHARDING = section(
    "sharding",
    Key("deepspeed", constant(CONFIG, "sharding").citing("sharding"), DEEPSPEED),
    Key("fsdp_version", words("sharding", {"fsdp2": 2}), _FSDP),
    Key("fsdp_config.auto_wrap_policy", constant("TRANSFORMER_BASED_WRAP", "sharding"), _FSDP, "a unit is a layer"),
    Key("fsdp_config.reshard_after_forward", constant(True, "sharding"), _FSDP),
    Key("fsdp_config.offload_params", _offload(), _FSDP, "weights, gradients and optimizer together"),
    Key("fsdp_config.cpu_ram_efficient_loading", constant(True, "sharding"), _FSDP, "rank 0 alone reads the model"),
    Key("fsdp_config.state_dict_type", constant("SHARDED_STATE_DICT", "sharding"), _FSDP, "of checkpoints"),
    Key("fsdp_config.final_state_dict_type", constant("FULL_STATE_DICT", "sharding"), _FSDP, "of what is left at last"),
)

OUTPUT = section(
    "output",
    Key("output_dir", same("output_dir")),
    Key("auto_resume_from_checkpoints", flag("existing", "resume")),
    Key("save_strategy", words("save_every", {"epoch": "epoch", "never": "no"}, rest="steps")),
    Key("save_steps", same("save_every"), BY_STEPS),
    Key("save_total_limit", counted("keep", "all", _ALL), note="4 where nothing is said, so all is a great number"),
    Key("logging_steps", same("log_every")),
    *(Key(f"use_{name}", flag("report_to", name), is_("report_to", name)) for name in REPORTS),
    Key("eval_strategy", words("eval_every", {"epoch": "epoch"}, rest="steps"), EVALUATES),
    Key("eval_steps", same("eval_every"), both(EVALUATES, EVALUATES_BY_STEPS)),
    Key("eval_batch_size", same("eval_micro_batch"), EVALUATES),
)

KEYS: tuple[Key, ...] = (*MODEL, *DATA, *TRAIN, *PREFERENCE, *ROLLOUT, *SHARDING, *OUTPUT)
ENVIRONMENT: tuple[Key, ...] = (DEVICES, THREADS, ALLOCATOR)

# Plan fields that no key carries, and where they are instead.
ELSEWHERE = {
    "existing": "launch.sh looks for checkpoints before it starts",
    "lora": "its parts are keys of their own",
    "quantization": "its parts are keys of their own",
    "reference_model": "Axolotl makes it: a frozen copy, or the model without its adapters",
    "report_to": "none of the use_ keys",
    "preference_loss": "KTO, ORPO and SimPO have one loss each",
    "rollout": "its parts are keys of their own",
    "rollout_gpus": "the same that train",
    "rollout_share": "nothing is shared: the trainer generates",
    "max_prompt_length": "what the answer leaves of the sequence; nothing cuts prompts",
    "overlong": "GRPO cuts nothing",
    "template": "texts of the other tasks are taken as they are",
}

__all__ = ["ATTENTION", "CONFIG", "ELSEWHERE", "ENVIRONMENT", "KEYS", "LEFT_OUT", "LIGER", "OPTIMIZERS", "TASKS"]
