"""XTuner 0.2.0: the Python config of MMEngine, DeepSpeed's JSON where no shipped one will do, and a launcher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mfc.errors import CannotExpress
from mfc.memory.stack import Moments, Preferences, Stack
from mfc.profile import Profile
from mfc.target.keys import native
from mfc.target.outputs import File, Lowered
from mfc.target.paths import is_local, located

from .. import deepspeed
from . import facts
from .keys import KEYS
from .rules import RULES
from .values import BACKENDS, OPTIMIZERS

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = ["ELSEWHERE", "KEYS", "NAME", "REFERENCES", "RULES", "TITLE", "UNMODELLED", "VERSIONS", "lower", "profile"]

NAME = "xtuner"
TITLE = "XTuner"
VERSIONS = ("0.2.0",)
CONFIG = "train.py"
DEEPSPEED = "0.18.4"  # the oldest contract at hand; XTuner asks for 0.16.2 and newer

# Sections of which a key of the user's may change what is held in memory.
UNMODELLED = frozenset({"model", "optim_wrapper", "strategy", "train_dataloader", "train_dataset"})

# Decisions that no key of the config carries.
ELSEWHERE = {
    "allocator": "the environment that launch.sh sets",
    "cpu_threads": "the environment that launch.sh sets",
    "deepspeed_preset": "the option --deepspeed in launch.sh",
    "eval_micro_batch": "XTuner does not evaluate",
    "freeze_parts": "XTuner's target trains no vision models",
    "lora": "its parts are keys of their own",
    "trainable_layers": "for method freeze, which XTuner does not have",
    "loss": "always plain",
    **dict.fromkeys(("offload_optimizer", "offload_parameters"), "the option --deepspeed in launch.sh"),
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
        "DeepSpeed's JSON, shipped or ours",
    ),
}

# Settings that hold paths, which depend on where the outputs lie.
_MODELS = (
    "pretrained_model_name_or_path",
    "tokenizer.pretrained_model_name_or_path",
    "model.llm.pretrained_model_name_or_path",
    "model.ref_llm.pretrained_model_name_or_path",
)

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
            "schedule": ("cosine", "linear", "constant"),
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
    if plan.values["template"] == "":
        names = ", ".join(facts.knows("templates"))
        model = plan.problem.model.name
        raise CannotExpress(
            f"{NAME} {plan.profile.version} has no chat template for {model}; if one of its own will do, "
            f"set data.template ({names})"
        )
    made = native(KEYS, plan, extra)
    data = made.data
    for name in _MODELS:
        _move(data, name, out_to_spec)
    data["train_dataset"]["dataset"] = facts.loader(plan.problem.spec, out_to_spec)
    if "data_files" in data:
        data["data_files"] = facts.files(plan.problem.spec, out_to_spec)
    data["train_dataset"]["tokenizer"] = data["tokenizer"]
    data["train_dataloader"]["dataset"] = data["train_dataset"]
    sections = {**made.sections, "imports": _imports(data), "references": REFERENCES}
    files = [
        File(CONFIG, data, "train.py.j2", facts.CONTRACT, made.cites, sections),
        File("launch.sh", _launch(plan), "launch.sh.j2", cites=_LAUNCH_CITES, executable=True),
    ]
    if data["train_dataset"]["dataset_map_fn"].startswith(f"{facts.OWN}:"):
        files.append(File(f"{facts.OWN}.py", {}, "mfc_rows.py.j2"))
    if plan.strategy.deepspeed and plan.values["deepspeed_preset"] is None:
        files.append(_deepspeed(plan))
    nodes = plan.problem.hardware.nodes
    return Lowered(tuple(files), "bash launch.sh" if nodes == 1 else "NODE_RANK=0 MASTER_ADDR=HOST bash launch.sh")


def _deepspeed(plan: Plan) -> File:
    """DeepSpeed's JSON, less the batch over all GPUs: XTuner counts sequence-parallel GPUs as data-parallel there."""
    file = deepspeed.config_file(plan, DEEPSPEED)
    data = {name: value for name, value in file.data.items() if name != "train_batch_size"}
    if plan.strategy.offload_optimizer != "none":
        data["zero_force_ds_cpu_optimizer"] = False  # the optimizer stays torch's, as in XTuner's own configs
    return file._replace(data=data)


def _launch(plan: Plan) -> dict[str, Any]:
    hardware, values = plan.problem.hardware, plan.values
    environment = {"XTUNER_DATASET_TIMEOUT": str(max(values["timeout_seconds"] // 60, 1))}
    if values["allocator"]:
        environment["PYTORCH_CUDA_ALLOC_CONF"] = values["allocator"]
    if values["cpu_threads"]:
        environment["OMP_NUM_THREADS"] = str(values["cpu_threads"])
    if hardware.devices:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, hardware.devices))
    asked = values["deepspeed_preset"] or deepspeed.CONFIG
    return {
        "nodes": hardware.nodes,
        "processes": hardware.gpus_per_node,
        "environment": environment,
        "deepspeed": asked if plan.strategy.deepspeed else "",
        "output": values["output_dir"],
        "existing": values["existing"],
    }


_LAUNCH_CITES = {
    "XTUNER_DATASET_TIMEOUT": ("timeout_seconds",),
    "PYTORCH_CUDA_ALLOC_CONF": ("allocator",),
    "OMP_NUM_THREADS": ("cpu_threads",),
    "deepspeed": ("deepspeed_preset", "sharding", "offload_optimizer", "offload_parameters"),
    "existing": ("existing",),
}


def _move(data: dict[str, Any], name: str, out_to_spec: str) -> None:
    """Make the path of a local model relative to the output folder."""
    *folders, last = name.split(".")
    for folder in folders:
        data = data.get(folder, {})
    if last in data and is_local(data[last]):
        data[last] = located(data[last], out_to_spec)


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


# Keys whose strings name code: "module:name".
REFERENCES = ("type", "torch_dtype", "bnb_4bit_compute_dtype", "dataset_map_fn", "template", "prompt_template")
