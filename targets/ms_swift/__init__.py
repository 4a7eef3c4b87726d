"""ms-swift: a shell script with the whole command, the same run as a YAML config, and what they need beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.fields import ANYTHING, SCHEDULES
from mfc.memory.stack import HandOver, Moments, Preferences, Stack
from mfc.profile import Profile
from mfc.target import contracts
from mfc.target.outputs import File, Lowered, Start, native
from mfc.target.templates import need_template
from mfc.target.versions import before

from .. import deepspeed
from . import data, models, pictures
from .clashes import CLASHES
from .keys import ATTENTION, DTYPES, ELSEWHERE, FSDP, KEYS, OPTIMIZERS
from .launch import ENVIRONMENT, FSDP_KEYS, SERVER, SERVER_ENVIRONMENT
from .rlhf import RLHF
from .rules import RULES, VERSIONS, WITH, form

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

NAME = "ms-swift"
TITLE = "ms-swift"
DISTRIBUTION = "ms-swift"
TURN = 2


# The user's own flags that change what is held in memory, and that the memory model does not count.
_UNCOUNTED = """
    advantage_reweight async_generate auto_find_batch_size bf16_full_eval bnb_4bit_quant_storage chord_sft_dataset
    chord_sft_per_device_train_batch_size ddp_bucket_cap_mb deepspeed_autotp_size device_map
    ds3_gather_for_generation enable_channel_loss enable_dft_loss eval_accumulation_steps eval_use_evalscope
    experts_impl fp16_full_eval freeze_parameters freeze_parameters_ratio freeze_parameters_regex fsdp_config
    galore_rank generation_batch_size gradient_checkpointing_kwargs init_weights label_smoothing_factor
    liger_kernel_config lisa_activated_layers llamapro_num_new_blocks log_entropy lora_bias max_memory
    model_kwargs neftune_noise_alpha new_special_tokens num_beams num_labels offload_teacher_model optim_args
    optim_target_modules optimizer parallelism_config predict_with_generate ref_adapters rope_scaling
    router_aux_loss_coef sdar_loss_coef sync_ref_model target_parameters task_type teacher_adapters
    teacher_deepspeed teacher_model top_entropy_quantile torch_compile torch_compile_backend torch_compile_mode
    torchdynamo trainable_parameters trainable_parameters_regex tuner_backend use_cache use_galore
    use_logits_to_keep use_swift_lora vllm_enforce_eager vllm_engine_kwargs vllm_quantization
    vllm_speculative_config zero_hpz_partition_size
"""
UNMODELLED = frozenset(_UNCOUNTED.split())

# swift/rlhf_trainers (trainers/rlhf_trainer in 3.x) with TRL's selective_log_softmax: sequence by sequence, from fp32
# logits by logsumexp, whose gradients need them whole, from 16-bit ones by a 16-bit log_softmax.
PREFERENCES = Preferences(
    dpo=(Moments(16, 10), Moments(4, 6)),
    kto=(Moments(16, 10), Moments(4, 6)),
    orpo=(Moments(18), Moments(5)),
    simpo=(Moments(16), Moments(4)),
    grpo=(Moments(16, forward=8), Moments(8, forward=4)),  # a view is divided by the temperature in place: CopySlices
    packed=(Moments(16, 12), Moments(6, 6)),  # the loop over rows has one row then
)


def _preferences(version: str) -> Preferences:
    """Before 4.2 GRPO divided a copy (grpo_trainer.py, _get_logps_via_local_forward)."""
    return PREFERENCES._replace(grpo=Preferences().grpo) if before(version, "4.2") else PREFERENCES


def _loss_types(version: str) -> tuple[str, ...]:
    """What GRPO's loss_type may be (grpo_trainer.py, _compute_loss)."""
    known: tuple[str, ...] = ("grpo", "bnpo", "dr_grpo")
    for since, names in (("3.11", ("dapo", "cispo", "sapo")), ("4.1", ("real",)), ("4.3", ("fipo",))):
        known += () if before(version, since) else names
    return known


