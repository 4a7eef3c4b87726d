"""TRL: one YAML for each of its commands, the file of accelerate that starts it, DeepSpeed's JSON where it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.fields import SCHEDULES
from mfc.memory.stack import HandOver, Stack, Tiles
from mfc.profile import Profile
from mfc.target.outputs import File, Lowered, Start, native
from mfc.target.versions import before, nearest

from .. import accelerate, deepspeed
from .keys import ATTENTION, COMMANDS, ELSEWHERE, ENVIRONMENT, KEYS, OPTIMIZERS
from .rollout import SERVER, SERVER_ENVIRONMENT
from .rules import RULES, VERSIONS, WITH
from .unmodelled import UNMODELLED

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = [
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

NAME = "trl"
TITLE = "TRL"
DISTRIBUTION = "trl"
TURN = 5

_SPLIT = ("zero3", "fsdp2")


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What one version supports and how it uses memory.

    The head scores tokens in tiles of 4096 by 32768 words, whatever the loss (kernels/chunked_logprob.py,
    trainer/utils.py). Weights that train on plain data parallelism are loaded in fp32 (keys.py), and a reference with
    them. Adapters are bf16 beside quantised weights and keep the model's type under ZeRO-3 (trainer/sft_trainer.py);
    nothing prepares quantised models, so what stays unquantised keeps 16 bits. Up to five tensors on their way to the
    host are on the card (models/activation_offloading.py, max_fwd_stash_size).
    """
    transformers = packages.get("transformers") or WITH[nearest(version, VERSIONS)]["transformers"]
    return Profile(
        target=NAME,
        version=version,
        stack=Stack(
            name=f"{NAME}-{nearest(version, VERSIONS)}",
            trainable_fp32=True,
            adapter_fp32_kbit=False,
            adapter_fp32_zero3=False,
            kbit_fp32=False,
            reference_as_policy=True,
            fused_experts=not before(transformers, "5"),
            loads_everywhere=not before(transformers, "5"),
            fused_blocks="never",
            tiles=Tiles(tokens=4096, vocab=32768),
            offload_window=5,
            expandable_segments=True,
            # generation/vllm_generation.py: adapters are merged with everything gathered; sleep(level=2), always
            hand_over=HandOver(
                by_layer=_SPLIT, merged_by_layer=("fsdp2",), parks=False, always_drops=True, one_engine=True
            ),
        ),
        supports={
            "task": tuple(COMMANDS),
            "method": ("lora", "full", "qlora"),
            "lora_variant": ("lora", "rslora", "dora"),
            "precision": ("bf16", "pure_bf16", "fp16", "fp32"),
            "quantization": ("nf4", "fp4", "int8"),
            "sharding": ("ddp", "zero1", "zero2", "zero3", "fsdp2"),
            "attention": tuple(ATTENTION),
            "loss": ("fused", "plain"),
            "optimizer": tuple(OPTIMIZERS),
            "schedule": SCHEDULES,
            "preference_loss": ("sigmoid", "kto"),
            "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo"),
            "offload_optimizer": ("none", "cpu", "nvme"),
            "offload_parameters": ("none", "cpu", "nvme"),
            "offload_activations": ("none", "cpu"),
            "gradient_checkpointing": (True, False),
            "packing": (True, False),
            "overlong": ("truncate", "drop"),
            "report_to": ("none", "tensorboard", "wandb", "swanlab", "mlflow", "trackio"),
            "existing": ("fail", "resume", "overwrite"),
            "data_options": ("subset", "split", "columns"),
            "grpo_rollout": ("colocate", "server", "native"),
        },
        packages=packages,
        notes={
            "task": "ORPO, SimPO and PPO have no command of their own any more",
            "quantization": "its YAML names bitsandbytes alone",
            "data_options": "rows are taken as they are",
        },
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """train.yaml, accelerate.yaml and launch.sh; the JSON for DeepSpeed; server.sh where vLLM has its own GPUs."""
    version = nearest(plan.profile.version, VERSIONS)
    subcommand = COMMANDS[plan.strategy.task]
    made, variables = native(KEYS, plan, out_to_spec, extra), native(ENVIRONMENT, plan)
    served = plan.values["rollout_mode"] == "server" and plan.values["rollout_gpus"] > 0
    hardware = plan.problem.hardware
    files = [
        made.file("train.yaml", "train.yaml.j2", f"{NAME}-{subcommand}-{version}"),
        accelerate.config_file(plan),
    ]
    if plan.strategy.deepspeed:
        installed = plan.profile.packages.get("deepspeed") or WITH[version]["deepspeed"]
        files.append(deepspeed.config_file(plan, installed))
    if served:
        files.append(_server(plan, out_to_spec))
    launch = {
        "command": subcommand,
        "accelerate": accelerate.CONFIG,
        "nodes": hardware.nodes,
        "several": plan.strategy.world_size > 1 or plan.strategy.deepspeed,
        "one_gpu": plan.strategy.world_size == 1 and not hardware.devices,
        "existing": plan.values["existing"],
        "output_dir": plan.values["output_dir"],
        "environment": variables.data,
        "asks_for_server": plan.values["rollout_mode"] == "server" and "vllm_server_host" not in made.data,
    }
    cites = {"existing": ("existing",)}
    files.append(File("launch.sh", launch, "launch.sh.j2", said=variables, cites=cites, executable=True))
    return Lowered(tuple(files), Start("launch.sh", server="server.sh" if served else ""))


def _server(plan: Plan, out_to_spec: str) -> File:
    """The script of vLLM's own GPUs."""
    made, variables = native(SERVER, plan, out_to_spec), native(SERVER_ENVIRONMENT, plan)
    script = {"environment": variables.data, "arguments": made.data}
    return File("server.sh", script, "server.sh.j2", said=made, cites=variables.cites, executable=True)
