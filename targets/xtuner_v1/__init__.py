"""XTuner V1: a Python file that builds its TrainerConfig, and a launcher. Full training on FSDP2 only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mfc.fields import ANYTHING
from mfc.memory.stack import Stack
from mfc.profile import Profile
from mfc.target.outputs import File, Lowered, Start, native
from mfc.target.templates import need_template

from .keys import ELSEWHERE, ENVIRONMENT, KEYS, LR_TYPES, TRACKERS
from .rules import CONTRACT, RULES, STEPS, knows

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

NAME = "xtuner-v1"
TITLE = "XTuner V1"
DISTRIBUTION = "xtuner"
TURN = 4
VERSIONS = ("1.0.1",)
CONFIG = "train.py"

# The user's own keys that change what is held in memory, and that the memory model does not count.
UNMODELLED = frozenset(
    {"trainer.fsdp_cfg", "trainer.dataloader_cfg", "trainer.model_cfg", "trainer.intra_layer_micro_batch"}
)
PARTS = ("model_cfg", "dataloader_cfg", "optim_cfg", "lr_cfg", "loss_cfg", "fsdp_cfg")


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What XTuner V1 can say, and how it uses memory (source: xtuner/tools/llm_calc/README.md of InternLM/xtuner).

    Masters, gradients and Adam states are fp32 and split over all GPUs; one layer is gathered in bf16 at a time, the
    embedding and the head are units of their own (xtuner/v1/model/dense/dense.py at v1.0.1).
    """
    stack = Stack(
        name=NAME,
        trainable_fp32=True,
        autocast=False,
        optimizer_foreach=True,
        own_loss=True,
        fused_blocks="never",
        fsdp_splits_edges=True,
    )
    return Profile(
        target=NAME,
        version=version,
        stack=stack,
        supports={
            "task": ("sft", "pretrain"),
            "method": ("full",),
            "schedule": tuple(LR_TYPES),
            "precision": ("bf16",),
            "sharding": ("fsdp2",),
            "offload_optimizer": ("none", "cpu"),
            "offload_parameters": ("none", "cpu"),
            "sequence_parallel": ANYTHING,
            "gradient_checkpointing": (True, False),
            "packing": (True, False),
            "existing": ("fail", "resume", "overwrite"),
            "attention": ("flash",),
            "loss": ("fused", "plain"),
            "optimizer": ("adamw",),
            "overlong": ("truncate",),
            "report_to": tuple(TRACKERS),
        },
        packages={"flash-attn": "as XTuner V1 asks for", **packages},
        notes={
            "system": "its chat templates have their own",
            "method": "adapters are trained by XTuner 0.2.0: target xtuner",
            "task": "preferences are trained by XTuner 0.2.0: target xtuner",
            "sharding": "it runs on FSDP2 alone",
        },
        usual={
            "save_every": (STEPS, "XTuner V1 saves by steps alone; the last checkpoint is in Hugging Face's format")
        },
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """The config and the launcher."""
    if plan.strategy.task == "sft":
        need_template(plan, dict.fromkeys(knows("templates"), ()))
    made, variables = native(KEYS, plan, out_to_spec, extra), native(ENVIRONMENT, plan)
    sections = {"imports": tuple(sorted(set(_references(made.data)))), "parts": PARTS}
    launch = {
        "nodes": plan.problem.hardware.nodes,
        "processes": plan.problem.hardware.gpus_per_node,
        "environment": variables.data,
        "output": plan.values["output_dir"],
        "existing": plan.values["existing"],
    }
    cites = {"existing": ("existing",)}
    files = (
        made.file(CONFIG, "train.py.j2", CONTRACT)._replace(sections=sections),
        File("launch.sh", launch, "launch.sh.j2", said=variables, cites=cites, executable=True),
    )
    return Lowered(files, Start("launch.sh"))


def _references(data: Any) -> Iterator[str]:
    if isinstance(data, Mapping):
        if isinstance(data.get("type"), str):  # of the user's own keys, it may be anything until they are checked
            yield data["type"]
        for value in data.values():
            yield from _references(value)
    elif isinstance(data, list):
        for item in data:
            yield from _references(item)