def _hand_over(version: str) -> HandOver:
    """3.12.0 to 3.12.5 gathered all parameters under ZeRO-3 before the first batch of them (rollout_mixin.py)."""
    at_once = before(version, "3.12.6") and not before(version, "3.12.0")
    return HandOver(by_layer=("fsdp2",)) if at_once else HandOver()


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What one version supports and how it uses memory.

    Weights keep the type that they are loaded in, PEFT makes adapters fp32 unless lora_dtype is given (tuners/peft.py),
    and nothing prepares quantised models, so what stays unquantised keeps 16 bits.
    """
    transformers = packages.get("transformers") or WITH[form(version)]["transformers"]
    fifth = not before(transformers, "5")
    return Profile(
        target=NAME,
        version=version,
        stack=Stack(
            name=f"{NAME}-{form(version)}",
            known=True,  # the Trainer and PEFT; runs of ms-swift are among the measurements that the model is held to
            kbit_fp32=False,
            adapter_fp32_beside_whole=False,  # lora_dtype says so
            expert_adapters=False,  # all-linear finds modules (utils/transformers_utils.py), never fused experts
            fused_experts=fifth,
            schedule_first=not fifth,
            # 4.6 switches gradients off in a tower that is frozen whole (model/patcher.py, patch_frozen_module); with
            # transformers 4 nothing hooks it
            hooks_towers=False,
            expandable_segments=True,
            preferences=_preferences(version),
            answer_logits="text" if before(version, "3.7") else "always",  # grpo_trainer.py: not is_multimodal
            hand_over=_hand_over(version),
        ),
        supports={
            "task": ("sft", "pretrain", *RLHF),
            "method": ("lora", "full", "qlora"),
            "lora_variant": ("lora", "rslora", "dora"),
            "precision": tuple(DTYPES),
            "quantization": ("nf4", "fp4", "int8", "hqq", "eetq", "gptq", "awq", "bnb"),
            "sharding": ("ddp", "zero1", "zero2", "zero3", "fsdp2"),
            "attention": tuple(ATTENTION),
            "loss": ("plain", "fused"),
            "optimizer": tuple(OPTIMIZERS),
            "schedule": SCHEDULES,
            "preference_loss": ("sigmoid", "kto", "orpo", "simpo"),
            "loss_type": _loss_types(version),
            "offload_optimizer": ("none", "cpu", "nvme"),
            "offload_parameters": ("none", "cpu", "nvme"),
            "sequence_parallel": ANYTHING,
            "gradient_checkpointing": (True, False),
            "packing": (True, False),
            "system": ANYTHING,
            "packing_attention": ("flash", "flash3"),
            "packing_task": ("pretrain", "sft", "dpo", "kto", "grpo"),  # arguments/rlhf_args.py, _check_padding_free
            "overlong": ("truncate", "drop"),
            "blank_pictures": pictures.BLANK[form(version)],
            "blank_pictures_deepspeed": pictures.BLANK_DEEPSPEED,
            "image_frames": ANYTHING,
            "whole_parts": ((),) if before(version, "4") else ((), *pictures.BESIDE),
            "vision_learning_rate": ANYTHING,
            "projector_learning_rate": ANYTHING,
            "report_to": ("none", "tensorboard", "wandb", "swanlab", "mlflow", "trackio"),
            "existing": ("fail", "resume", "overwrite"),
            "hub": ("huggingface", "modelscope"),
            "vendor": ("nvidia", "amd", "huawei"),
            "data_options": ("subset", "split", "columns", "roles", "samples"),
            "grpo_rollout": ("colocate", "server", "native"),
            "ppo_rollout": ("native",),
        },
        packages=packages,
        notes={"precision": "pure bf16 is what bf16 without DeepSpeed is", "method": "it freezes parts by name only"},
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """train.sh and run.yaml, which say the same; JSON for DeepSpeed or FSDP; rollout.sh where vLLM has its own GPUs."""
    version = form(plan.profile.version)
    if plan.strategy.task != "pretrain":
        need_template(plan, models.templates(version))
    subcommand = {"sft": "sft", "pretrain": "pt"}.get(plan.strategy.task, "rlhf")
    contract = f"{NAME}-{'rlhf' if subcommand == 'rlhf' else 'sft'}-{version}"
    made = native(KEYS, plan, out_to_spec, _listed(extra, contract))
    variables = native(ENVIRONMENT, plan)
    served = plan.values["rollout_mode"] == "server" and plan.values["rollout_gpus"] > 0
    script = {
        "command": subcommand,
        "environment": variables.data,
        "arguments": made.data,
        "nodes": plan.problem.hardware.nodes,
        "existing": plan.values["existing"],
        "output_dir": plan.values["output_dir"],
        "asks_for_server": served and "vllm_server_host" not in made.data,
    }
    # 3.x reads no environment from its config files.
    config = made.data if version.startswith("3.") else {"ENV": variables.data, **made.data}
    files = [
        File("train.sh", script, "train.sh.j2", None, variables, made.cites, made.sections, executable=True),
        File("run.yaml", config, f"run-{version[0]}.yaml.j2", contract, made, variables.cites),
    ]
    if data.DESCRIBED(plan):
        sets = {"sets": data.info(plan, out_to_spec)}
        files.append(File(data.INFO, sets, "dataset_info.json.j2"))
    if plan.strategy.deepspeed:
        installed = plan.profile.packages.get("deepspeed") or WITH[version]["deepspeed"]
        files.append(deepspeed.config_file(plan, installed))
    elif plan.strategy.sharding == "fsdp2":
        files.append(native(FSDP_KEYS, plan).file(FSDP))
    if served:
        files.append(_server(plan, out_to_spec))
    return Lowered(tuple(files), Start("train.sh", server="rollout.sh" if served else ""))


def _listed(extra: Mapping[str, Any], contract: str) -> dict[str, Any]:
    """The user's keys, with one word for a list as a list of it: what argparse makes of both (nargs="+").

    The files are words on a command line in the end, run.yaml too (swift/cli/main.py).
    """
    known: Mapping[str, Any] = contracts.load(contract)["properties"]

    def lists(schema: Mapping[str, Any]) -> bool:
        kinds = [one.get("type") for one in schema.get("anyOf", [schema])]
        return "array" in kinds and {*kinds} <= {"array", "null"}

    return {
        key: [value] if type(value) in (str, int, float) and lists(known.get(key, {})) else value
        for key, value in extra.items()
    }


def _server(plan: Plan, out_to_spec: str) -> File:
    """The script of vLLM's own GPUs."""
    made, variables = native(SERVER, plan, out_to_spec), native(SERVER_ENVIRONMENT, plan)
    script = {"environment": variables.data, "arguments": made.data}
    return File("rollout.sh", script, "rollout.sh.j2", said=made, cites=variables.cites, executable=True)
