"""XTuner V1's TrainerConfig: its parts, their fields, and the plan fields they carry.

The data is a tree of calls: `type` is "module:name", the rest are keyword arguments. Source: xtuner/v1 of v1.0.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.spec.quantities import whole_steps
from mfc.target.codecs import (
    Codec,
    Reader,
    Reading,
    Unwritten,
    Writing,
    constant,
    counted,
    flag,
    path,
    row,
    same,
    spellings,
    whole,
    words,
)
from mfc.target.keys import Key
from mfc.target.launch import ALLOCATOR, DEVICES
from mfc.target.paths import located
from mfc.target.values import at_key
from mfc.target.when import given, is_

from .rules import FORMATS, NEVER

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

TRACKERS = {"none": "jsonl", "tensorboard": "tensorboard"}
LR_TYPES = {"cosine": "cosine", "linear": "linear", "constant": "constant", "cosine_with_min_lr": "cosine"}
LOSSES = {"fused": "chunk", "plain": "eager"}
CHUNK = 1024  # tokens of which the logits exist at a time
_T = "trainer."
_DATA, _OPTIM, _LR, _LOSS, _FSDP = (
    _T + part for part in ("dataloader_cfg.", "optim_cfg.", "lr_cfg.", "loss_cfg.", "fsdp_cfg.")
)
_CHATS = "xtuner.v1.datasets:OpenaiTokenizeFunctionConfig"
_TEXTS = {
    "type": "xtuner.v1.datasets.pt_tokenize_fn:PretrainTokenizeFunctionConfig",
    "add_bos_token": False,
    "add_eos_token": True,
}


def datasets() -> Codec:
    """Data sets with the function that reads each."""

    def write(at: Writing) -> list[dict[str, Any]]:
        chats = {"type": _CHATS, "chat_template": at.value("template"), "max_length": at.value("max_length")}
        return [
            {
                "dataset": {
                    "type": "xtuner.v1.datasets.config:DatasetConfig",
                    "name": f"train_{number}",
                    "anno_path": located(str(one.path), at.out_to_spec),
                    "sample_ratio": 1.0,
                },
                "tokenize_fn": dict(chats if FORMATS[at.plan.strategy.task] == "messages" else _TEXTS),
            }
            for number, one in enumerate(at.value("data.train"), 1)
        ]

    def read(value: Any, reader: Reader) -> Reading:
        told: dict[str, tuple[Any, ...]] = {}
        for number, one in enumerate(value):
            told[f"data.train.{number}.path"] = spellings(one["dataset"]["anno_path"], reader)
        calls = [one["tokenize_fn"] for one in value]
        if any(call != calls[0] for call in calls):
            raise Unwritten("its data sets are read in several ways")
        if calls[0]["type"] == _CHATS:
            said = {"template": (calls[0]["chat_template"],), "max_length": (calls[0]["max_length"],)}
            return {**told, **said, "task": ("sft",)}
        return {**told, "task": ("pretrain",)}

    def cites(plan: Plan) -> tuple[str, ...]:
        return ("template", "max_length", "overlong") if FORMATS[plan.strategy.task] == "messages" else ()

    return Codec(("data.train", "template", "max_length", "overlong"), write, read, cites=cites)


def warmup() -> Codec:
    """The warm-up in steps where they are known, for XTuner V1 rounds a share of them down; else the share."""

    def write(at: Writing) -> float:
        part, steps = at.value("warmup"), at.value("max_steps")
        return float(part if steps is None else whole_steps(part, steps))

    def read(value: Any, reader: Reader) -> Reading:
        if at_key(reader.data, "trainer").get("total_step") is not None:  # a share of them, or their number
            return {}
        return {"warmup": (value,)}

    return Codec(("warmup",), write, read)


def ends() -> Codec:
    """Where the learning rate ends."""

    def write(at: Writing) -> float:
        return float(at.value("min_learning_rate") or 0.0)

    def read(value: Any, _: Reader) -> Reading:
        if value:
            return {"schedule": ("cosine_with_min_lr",), "min_learning_rate": (value,)}
        return {"schedule": ("cosine", "linear", "constant")}

    return Codec(("min_learning_rate", "schedule"), write, read)


def clipping() -> Codec:
    """The norm to clip to; where do_clip says that nothing is clipped, one that nobody reads."""

    def read(value: Any, _: Reader) -> Reading:
        return {"max_grad_norm": (value, 0) if value == 1.0 else (value,)}

    def cites(plan: Plan) -> tuple[str, ...]:
        return ("max_grad_norm",) if plan.values["max_grad_norm"] else ()

    return Codec(("max_grad_norm",), lambda at: at.value("max_grad_norm") or 1.0, read, cites=cites)


def clips() -> Codec:
    """Whether gradients are clipped."""

    def read(value: Any, _: Reader) -> Reading:
        return {} if value else {"max_grad_norm": (0,)}

    return Codec(("max_grad_norm",), lambda at: at.value("max_grad_norm") > 0, read)


KEYS: tuple[Key, ...] = (
    Key(_T + "type", constant("xtuner.v1.train:TrainerConfig", "task")),
    Key(_T + "model_cfg.type", constant("xtuner.v1.model:get_model_config_from_hf", "model.id")),
    Key(_T + "model_cfg.model_path", path("model.id")),
    Key(_T + "load_from", path("model.id"), note="always written: without it weights are random"),
    Key(_T + "tokenizer_path", path("model.id"), note="always written: without it bytes are tokens"),
    Key(_DATA + "type", constant("xtuner.v1.datasets.config:DataloaderConfig", "task")),
    Key(_DATA + "dataset_config_list", datasets()),
    Key(_DATA + "pack_level", words("packing", {True: "soft", False: "none"})),
    Key(_DATA + "pack_max_length", same("max_length"), note="tokens of one micro-step"),
    Key(_DATA + "pack_to_max_length", same("packing"), note="packs are filled up, so memory is the same in each step"),
    Key(_DATA + "group_by_length", same("packing"), note="only for packs"),
    Key(_DATA + "pack_workers", same("preprocessing_workers")),
    Key(_DATA + "num_workers", same("dataloader_workers")),
    Key(_OPTIM + "type", constant("xtuner.v1.config:AdamWConfig", "optimizer").citing("optimizer")),
    Key(_OPTIM + "lr", same("learning_rate")),
    Key(_OPTIM + "weight_decay", same("weight_decay")),
    Key(_OPTIM + "betas", row("adam_beta1", "adam_beta2")),
    Key(_OPTIM + "eps", same("adam_epsilon")),
    Key(_OPTIM + "max_grad_norm", clipping()),
    Key(_LR + "type", constant("xtuner.v1.config:LRConfig", "schedule")),
    Key(_LR + "lr_type", words("schedule", LR_TYPES), note="cosine_with_min_lr: a cosine that ends at lr_min"),
    Key(_LR + "warmup_ratio", warmup(), note="a number of steps from 1 on, where they are known"),
    Key(_LR + "lr_min", ends(), note="falls to zero unless the schedule ends elsewhere"),
    Key(_LOSS + "type", constant("xtuner.v1.loss:CELossConfig", "loss")),
    Key(_LOSS + "mode", words("loss", LOSSES), note="fused: chunk"),
    Key(_LOSS + "chunk_size", constant(CHUNK, "loss"), is_("loss", "fused"), "tokens"),
    Key(_FSDP + "type", constant("xtuner.v1.config:FSDPConfig", "sharding").citing("sharding")),
    Key(_FSDP + "recompute_ratio", words("gradient_checkpointing", {False: 0.0, True: 1.0})),
    Key(_FSDP + "cpu_offload", flag("offload_parameters", "cpu"), note="weights, gradients and optimizer together"),
    Key(_T + "global_batch_size", same("batch_size"), note="rows: packs, or samples without packing"),
    Key(_T + "total_epoch", whole("epochs"), is_("max_steps", None)),
    Key(_T + "total_step", same("max_steps"), given("max_steps")),
    Key(_T + "sp_size", same("sequence_parallel")),
    Key(_T + "do_clip", clips()),
    Key(_T + "seed", same("seed")),
    Key(_T + "checkpoint_interval", counted("save_every", "never", NEVER)),
    Key(_T + "checkpoint_maxkeep", counted("keep", "all", -1)),
    Key(_T + "auto_resume", flag("existing", "resume")),
    Key(_T + "exp_tracker", words("report_to", TRACKERS)),
    Key(_T + "work_dir", same("output_dir")),
)

ENVIRONMENT = (ALLOCATOR, DEVICES)  # what launch.sh exports

# Decisions that no key of any file carries.
ELSEWHERE = {
    "attention": "always flash attention, which keeps packed samples apart",
    "micro_batch": "always one row",
    "gradient_accumulation": "follows from global_batch_size and the GPUs",
    "precision": "param_dtype, always bf16",
    "method": "always full",
    "log_every": "every step",
    "timeout_seconds": "XTuner V1 has no option for it",
    "cpu_threads": "for DeepSpeed's optimizer on the host",
    "offload_optimizer": "cpu_offload, which moves all or nothing",
}
