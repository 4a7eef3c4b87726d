"""Unsloth: the YAML of `unsloth train`, for one GPU, and the script that starts it.

Files only: nothing of Unsloth's command line is part of mfc. What its keys are called and what they are when left out
was read from the package, as was how it uses memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.memory.stack import Stack
from mfc.profile import Profile
from mfc.rules import packages as known
from mfc.target.outputs import File, Lowered, Start, native
from mfc.target.versions import nearest

from .keys import ELSEWHERE, ENVIRONMENT, KEYS
from .rules import RULES, VERSIONS

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = ["DISTRIBUTION", "ELSEWHERE", "KEYS", "NAME", "RULES", "TITLE", "UNMODELLED", "VERSIONS", "lower", "profile"]

NAME = "unsloth"
TITLE = "Unsloth"
DISTRIBUTION = "unsloth"
UNMODELLED = frozenset({"lora.use_loftq", "lora.use_dora"})


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What one version can say, and how it uses memory.

    Norms, rotary embedding, MLP and adapters run in kernels of its own, the head and its loss in chunks whose size
    follows free memory, rows of a batch are joined instead of padded. Adapters are fp32 and nothing frozen is. Of the
    inputs of layers that wait on the host, the last one stays on the GPU beside two buffers, the second of them only
    where there is room (unsloth_zoo gradient_checkpointing.py, training_utils.py, fused_losses/cross_entropy_loss.py).
    """
    flash = packages.get(known.FLASH) is not None
    return Profile(
        target=NAME,
        version=version,
        stack=Stack(
            name=f"{NAME}-{nearest(version, VERSIONS)}",
            kbit_fp32=False,
            fused_blocks="always",
            own_loss=True,
            lora_kernels=True,
            padding_mask=False,
            offload_window=3,
            expandable_segments=True,
        ),
        supports={
            "task": ("sft", "pretrain"),
            "method": ("lora", "qlora", "full"),
            "lora_variant": ("lora", "rslora"),
            "precision": ("bf16", "pure_bf16", "fp16"),
            "quantization": ("nf4", "bnb"),
            "attention": ("flash", "sdpa") if flash else ("sdpa",),
            "loss": ("fused",),
            "optimizer": ("adamw_8bit",),
            "schedule": ("linear",),
            "gradient_checkpointing": (True, False),
            "offload_activations": ("none", "cpu"),
            "packing": (True, False),
            "report_to": ("none", "tensorboard", "wandb"),
            "existing": ("fail", "overwrite"),
            "hub": ("huggingface", "modelscope"),
        },
        packages=packages,
        notes={
            "task": "its file is for supervised fine-tuning and plain text; its Python library does more",
            "lora_variant": "its kernels do without DoRA, whose memory mfc does not count here",
            "optimizer": "its file names none, and its code takes bitsandbytes' AdamW in 8 bits",
            "schedule": "its file names none: linear",
            "loss": "head and loss always run in chunks",
            "attention": "flash-attn where that is declared, else xformers or SDPA",
            "sharding": "it trains on one GPU",
            "existing": "its command cannot go on from a checkpoint",
            "system": "its file has no key for it",
        },
        always={
            "schedule": "linear",
            "adam_beta1": 0.9,
            "adam_beta2": 0.999,
            "adam_epsilon": 1e-8,
            "max_grad_norm": 1.0,
            "log_every": 1,
            "keep": "all",
        },
        usual={
            "warmup": (5, "Unsloth counts steps, of which it takes 5 unless told otherwise"),
            "save_every": ("never", "Unsloth saves by steps or not at all, and the model at the end in any case"),
        },
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """train.yaml, and launch.sh, which starts it where its outputs lie beside the files."""
    version = nearest(plan.profile.version, VERSIONS)
    made, variables = native(KEYS, plan, out_to_spec, extra), native(ENVIRONMENT, plan)
    launch = {
        "environment": variables.data,
        "one_gpu": not plan.problem.hardware.devices,
        "existing": plan.values["existing"],
        "output_dir": plan.values["output_dir"],
    }
    script = File(
        "launch.sh", launch, "launch.sh.j2", said=variables, cites={"existing": ("existing",)}, executable=True
    )
    return Lowered((made.file("train.yaml", "train.yaml.j2", f"{NAME}-{version}"), script), Start("launch.sh"))
