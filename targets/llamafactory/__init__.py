"""LLaMA-Factory: one YAML, DeepSpeed's JSON or accelerate's YAML where used, dataset_info.json, and the launcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.errors import Refused
from mfc.fields import ANYTHING, SCHEDULES, field
from mfc.memory.stack import LowRank, Moments, Preferences, Stack
from mfc.profile import Profile
from mfc.target.launch import in_sight
from mfc.target.outputs import File, Lowered, Start, native
from mfc.target.templates import need_template
from mfc.target.versions import nearest

from .. import accelerate, deepspeed
from . import templates
from .clashes import CLASHES
from .data import dataset_info
from .keys import ELSEWHERE, ENVIRONMENT, KEYS, TORCHRUN
from .rules import RELEASED_WITH, RULES, VERSIONS, neat, transformers_of
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

NAME = "llamafactory"
TITLE = "LLaMA-Factory"
DISTRIBUTION = "llamafactory"
TURN = 1  # of 27 public reports of memory running out in these frameworks, 13 are of this one

# train/dpo/trainer.py and train/kto/trainer.py turn whole logits to fp32, take log_softmax of a slice, which CUDA
# copies, and hold the policy's while the reference makes its own; KTO's, those of its KL batch as well.
_PREFERENCES = Preferences(
    dpo=(Moments(12, 20, made=12), Moments(12, 20, made=12)),
    kto=(Moments(12, 24, made=12), Moments(12, 24, made=12)),
    orpo=(Moments(12, made=12), Moments(12, made=12)),
    simpo=(Moments(12, made=12), Moments(12, made=12)),
)


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What one version supports and how it uses memory.

    Weights that train are cast to fp32 unless pure_bf16 or ZeRO-3 (model/adapter.py), nothing else is: what stays
    unquantised beside 4-bit weights keeps 16 bits (model/model_utils/checkpointing.py prepares models, not PEFT). A
    reward model has TRL's value head, whose forward makes the logits of the language model too and upcasts them. The
    launcher lets memory segments grow (launcher.py), and launch.sh does where there is no launcher.
    """
    fifth = transformers_of(version, packages) >= (5,)
    return Profile(
        target=NAME,
        version=version,
        stack=Stack(
            name=f"{NAME}-{nearest(version, VERSIONS)}",
            known=True,  # the Trainer and PEFT; its wiki's QLoRA peaks by length lie within 11 % of the prediction
            trainable_fp32=True,
            whole_fp32=True,  # model/adapter.py, init_adapter: all that requires a gradient
            adapter_fp32=True,
            adapter_fp32_zero3=False,  # DeepSpeed up to 0.18 casts the whole module (engine.py, module.bfloat16())
            kbit_fp32=False,
            packing_mask=neat(version, packages),  # data/collator.py, prepare_4d_attention_mask
            fused_experts=fifth,
            expert_adapters=False,  # it pins PEFT up to 0.18, which does not find fused experts
            checkpoints_frozen=False,  # model_utils/checkpointing.py: only layers that have something to train
            hooks_towers=fifth,
            expandable_segments=True,
            loads_everywhere=fifth,
            schedule_first=not fifth,
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
            "sharding": ("ddp", "zero1", "zero2", "zero3", "fsdp"),
            "sequence_parallel": (1,),
            "attention": ("sdpa", "flash", "flash3", "eager"),
            "sink_attention": ("flash3",),  # model/model_utils/attention.py: loaded for gpt_oss, whatever is asked for
            "loss": ("plain", "fused"),
            "optimizer": (
                *("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "sgd", "lion"),
                *("galore", "apollo", "badam"),
            ),
            "schedule": SCHEDULES,
            "preference_loss": ("sigmoid", "kto", "orpo", "simpo"),
            "offload_optimizer": ("none", "cpu", "nvme"),
            "offload_parameters": ("none", "cpu", "nvme"),
            "offload_activations": ("none", "cpu"),
            "gradient_checkpointing": (True, False),
            "packing": (True, False),
            "system": ANYTHING,
            "overlong": ("truncate",),
            "blank_pictures": ANYTHING,  # data/collator.py: a white picture, behind the attention mask
            "image_frames": ANYTHING,
            "report_to": ("none", "tensorboard", "wandb", "swanlab", "mlflow", "trackio"),
            "existing": ("fail", "resume", "overwrite"),
            "hub": ("huggingface", "modelscope"),
            "vendor": ("nvidia", "amd", "huawei"),
            "data_options": ("subset", "split", "columns", "roles", "samples"),
        },
        packages=packages,
        notes={
            "task": "it has no GRPO, and its YAML cannot say the KL weight of its PPO",
            "sharding": "its FSDP is torch's first, fsdp",
            "sequence_parallel": "its engine has none",
            "overlong": "it cuts prompt and answer in proportion",
        },
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """The YAML, the JSON of DeepSpeed or the YAML of accelerate for FSDP, dataset_info.json and the launcher.

    Raises Refused without a chat template, and for strings that LLaMA-Factory's reader would take for something else.
    """
    version = nearest(plan.profile.version, VERSIONS)
    need_template(plan, templates.known(version))
    made = native(KEYS, plan, out_to_spec, extra)
    _refuse_interpolation(made.data)
    files = [
        made.file("train.yaml", "train.yaml.j2", f"{NAME}-{version}"),
        File("dataset_info.json", dataset_info(plan, out_to_spec)),
    ]
    if plan.strategy.deepspeed:
        installed = plan.profile.packages.get("deepspeed") or RELEASED_WITH[version]["deepspeed"]
        files.append(deepspeed.config_file(plan, installed))
    if accelerate.FSDP(plan):
        files.append(accelerate.config_file(plan))
    variables = native(ENVIRONMENT, plan)
    launch = {
        "nodes": plan.problem.hardware.nodes,
        "existing": plan.values["existing"],
        "output_dir": plan.values["output_dir"],
        "environment": variables.data,
        "in_sight": in_sight(plan),
        "accelerate": accelerate.CONFIG if accelerate.FSDP(plan) else None,
        "one_gpu": plan.strategy.world_size == 1 and not TORCHRUN(plan) and not plan.problem.hardware.devices,
    }
    cites = {"output_dir": ("existing",)}
    files.append(File("launch.sh", launch, "launch.sh.j2", said=variables, cites=cites, executable=True))
    return Lowered(tuple(files), Start("launch.sh"))


# Where the spec says the text of a key; other text comes from `extra`.
_SAID = {key.name: field(key.fields[0]).path or key.fields[0] for key in KEYS}


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
