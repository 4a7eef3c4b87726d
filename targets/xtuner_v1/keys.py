"""XTuner V1's TrainerConfig: its parts, their fields, and the plan fields they carry.

The data is a tree of calls: `type` is "module:name", the rest are keyword arguments. Source: xtuner/v1 of v1.0.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.target.keys import Key

from .rules import FORMATS

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

TRACKERS = {"none": "jsonl", "tensorboard": "tensorboard"}
LOSSES = {"fused": "chunk", "plain": "eager"}
CHUNK = 1024  # tokens of which the logits exist at a time
_T = "trainer."
_DATA, _OPTIM, _LR, _LOSS, _FSDP = (
    _T + part for part in ("dataloader_cfg.", "optim_cfg.", "lr_cfg.", "loss_cfg.", "fsdp_cfg.")
)

# Fields that no key of the config carries.
ELSEWHERE = {
    "allocator": "the environment that launch.sh sets",
    "attention": "always flash attention, which keeps packed samples apart",
    "sharding": "always FSDP2",
    "micro_batch": "always one row",
    "gradient_accumulation": "follows from global_batch_size and the GPUs",
    "precision": "param_dtype, always bf16",
    "optimizer": "the class of optim_cfg",
    "method": "always full",
    "cpu_threads": "for DeepSpeed's optimizer on the host",
    "existing": "launch.sh",
    "log_every": "every step",
    "timeout_seconds": "XTuner V1 has no option for it",
    "eval_micro_batch": "XTuner V1 does not evaluate",
    "reference_model": "for preferences, which XTuner V1 does not train",
    "freeze_parts": "this target trains no vision models",
    "trainable_layers": "for method freeze, which XTuner V1 does not have",
    **dict.fromkeys(
        ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "lora_variant", "modules_to_save"),
        "for adapters, which XTuner V1 does not train",
    ),
    **dict.fromkeys(
        (
            "reduce_bucket_elements",
            "prefetch_bucket_elements",
            "persistence_threshold_elements",
            "sub_group_elements",
            "max_live_elements",
            "overlap_comm",
            "pin_memory",
        ),
        "for DeepSpeed, which XTuner V1 does not use",
    ),
}


def _const(value: Any) -> Any:
    return lambda _: value


def _model(plan: Plan) -> str:
    return plan.problem.model.name


def datasets(plan: Plan) -> list[dict[str, Any]]:
    """Data sets with the function that reads each; weights become shares of each file."""
    sft = FORMATS[plan.strategy.task] == "messages"
    return [
        {
            "dataset": {
                "type": "xtuner.v1.datasets.config:DatasetConfig",
                "name": f"train_{number}",
                "anno_path": str(one.path),
                "sample_ratio": one.weight,
            },
            "tokenize_fn": {
                "type": "xtuner.v1.datasets:OpenaiTokenizeFunctionConfig",
                "chat_template": plan.values["template"],
                "max_length": plan.strategy.max_length,
            }
            if sft
            else {
                "type": "xtuner.v1.datasets.pt_tokenize_fn:PretrainTokenizeFunctionConfig",
                "add_bos_token": False,
                "add_eos_token": True,
            },
        }
        for number, one in enumerate(plan.problem.spec.data.train, 1)
    ]


def _steps(plan: Plan) -> bool:
    return plan.values["max_steps"] is not None


def _epochs(plan: Plan) -> bool:
    return plan.values["max_steps"] is None


KEYS: tuple[Key, ...] = (
    Key(_T + "type", ("task",), _const("xtuner.v1.train:TrainerConfig")),
    Key(_T + "model_cfg.type", ("model",), _const("xtuner.v1.model:get_model_config_from_hf")),
    Key(_T + "model_cfg.model_path", ("model",), _model),
    Key(_T + "load_from", ("model",), _model, note="always written: without it weights are random"),
    Key(_T + "tokenizer_path", ("model",), _model, note="always written: without it bytes are tokens"),
    Key(_DATA + "type", ("task",), _const("xtuner.v1.datasets.config:DataloaderConfig")),
    Key(_DATA + "dataset_config_list", ("data", "template", "max_length", "overlong"), datasets),
    Key(_DATA + "pack_level", ("packing",), lambda plan: "soft" if plan.strategy.packing else "none"),
    Key(_DATA + "pack_max_length", ("max_length",), note="tokens of one micro-step"),
    Key(_DATA + "pack_to_max_length", ("packing",), note="packs are filled up, so memory is the same in each step"),
    Key(_DATA + "group_by_length", ("packing",), lambda plan: plan.strategy.packing, note="only for packs"),
    Key(_DATA + "pack_workers", ("preprocessing_workers",)),
    Key(_DATA + "num_workers", ("dataloader_workers",)),
    Key(_OPTIM + "type", ("optimizer",), _const("xtuner.v1.config:AdamWConfig")),
    Key(_OPTIM + "lr", ("learning_rate",)),
    Key(_OPTIM + "weight_decay", ("weight_decay",)),
    Key(
        _OPTIM + "betas",
        ("adam_beta1", "adam_beta2"),
        lambda plan: [plan.values["adam_beta1"], plan.values["adam_beta2"]],
    ),
    Key(_OPTIM + "eps", ("adam_epsilon",)),
    Key(_OPTIM + "max_grad_norm", ("max_grad_norm",), lambda plan: plan.values["max_grad_norm"] or 1.0),
    Key(_LR + "type", ("schedule",), _const("xtuner.v1.config:LRConfig")),
    Key(_LR + "lr_type", ("schedule",)),
    Key(_LR + "warmup_ratio", ("warmup",)),
    Key(_LR + "lr_min", ("schedule",), _const(0.0), note="falls to zero, as everywhere"),
    Key(_LOSS + "type", ("loss",), _const("xtuner.v1.loss:CELossConfig")),
    Key(_LOSS + "mode", ("loss",), lambda plan: LOSSES[plan.strategy.loss], note="fused: chunk"),
    Key(_LOSS + "chunk_size", ("loss",), _const(CHUNK), lambda plan: plan.strategy.loss == "fused", note="tokens"),
    Key(_FSDP + "type", ("sharding",), _const("xtuner.v1.config:FSDPConfig")),
    Key(
        _FSDP + "recompute_ratio", ("gradient_checkpointing",), lambda plan: float(plan.strategy.gradient_checkpointing)
    ),
    Key(
        _FSDP + "cpu_offload",
        ("offload_parameters", "offload_optimizer"),
        lambda plan: plan.strategy.offload_parameters == "cpu",
        note="weights, gradients and optimizer together",
    ),
    Key(_T + "global_batch_size", ("batch_size",), note="rows: packs, or samples without packing"),
    Key(_T + "total_epoch", ("epochs",), lambda plan: int(plan.values["epochs"]), _epochs),
    Key(_T + "total_step", ("max_steps",), None, _steps),
    Key(_T + "sp_size", ("sequence_parallel",)),
    Key(_T + "do_clip", ("max_grad_norm",), lambda plan: plan.values["max_grad_norm"] > 0),
    Key(_T + "seed", ("seed",)),
    Key(_T + "checkpoint_interval", ("save_steps", "save_every")),
    Key(_T + "checkpoint_maxkeep", ("keep",)),
    Key(_T + "auto_resume", ("existing",), lambda plan: plan.values["existing"] == "resume"),
    Key(_T + "exp_tracker", ("report_to",), lambda plan: TRACKERS[plan.values["report_to"]]),
    Key(_T + "work_dir", ("output_dir",)),
)
