"""MGM (Mini-Gemini): one script that starts its training with all flags, and DeepSpeed's JSON of mfc's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.beside import is_local
from mfc.fields import ANYTHING, SCHEDULES
from mfc.memory.stack import Stack
from mfc.profile import Profile
from mfc.target.outputs import File, Lowered, Start, native
from mfc.target.versions import before, nearest

from .. import deepspeed
from . import facts
from .keys import ELSEWHERE, KEYS, OPTIMIZERS, REPORTS
from .rules import RULES
from .unmodelled import UNMODELLED

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = ["ELSEWHERE", "KEYS", "NAME", "RULES", "TITLE", "UNMODELLED", "VERSIONS", "lower", "profile"]

NAME = "mgm"
TITLE = "MGM (Mini-Gemini)"
VERSIONS = facts.VERSIONS
_PATHS = ("data_path", "image_folder", "output_dir", "deepspeed", "pretrain_mm_mlp_adapter")


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What MGM can say, and how it uses memory.

    It is the Hugging Face Trainer of transformers 4.36 with DeepSpeed, in which everything is cast to 16 bits. Each
    process loads the whole model into host memory below ZeRO-3. Logits are upcast and shifted by a copy.
    """
    torch = packages.get("torch") or facts.PACKAGES["torch"]
    segments = not before(torch, facts.SEGMENTS_SINCE)
    return Profile(
        target=NAME,
        version=version,
        stack=Stack(
            name=f"{NAME}-{nearest(version, VERSIONS)}",
            fused_experts=False,
            expert_adapters=False,
            fused_blocks="never",
            logits_shift_copy=True,
            kbit_keeps_inputs=True,
            hooks_towers=False,
            loads_on_host=True,
            schedule_first=True,
            expandable_segments=segments,
        ),
        supports={
            "method": ("full", "lora", "qlora"),
            "quantization": ("nf4", "fp4"),
            "precision": ("bf16", "fp16"),
            "sharding": ("zero1", "zero2", "zero3"),
            "offload_optimizer": ("none", "cpu"),
            "offload_parameters": ("none", "cpu"),
            "attention": ("flash", "eager"),
            "optimizer": tuple(OPTIMIZERS),
            "schedule": SCHEDULES[:5],
            "gradient_checkpointing": (True, False),
            "whole_parts": ((), ("projector",)),
            "projector_learning_rate": ANYTHING,
            "blank_pictures": ANYTHING,
            "report_to": REPORTS,
            "existing": ("fail", "resume"),
        },
        packages={"flash-attn": facts.FLASH, **packages},
        notes={
            "task": "it trains conversations about pictures, and has no other loss",
            "sharding": "its scripts always give it a DeepSpeed JSON; on one GPU zero2 is that",
            "attention": "train_mem.py asks for flash attention, train.py leaves the choice to transformers",
            "loss": "transformers 4.36 knows no Liger",
            "existing": "a folder with checkpoints is always resumed",
            "system": "the conversation has its own",
        },
        always={} if segments else {"allocator": ""},  # torch before 2.1 stops at expandable_segments
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """The script, and DeepSpeed's JSON."""
    made = native(KEYS, plan, out_to_spec, {**facts.TOWERS, **extra})
    installed = plan.profile.packages.get("deepspeed") or facts.PACKAGES["deepspeed"]
    paths = tuple(name for name in _PATHS if name in made.data)
    if is_local(made.data["model_name_or_path"]):
        paths = ("model_name_or_path", *paths)
    cites = {
        "existing": ("existing",),
        "script": ("attention",),
        "devices": ("hardware.devices",),
        "PYTORCH_CUDA_ALLOC_CONF": ("allocator",),
        "OMP_NUM_THREADS": ("cpu_threads",),
    }
    launch = File(
        "train.sh",
        made.data,
        "train.sh.j2",
        contract=f"{NAME}-{nearest(plan.profile.version, VERSIONS)}",
        said=made,
        cites=cites,
        sections={
            "paths": paths,
            "devices": tuple(map(str, plan.problem.hardware.devices)),
            "script": ("train_mem.py" if plan.strategy.attention == "flash" else "train.py",),
        },
        executable=True,
    )
    return Lowered((launch, deepspeed.config_file(plan, installed)), Start("train.sh"))
