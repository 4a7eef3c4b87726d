"""LLaMA-Factory: one YAML, DeepSpeed's JSON where it is used, dataset_info.json, and the launcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.errors import Refused
from mfc.memory.stack import LowRank, Moments, Preferences, Stack
from mfc.profile import Profile
from mfc.target.keys import native
from mfc.target.outputs import File, Lowered
from mfc.target.paths import is_local, located
from mfc.target.templates import need_template
from mfc.target.versions import nearest

from .. import deepspeed
from . import templates
from .data import dataset_info, media_folder
from .keys import KEYS
from .rules import RULES, VERSIONS
from .unmodelled import UNMODELLED

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = ["KEYS", "NAME", "RULES", "TITLE", "UNMODELLED", "VERSIONS", "lower", "profile"]

NAME = "llamafactory"
TITLE = "LLaMA-Factory"

# What each version is released with: transformers decides how experts are stored, DeepSpeed which JSON is valid.
_RELEASED_WITH = {
    "0.9.5": {"transformers": "5.6.0", "deepspeed": "0.18.4"},
    "0.9.4": {"transformers": "4.57.1", "deepspeed": "0.16.9"},
}

# train/dpo/trainer.py and train/kto/trainer.py turn whole logits to fp32, take log_softmax of a slice, which CUDA
# copies, and hold the policy's while the reference makes its own; KTO's, those of its KL batch as well.
_PREFERENCES = Preferences(
    dpo=(Moments(12, 20), Moments(12, 20)),
    kto=(Moments(12, 24), Moments(12, 24)),
    orpo=(Moments(12), Moments(12)),
    simpo=(Moments(12), Moments(12)),
)


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What one version supports and how it uses memory.

    Weights that train are cast to fp32 unless pure_bf16 or ZeRO-3 (model/adapter.py), nothing else is: what stays
    unquantised beside 4-bit weights keeps 16 bits (model/model_utils/checkpointing.py prepares models, not PEFT). A
    reward model has TRL's value head, whose forward makes the logits of the language model too and upcasts them. The
    launcher lets memory segments grow (launcher.py), and launch.sh does where there is no launcher.
    """
    transformers = packages.get("transformers") or _RELEASED_WITH[nearest(version, VERSIONS)]["transformers"]
    return Profile(
        target=NAME,
        version=version,
        stack=Stack(
            name=f"{NAME}-{nearest(version, VERSIONS)}",
            known=True,  # the Trainer and PEFT; its wiki's QLoRA peaks by length lie within 11 % of the prediction
            trainable_fp32=True,
            adapter_fp32=True,
            kbit_fp32=False,
            fused_experts=int(transformers.partition(".")[0]) >= 5,
            expert_adapters=False,  # it pins PEFT up to 0.18, which does not find fused experts
            expandable_segments=True,
            value_head=True,
            preferences=_PREFERENCES,
            low_rank=LowRank(rank=16),  # hparams/finetuning_args.py: galore_rank, apollo_rank
        ),
        supports={
            "task": ("sft", "pretrain", "dpo", "orpo", "simpo", "kto", "reward"),
            "method": ("lora", "full", "qlora", "freeze"),
            "lora_variant": ("lora", "rslora", "dora"),
            "precision": ("bf16", "pure_bf16", "fp16", "fp32"),
            "quantization": ("nf4", "fp4", "int8", "hqq", "eetq", "gptq", "awq", "aqlm", "bnb"),
            "sharding": ("ddp", "zero1", "zero2", "zero3"),
            "sequence_parallel": (1,),
            "attention": ("sdpa", "flash", "eager"),
            "loss": ("plain", "fused"),
            "optimizer": (
                *("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "sgd", "lion"),
                *("galore", "apollo", "badam"),
            ),
            "overlong": ("truncate",),
        },
        packages=packages,
        notes={
            "task": "it has no GRPO, and its YAML cannot say the KL weight of its PPO",
            "sharding": "FSDP is started by accelerate, outside of its YAML",
            "sequence_parallel": "its engine has none",
            "overlong": "it cuts prompt and answer in proportion",
        },
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """The YAML, the JSON of DeepSpeed, dataset_info.json and the launcher.

    Raises Refused without a chat template, and for strings that LLaMA-Factory's reader would take for something else.
    """
    version = nearest(plan.profile.version, VERSIONS)
    need_template(plan, templates.known(version))
    made = native(KEYS, plan, extra)
    _move_paths(made.data, plan, out_to_spec)
    _refuse_interpolation(made.data)
    files = [
        File("train.yaml", made.data, "train.yaml.j2", f"{NAME}-{version}", made.cites, made.sections),
        File("dataset_info.json", dataset_info(plan, out_to_spec)),
    ]
    if plan.strategy.deepspeed:
        installed = plan.profile.packages.get("deepspeed") or _RELEASED_WITH[version]["deepspeed"]
        files.append(deepspeed.config_file(plan, installed))
    launch = {
        "nodes": plan.problem.hardware.nodes,
        "existing": plan.values["existing"],
        "output_dir": plan.values["output_dir"],
        "environment": environment(plan),
        "one_gpu": not _torchrun(plan) and not plan.problem.hardware.devices,
    }
    files.append(File("launch.sh", launch, "launch.sh.j2", cites=_LAUNCH_CITES, executable=True))
    several = "" if launch["nodes"] == 1 else "NODE_RANK=0 MASTER_ADDR=HOST "
    return Lowered(tuple(files), f"{several}bash launch.sh")


def environment(plan: Plan) -> dict[str, str]:
    """Environment variables of the launch, as launcher.py of LLaMA-Factory reads them."""
    hardware = plan.problem.hardware
    made = {}
    if hardware.devices:
        made["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, hardware.devices))
    if _torchrun(plan):
        made["FORCE_TORCHRUN"] = "1"
    if hardware.nodes > 1:
        made["NNODES"] = str(hardware.nodes)
    made["NPROC_PER_NODE"] = str(hardware.gpus_per_node)
    if plan.values["cpu_threads"]:
        made["OMP_NUM_THREADS"] = str(plan.values["cpu_threads"])
    allocator = plan.values["allocator"]
    if _torchrun(plan) and not allocator:
        made["OPTIM_TORCH"] = "0"
    elif not _torchrun(plan) and allocator:
        made["PYTORCH_CUDA_ALLOC_CONF"] = allocator
    return made


def _torchrun(plan: Plan) -> bool:
    return plan.strategy.world_size > 1 or plan.strategy.deepspeed


_LAUNCH_CITES = {
    "FORCE_TORCHRUN": ("sharding",),
    "OPTIM_TORCH": ("allocator",),
    "PYTORCH_CUDA_ALLOC_CONF": ("allocator",),
    "OMP_NUM_THREADS": ("cpu_threads",),
    "output_dir": ("existing",),
}


def _move_paths(native_data: dict[str, Any], plan: Plan, out_to_spec: str) -> None:
    """Paths of the spec become paths from the output folder, where the run starts."""
    for name in ("model_name_or_path", "adapter_name_or_path", "ref_model"):
        path = native_data.get(name)
        if isinstance(path, str) and is_local(path):
            native_data[name] = located(path, out_to_spec)
    if "media_dir" in native_data:
        native_data["media_dir"] = media_folder(plan, out_to_spec)


# Keys that hold text of the spec's, and where it says them; other text comes from `extra`.
_SAID = {
    "model_name_or_path": "model.id",
    "model_revision": "model.revision",
    "adapter_name_or_path": "model.adapter",
    "ref_model": "train.preference.reference",
    "output_dir": "run.output_dir",
    "lora_target": "train.lora.targets",
    "additional_target": "train.lora.modules_to_save",
    "media_dir": "data.train",
}


def _refuse_interpolation(value: Any, path: str = "") -> None:
    """OmegaConf, which reads the YAML, takes ${...} for a reference and ??? for a value that is missing."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            _refuse_interpolation(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_interpolation(item, path)
    elif isinstance(value, str) and ("${" in value or value == "???"):
        raise Refused(
            _SAID.get(path, f"targets.{NAME}.extra.{path}"),
            f"{path}: LLaMA-Factory's reader would interpret {value!r}; it cannot hold ${{ or be ???",
        )
