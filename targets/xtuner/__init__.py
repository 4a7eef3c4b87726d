"""XTuner 0.2.0: the Python config of MMEngine, DeepSpeed's JSON where no shipped one will do, and a launcher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mfc.fields import ANYTHING
from mfc.memory.stack import Moments, Preferences, Stack
from mfc.profile import Profile
from mfc.target.codecs import constant
from mfc.target.keys import Key
from mfc.target.outputs import File, Lowered, Start, native
from mfc.target.templates import need_template
from mfc.target.when import is_

from .. import deepspeed
from ..deepspeed import keys as deepspeed_keys
from . import facts
from .clashes import CLASHES
from .codecs import BACKENDS, OPTIMIZERS
from .data import functions
from .keys import ENVIRONMENT, KEYS
from .rules import RULES
from .schedule import SCHEDULES

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = [
    "CLASHES",
    "DISTRIBUTION",
    "ELSEWHERE",
    "KEYS",
    "NAME",
    "REFERENCES",
    "RULES",
    "TITLE",
    "TURN",
    "UNMODELLED",
    "VERSIONS",
    "lower",
    "profile",
]

NAME = "xtuner"
TITLE = "XTuner"
DISTRIBUTION = "xtuner"
TURN = 3
VERSIONS = ("0.2.0",)
CONFIG = "train.py"
DEEPSPEED = "0.18.4"  # the oldest contract at hand; XTuner asks for 0.16.2 and newer

# Sections of which a key of the user's may change what is held in memory.
UNMODELLED = frozenset(
    {
        *("model", "optim_wrapper", "strategy", "train_dataloader", "train_dataset"),
        *("data_preprocessor", "framework", "lora", "training_args"),  # of XTuner's other loop, the Trainer's
        *("test_cfg", "test_dataloader", "test_evaluator", "val_cfg", "val_dataloader", "val_evaluator"),
    }
)

# Decisions that no key of any file carries.
ELSEWHERE = {
    "lora": "its parts are keys of their own",
    "preference_loss": "the class of the model, where it has one loss",
    **dict.fromkeys(
        (*facts.DEFAULTS, "offload_optimizer", "offload_parameters"),
        "DeepSpeed's JSON: the shipped one that launch.sh names, or one of mfc's",
    ),
}

# model/dpo.py and orpo.py give the model the labels too, so it makes a loss of its own in fp32 beside its 16-bit logits
# (transformers 4.48 loss_utils.py), which nobody takes. Autocast is around all of it.
_PREFERENCES = Preferences(
    dpo=(Moments(12, 16, forward=14), Moments(6, 16, forward=14)),
    orpo=(Moments(14, forward=14), Moments(8, forward=14)),
    within_autocast=True,
)


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What XTuner 0.2.0 can say, and how it uses memory (sources: model/sft.py, dispatch, configs/deepspeed)."""
    stack = Stack(
        name=NAME,
        trainable_fp32=True,  # weights_dtype says so
        frozen_fp32=True,
        logits_shift_copy=True,  # transformers 4.48 loss_utils.py
        logits_beside_copies=True,
        fused_experts=False,
        fused_blocks="never",
        sdpa_expands_kv=True,  # transformers 4.48 integrations/sdpa_attention.py
        expands_kv=True,  # XTuner's own attention repeats keys and values before the kernel
        loads_on_host=True,
        wraps_one_gpu=True,
        preferences=_PREFERENCES,
        reduce_bucket_elements=facts.DEFAULTS["reduce_bucket_elements"],
        prefetch_bucket_elements=facts.DEFAULTS["prefetch_bucket_elements"],
        persistence_threshold_elements=facts.DEFAULTS["persistence_threshold_elements"],
        overlap_comm=facts.DEFAULTS["overlap_comm"],
    )
    return Profile(
        target=NAME,
        version=version,
        stack=stack,
        supports={
            "task": ("sft", "pretrain", "dpo", "orpo", "reward"),
            "method": ("full", "lora", "qlora"),
            "lora_variant": ("lora", "rslora", "dora"),
            "schedule": SCHEDULES,
            "preference_loss": ("sigmoid", "orpo"),
            "sequence_parallel": ANYTHING,
            "attention": ("flash", "sdpa", "eager"),
            "gradient_checkpointing": (True, False),
            "packing": (True, False),
            "packing_task": ("pretrain", "sft", "dpo", "orpo", "reward"),
            "system": ANYTHING,
            "samples": ANYTHING,
            "existing": ("fail", "resume", "overwrite"),
            "data_options": ("subset", "split", "columns", "roles", "samples"),
            "precision": ("bf16", "fp16", "fp32", "pure_bf16"),
            "quantization": ("nf4", "fp4", "int8"),
            "sharding": ("ddp", "zero1", "zero2", "zero3"),
            "offload_optimizer": ("none", "cpu"),
            "offload_parameters": ("none", "cpu"),
            "loss": ("plain",),
            "optimizer": tuple(OPTIMIZERS),
            "overlong": ("truncate",),
            "report_to": ("none", *BACKENDS),
        },
        packages=packages,
        notes={
            "loss": "the loss holds all logits",
            "sharding": "FSDP is what XTuner V1 runs on: target xtuner-v1",
            "overlong": "longer samples are cut at max_length",
            "task": "GRPO is part of XTuner V1",
        },
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """The config, the launcher, and DeepSpeed's JSON unless XTuner ships one that says the same."""
    if plan.strategy.task == "sft":
        need_template(plan, facts.templates())
    made = native(KEYS, plan, out_to_spec, extra)
    sections = {"imports": _imports(made.data), "references": REFERENCES}
    files = [made.file(CONFIG, "train.py.j2", facts.CONTRACT)._replace(sections=sections), _launcher(plan)]
    if made.data["train_dataset"]["dataset_map_fn"].startswith(f"{facts.OWN}:"):
        files.append(File(f"{facts.OWN}.py", functions(plan), "mfc_rows.py.j2", cites={"system": ("system",)}))
    if plan.strategy.deepspeed and plan.values["deepspeed_preset"] == "":
        contract = f"{deepspeed.NAME}-{DEEPSPEED}"
        files.append(native(ENGINE, plan).file(deepspeed.CONFIG, contract=contract))
    return Lowered(tuple(files), Start("launch.sh"))


def _launcher(plan: Plan) -> File:
    made, values, hardware = native(ENVIRONMENT, plan), plan.values, plan.problem.hardware
    asked = values["deepspeed_preset"] or deepspeed.CONFIG
    launch = {
        "nodes": hardware.nodes,
        "processes": hardware.gpus_per_node,
        "environment": made.data,
        "deepspeed": asked if plan.strategy.deepspeed else "",
        "output": values["output_dir"],
        "existing": values["existing"],
    }
    cites = {
        "deepspeed": ("deepspeed_preset", "sharding"),
        "existing": ("existing",),
    }
    return File("launch.sh", launch, "launch.sh.j2", said=made, cites=cites, executable=True)


def _imports(data: Mapping[str, Any]) -> tuple[str, ...]:
    """What the config refers to, by module, standard order: "module:name,name"."""
    found: dict[str, set[str]] = {}
    for reference in _references(data):
        module, _, name = reference.partition(":")
        found.setdefault(module, set()).add(name.partition(".")[0])
    third = sorted(found, key=lambda module: (module.startswith("xtuner"), module))
    return tuple(f"{module}:{','.join(sorted(found[module]))}" for module in third)


def _references(data: Any) -> Iterator[str]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            if key in REFERENCES and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(data, list):
        for item in data:
            yield from _references(item)


# DeepSpeed's JSON, less the batch over all GPUs: XTuner counts sequence-parallel GPUs as data-parallel there.
ENGINE = (
    *(key for key in deepspeed_keys.ENGINE if key.name != "train_batch_size"),
    Key(
        "zero_force_ds_cpu_optimizer",
        constant(False, "offload_optimizer"),
        is_("offload_optimizer", "cpu"),
        "the optimizer stays torch's, as in XTuner's own configs",
    ),
)

# Keys whose strings name code: "module:name".
REFERENCES = ("type", "torch_dtype", "bnb_4bit_compute_dtype", "dataset_map_fn", "template", "prompt_template")
