"""What Axolotl refuses at start of keys that its contract lets through, or drops without a word beside the plan.

Source: utils/schemas/validation.py, config.py and integrations/liger/args.py of Axolotl 0.19.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mfc.target.clashes import Clash, Data

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

Test = Callable[["Plan", Data], bool]
_VALIDATION, _CONFIG = "utils/schemas/validation.py", "utils/schemas/config.py"
_ARGS = "integrations/liger/args.py"


def _always(*_: object) -> bool:
    return True


def _has(*keys: str) -> Test:
    return lambda _, data: any(bool(data.get(key)) for key in keys)


def _lacks(*keys: str) -> Test:
    """None of the keys is there."""
    return lambda _, data: not any(data.get(key) for key in keys)


def _fuses(plan: Plan, _: Data) -> bool:
    return plan.strategy.loss == "fused"


def _has_no_plugin(plan: Plan, _: Data) -> bool:
    return plan.strategy.loss != "fused"


def _lacks_steps(_: Plan, data: Data) -> bool:
    return not (data.get("save_steps") and data.get("eval_steps")) or bool(data["save_steps"] % data["eval_steps"])


def _evaluates_by_epochs(_: Plan, data: Data) -> bool:
    return data.get("eval_strategy") == "epoch"


def _reads_whole_rows(_: Plan, data: Data) -> bool:
    return data.get("attn_implementation") in ("sdpa", "eager")


_PLUGIN = "a key of Liger's plugin, which is there with strategy.loss: fused alone; else it is dropped without a word"
_ONE_LOSS = "only one way to make the loss can be there, and strategy.loss: fused is one"
_SPLIT = _has("deepspeed", "fsdp_config")

CLASHES: tuple[Clash, ...] = (
    Clash("batch_size", _always, "it does not go with gradient_accumulation_steps", _VALIDATION, "train.batch_size"),
    Clash("bfloat16", _always, "it takes the place of bf16", "utils/config/__init__.py", "train.precision"),
    Clash("float16", _always, "it takes the place of fp16", "utils/config/__init__.py", "train.precision"),
    Clash("use_ray", _always, "launch.sh starts torchrun, and Ray would start nothing beside it", "cli/main.py"),
    *(
        Clash(key, _has_no_plugin, _PLUGIN, _ARGS)
        for key in ("liger_layer_norm", "liger_rms_norm_gated", "liger_use_token_scaling", "liger_kernel_impl")
    ),
    Clash("liger_cross_entropy", _has_no_plugin, _PLUGIN, _ARGS),
    Clash("liger_cross_entropy", _fuses, _ONE_LOSS, _VALIDATION),
    Clash("chunked_cross_entropy", _fuses, _ONE_LOSS, _VALIDATION),
    Clash("flash_attn_fuse_mlp", _has("adapter"), "fused modules get no adapters", _VALIDATION),
    Clash("use_onebitllms", _has("adapter"), "its linears get no adapters", _VALIDATION),
    Clash("flash_optimum", _has("bf16", "fp16"), "it does not go with autocast", _VALIDATION),
    Clash("relora", _SPLIT, "it starts adapters anew in one process's weights, not in shares", _VALIDATION),
    Clash("relora", _lacks("adapter"), "it starts adapters anew, and none train", _VALIDATION),
    Clash("relora", _lacks("jagged_restart_steps"), "it needs jagged_restart_steps beside it", _VALIDATION),
    Clash("ple_cpu_offload", _SPLIT, "shares are placed by DeepSpeed and FSDP themselves", _CONFIG),
    Clash("ple_cpu_offload", _lacks("load_in_4bit", "load_in_8bit"), "it is for quantised weights", _CONFIG),
    Clash("quantize_moe_experts", _lacks("load_in_4bit", "load_in_8bit"), "it is for quantised weights", _CONFIG),
    Clash(
        "quantize_moe_experts",
        _has("lora_target_linear"),
        "it does not go with lora_target_linear",
        _CONFIG,
        "train.lora.targets: attention",
    ),
    Clash("fp32_norms", _lacks("fsdp_config"), "it is for FSDP2", _CONFIG),
    Clash(
        "fp8_enable_fsdp_float8_all_gather", _lacks("fsdp_config"), "it is for FSDP2, and gathers in fp8", _VALIDATION
    ),
    Clash("deepcompile", _lacks("deepspeed"), "it is for DeepSpeed", _VALIDATION),
    Clash("selective_checkpointing", _lacks("gradient_checkpointing"), "nothing is recomputed", _VALIDATION),
    Clash("batch_flattening", _reads_whole_rows, "it needs flash attention", _VALIDATION, "strategy.attention: flash"),
    Clash("batch_flattening", _has("sample_packing"), "rows are packed already", _VALIDATION),
    Clash("streaming", _lacks("max_steps"), "a stream has no end: set train.max_steps", _VALIDATION),
    Clash("streaming", _has("val_set_size"), "a stream has no shares: give data.eval a file", _VALIDATION),
    Clash("saves_per_epoch", _has("save_steps"), "it does not go with save_steps", _VALIDATION, "run.save_every"),
    Clash("evals_per_epoch", _has("eval_steps"), "it does not go with eval_steps", _VALIDATION, "run.eval_every"),
    Clash("evals_per_epoch", _evaluates_by_epochs, "eval_strategy is epoch", _VALIDATION, "run.eval_every"),
    Clash("do_bench_eval", _lacks("eval_steps"), "it needs steps: set data.eval and run.eval_every", _VALIDATION),
    Clash(
        "early_stopping_patience",
        _lacks_steps,
        "what is saved has been evaluated: set data.eval, and run.save_every to a multiple of run.eval_every",
        _VALIDATION,
    ),
    Clash(
        "dataset_exact_deduplication",
        _has("skip_prepare_dataset"),
        "it is done as rows are prepared, which skip_prepare_dataset leaves out",
        _CONFIG,
    ),
)
