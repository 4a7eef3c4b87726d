"""GLM-4's own fine-tuning demo: its YAML, DeepSpeed's JSON where it is used, and the launcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.fields import SCHEDULES
from mfc.memory.stack import Stack
from mfc.profile import Profile
from mfc.target.outputs import File, Lowered, Start, native
from mfc.target.versions import nearest

from .. import deepspeed
from .forms import VERSIONS, form
from .keys import ARGUMENTS, ELSEWHERE, ENVIRONMENT, KEYS, OPTIMIZERS, REPORTS
from .rules import RULES
from .unmodelled import UNMODELLED

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = ["ELSEWHERE", "KEYS", "NAME", "RULES", "TITLE", "UNMODELLED", "VERSIONS", "lower", "profile"]

NAME = "glm4"
TITLE = "GLM-4's fine-tuning demo"


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What one form of the demo can say, and how it uses memory.

    It is the Hugging Face Trainer with a model that is loaded in bf16 and stays so: without DeepSpeed nothing has an
    fp32 master, adapters alone are fp32 (PEFT 0.12 and later). Each process loads the model into host memory. The code
    beside the weights of 2024 repeats keys and values to all heads, and shifts fp32 logits by a copy, as transformers
    before 4.49 does.
    """
    ours = form(version)
    remote = "chatglm" in ours.families
    return Profile(
        target=NAME,
        version=version,
        stack=Stack(
            name=f"{NAME}-{nearest(version, VERSIONS)}",
            known=True,  # its published LoRA figure, 21,531 MiB on one A100, lies within 2 % of the prediction
            adapter_fp32=ours.adapters_fp32,
            fused_experts=False,
            logits_shift_copy=remote,
            logits_beside_copies="glm" in ours.families and remote,
            expands_kv=remote,
            loads_on_host=True,
            schedule_first=True,
            expandable_segments=True,
        ),
        supports={
            "method": ("lora", "full"),
            "lora_variant": ("lora", "rslora", "dora"),
            "precision": ("bf16",),
            "sharding": ("ddp", "zero1", "zero2", "zero3"),
            "loss": ("plain",) if remote else ("plain", "fused"),
            "optimizer": tuple(OPTIMIZERS),
            "schedule": SCHEDULES[:5] if remote else SCHEDULES,  # the others' numbers were not yet these
            "offload_optimizer": ("none", "cpu", "nvme"),
            "offload_parameters": ("none", "cpu", "nvme"),
            "gradient_checkpointing": (True,) if ours.checkpoints else (True, False),
            "report_to": (*REPORTS, "swanlab") if ours.swanlab else REPORTS,
            "existing": ("fail", "resume", "overwrite"),
        },
        packages={"liger-kernel": None, **packages},  # not among the demo's requirements
        notes={
            "method": "its prefix tuning (P-tuning v2) is no method of mfc's",
            "precision": "it loads weights in bf16 and its authors support nothing else",
            "gradient_checkpointing": "its script turns it on itself",
            "attention": "it asks transformers for no kernel, which then takes sdpa",
        },
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """The YAML, the JSON of DeepSpeed, and the launcher that gives the script its arguments."""
    ours = form(plan.profile.version)
    made = native(KEYS, plan, out_to_spec, extra)
    files = [made.file("train.yaml", "train.yaml.j2", f"{NAME}-{nearest(plan.profile.version, VERSIONS)}")]
    if plan.strategy.deepspeed:
        files.append(deepspeed.config_file(plan, plan.profile.packages.get("deepspeed") or ours.deepspeed))
    said = native((*ENVIRONMENT, *ARGUMENTS), plan, out_to_spec)
    hardware = plan.problem.hardware
    launch = {
        **said.data,
        "script": f"{ours.folder}/finetune.py",
        "nodes": hardware.nodes,
        "processes": hardware.gpus_per_node,
        "torchrun": plan.strategy.world_size > 1 or plan.strategy.deepspeed,
        "one_gpu": hardware.world_size == 1 and not hardware.devices,
        "existing": plan.values["existing"],
        "output_dir": plan.values["output_dir"],
    }
    cites = {"output_dir": ("existing",)}
    files.append(File("launch.sh", launch, "launch.sh.j2", said=said, cites=cites, executable=True))
    return Lowered(tuple(files), Start("launch.sh", words="CHECKOUT"))
