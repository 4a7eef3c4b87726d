"""Axolotl: one YAML, DeepSpeed's JSON where it is used, and the script that starts `axolotl train` under torchrun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.fields import SCHEDULES
from mfc.memory.stack import Stack
from mfc.profile import Profile
from mfc.target.outputs import File, Lowered, Start, native
from mfc.target.versions import nearest

from .. import deepspeed
from . import kernels
from .clashes import CLASHES
from .keys import ATTENTION, ELSEWHERE, ENVIRONMENT, KEYS, OPTIMIZERS, REPORTS, TASKS
from .rules import DEEPSPEED, RULES, VERSIONS
from .unmodelled import UNMODELLED

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = [
    "CLASHES",
    "DISTRIBUTION",
    "ELSEWHERE",
    "KEYS",
    "NAME",
    "RULES",
    "TITLE",
    "TURN",
    "UNMODELLED",
    "VERSIONS",
    "lower",
    "profile",
]

NAME = "axolotl"
TITLE = "Axolotl"
DISTRIBUTION = "axolotl"
TURN = 6

# What it comes with: it depends on Liger and bitsandbytes, and on a DeepSpeed of these where it is asked for.
_WITH = {"0.19.0": {"liger-kernel": "0.8.1", "bitsandbytes": "0.50.2"}}


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What one version supports and how it uses memory.

    Weights are loaded in the type of the run, those that train too (loaders/model.py, _set_device_map_config), and its
    own FSDP2 upcasts none (monkeypatch/accelerate/fsdp2.py). Embedding, head and norms of a model that trains whole
    become fp32, and stay so unless attention is flash (_configure_embedding_dtypes); beside adapters they go back to 16
    bits, after PEFT's preparation of quantised models too. lora_target_linear finds linears (loaders/adapter.py), not
    experts that are one parameter. A packed row brings a mask, where attention is neither
    flash nor torch's for rows of unlike lengths (monkeypatch/attention/sdpa_varlen.py). Cut cross entropy makes no
    logits and gradients in 16 bits (accum_e_fp32 and accum_c_fp32 are off), and brings no kernels for layers.
    """
    everything = {**_WITH[nearest(version, VERSIONS)], **packages}
    cut = everything.get(kernels.CUT) is not None
    return Profile(
        target=NAME,
        version=version,
        stack=Stack(
            name=f"{NAME}-{nearest(version, VERSIONS)}",
            edges_fp32=True,
            fp32_references=("kto", "grpo"),  # TRL trainer/utils.py, create_model_from_path, without a dtype
            kbit_fp32=False,
            quantised_dtensors=("nf4", "fp4", "int8"),  # monkeypatch/fsdp2_qlora.py
            fsdp_fp32_shards=False,
            packing_mask=True,
            fused_experts=True,
            expert_adapters=False,
            expandable_segments=True,
            own_loss=cut,
            fused_blocks="never" if cut else "with_loss",
        ),
        supports={
            "task": ("sft", "pretrain", *TASKS, "reward"),
            "method": ("lora", "full", "qlora"),
            "lora_variant": ("lora", "rslora", "dora"),
            "precision": ("bf16", "fp16", "fp32"),
            "quantization": ("nf4", "fp4", "int8"),
            "sharding": ("ddp", "zero1", "zero2", "zero3", "fsdp2"),
            "attention": tuple(ATTENTION),
            "sink_attention": ("eager", "flash3"),
            "loss": ("plain", "fused"),
            "mlp": ("whole", "tiled"),
            "optimizer": tuple(OPTIMIZERS),
            "schedule": SCHEDULES,
            "grpo_rollout": ("native",),
            "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo"),
            "preference_loss": ("sigmoid", "kto", "orpo", "simpo"),
            "offload_optimizer": ("none", "cpu", "nvme"),
            "offload_parameters": ("none", "cpu", "nvme"),
            "offload_activations": ("none", "cpu"),
            "gradient_checkpointing": (True, False),
            "packing": (True, False),
            "overlong": ("truncate", "drop"),
            "report_to": ("none", *REPORTS),
            "existing": ("fail", "resume", "overwrite"),
            "data_options": ("subset", "split", "columns", "roles"),
        },
        packages=everything,
        notes={
            "precision": "its weights are bf16 under precision bf16 already",
            "task": "it has no PPO",
            "sharding": "its first FSDP is deprecated",
        },
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """train.yaml and launch.sh; the JSON for DeepSpeed."""
    version = nearest(plan.profile.version, VERSIONS)
    made, variables = native(KEYS, plan, out_to_spec, extra), native(ENVIRONMENT, plan)
    files = [made.file("train.yaml", "train.yaml.j2", f"{NAME}-{version}")]
    if plan.strategy.deepspeed:
        files.append(deepspeed.config_file(plan, plan.profile.packages.get("deepspeed") or DEEPSPEED[version]))
    hardware = plan.problem.hardware
    launch = {
        "nodes": hardware.nodes,
        "processes": hardware.gpus_per_node,
        "one_gpu": plan.strategy.world_size == 1 and not hardware.devices,
        "existing": plan.values["existing"],
        "output_dir": plan.values["output_dir"],
        "environment": variables.data,
    }
    cites = {"existing": ("existing",)}
    files.append(File("launch.sh", launch, "launch.sh.j2", said=variables, cites=cites, executable=True))
    return Lowered(tuple(files), Start("launch.sh"))
