"""ms-swift: a shell script with the whole command, the same run as a YAML config, and what they need beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.memory.stack import Moments, Preferences, Stack
from mfc.profile import Profile
from mfc.target.keys import native
from mfc.target.outputs import File, Lowered
from mfc.target.paths import is_local, located
from mfc.target.templates import need_template
from mfc.target.versions import nearest

from .. import deepspeed
from . import models
from .keys import ATTENTION, FSDP, KEYS, OPTIMIZERS
from .rules import RULES, VERSIONS
from .when import DTYPES, PORT, RLHF, command, share

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = ["KEYS", "NAME", "RULES", "TITLE", "UNMODELLED", "VERSIONS", "lower", "profile"]

NAME = "ms-swift"
TITLE = "ms-swift"

# What each version was judged with: transformers decides how experts are stored, DeepSpeed which JSON is valid.
_WITH = {
    "4.6.0": {"transformers": "5.19.0", "deepspeed": "0.19.8"},
    "3.12.6": {"transformers": "4.57.6", "deepspeed": "0.19.8"},
}

# The user's own flags that change what is held in memory, and that the memory model does not count.
_UNCOUNTED = """
    async_generate auto_find_batch_size bf16_full_eval bnb_4bit_quant_storage deepspeed_autotp_size device_map
    ds3_gather_for_generation enable_channel_loss eval_accumulation_steps experts_impl fp16_full_eval freeze_parameters
    freeze_parameters_ratio freeze_parameters_regex fsdp_config galore_rank generation_batch_size init_weights
    label_smoothing_factor lisa_activated_layers liger_kernel_config llamapro_num_new_blocks lora_dtype max_memory
    neftune_noise_alpha new_special_tokens num_beams offload_teacher_model optim_args optim_target_modules optimizer
    padding_free predict_with_generate rope_scaling sync_ref_model target_parameters target_regex teacher_adapters
    teacher_deepspeed teacher_model torch_compile trainable_parameters trainable_parameters_regex tuner_backend
    use_galore use_logits_to_keep use_swift_lora vllm_enable_lora vllm_enforce_eager vllm_engine_kwargs
    vllm_quantization vllm_speculative_config zero_hpz_partition_size
"""
UNMODELLED = frozenset(_UNCOUNTED.split())

# Families whose processors take the size of images from a variable, in pixels or in tokens of 32 x 32 pixels.
_PIXELS = ("qwen2_vl", "qwen2_5_vl", "qwen2_5_omni")
_TOKENS = ("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "qwen3_omni_moe")

# swift/rlhf_trainers (trainers/rlhf_trainer in 3.x) with TRL's selective_log_softmax: sequence by sequence, from fp32
# logits by logsumexp, whose gradients need them whole, from 16-bit ones by a 16-bit log_softmax.
PREFERENCES = Preferences(
    dpo=(Moments(16, 10), Moments(4, 6)),
    kto=(Moments(16, 10), Moments(4, 6)),
    orpo=(Moments(18), Moments(5)),
    simpo=(Moments(16), Moments(4)),
)


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What one version supports and how it uses memory.

    Weights keep the type that they are loaded in, PEFT makes adapters fp32 unless lora_dtype is given (tuners/peft.py),
    and nothing prepares quantised models, so what stays unquantised keeps 16 bits.
    """
    transformers = packages.get("transformers") or _WITH[nearest(version, VERSIONS)]["transformers"]
    return Profile(
        target=NAME,
        version=version,
        stack=Stack(
            name=f"{NAME}-{nearest(version, VERSIONS)}",
            known=True,  # the Trainer and PEFT; runs of ms-swift are among the measurements that the model is held to
            kbit_fp32=False,
            expert_adapters=False,  # all-linear finds modules (utils/transformers_utils.py), never fused experts
            fused_experts=int(transformers.partition(".")[0]) >= 5,
            expandable_segments=True,
            preferences=PREFERENCES,
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
            "packing_attention": ("flash",),
            "grpo_rollout": ("colocate", "server", "native"),
            "ppo_rollout": ("native",),
        },
        packages=packages,
        notes={"precision": "pure bf16 is what bf16 without DeepSpeed is", "method": "it freezes parts by name only"},
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """train.sh and run.yaml, which say the same; JSON for DeepSpeed or FSDP; rollout.sh where vLLM has its own GPUs."""
    version = nearest(plan.profile.version, VERSIONS)
    if plan.strategy.task != "pretrain":
        need_template(plan, models.templates(version))
    made = native(KEYS, plan, extra)
    _move_paths(made.data, plan, out_to_spec)
    hardware = plan.problem.hardware
    variables = environment(plan)
    kind = "rlhf" if command(plan) == "rlhf" else "sft"
    # 3.x reads no environment from its config files.
    config = made.data if version.startswith("3.") else {"ENV": variables, **made.data}
    cites = {**made.cites, **_CITES}
    script = {
        "command": command(plan),
        "environment": variables,
        "arguments": made.data,
        "nodes": hardware.nodes,
        "existing": plan.values["existing"],
        "output_dir": plan.values["output_dir"],
        "asks_for_server": plan.values.get("rollout_mode") == "server" and "vllm_server_host" not in made.data,
    }
    files = [
        File("train.sh", script, "train.sh.j2", cites=cites, sections=made.sections, executable=True),
        File("run.yaml", config, f"run-{version[0]}.yaml.j2", f"{NAME}-{kind}-{version}", cites, made.sections),
    ]
    if plan.strategy.deepspeed:
        installed = plan.profile.packages.get("deepspeed") or _WITH[version]["deepspeed"]
        files.append(deepspeed.config_file(plan, installed))
    elif plan.strategy.sharding == "fsdp2":
        files.append(File(FSDP, fsdp(plan)))
    if plan.values.get("rollout_mode") == "server":
        files.append(_server(plan, made.data))
    several = "" if hardware.nodes == 1 else "NODE_RANK=0 MASTER_ADDR=HOST "
    first = "bash rollout.sh & " if plan.values.get("rollout_mode") == "server" else ""
    return Lowered(tuple(files), f"{first}{several}bash train.sh")


def environment(plan: Plan) -> dict[str, str]:
    """Environment variables of the run.

    As many GPUs are in sight as there are processes: with more, ms-swift would spread each model over several.
    """
    hardware, architecture = plan.problem.hardware, plan.problem.model.architecture
    devices = hardware.devices or tuple(range(hardware.gpus_per_node))
    made = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, devices))}
    if _launched(plan):
        made["NPROC_PER_NODE"] = str(hardware.gpus_per_node)
    if hardware.nodes > 1:
        made["NNODES"] = str(hardware.nodes)
    if plan.values["allocator"]:
        made["PYTORCH_CUDA_ALLOC_CONF"] = plan.values["allocator"]
    pixels = plan.values["image_max_pixels"]
    if pixels is not None and architecture.family in _PIXELS:
        made["MAX_PIXELS"] = str(pixels)
    elif pixels is not None and architecture.family in _TOKENS:
        made["IMAGE_MAX_TOKEN_NUM"] = str(max(pixels // 32**2, 1))
    if threads := plan.values.get("cpu_threads"):
        made["OMP_NUM_THREADS"] = str(threads)
    return made


def _launched(plan: Plan) -> bool:
    """Whether torchrun starts the run. One process that it started would be wrapped in DDP, with gradient buckets."""
    return plan.strategy.world_size > 1 or plan.strategy.deepspeed or plan.values.get("rollout_mode") == "colocate"


def fsdp(plan: Plan) -> dict[str, Any]:
    """The JSON of `--fsdp`, as ms-swift's own preset fsdp2 has it."""
    offload = plan.strategy.offload_parameters != "none"
    return {
        "fsdp": "full_shard auto_wrap offload" if offload else "full_shard auto_wrap",
        "fsdp_config": {
            "fsdp_version": 2,
            "reshard_after_forward": True,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "cpu_ram_efficient_loading": True,
            "state_dict_type": "SHARDED_STATE_DICT",
            "activation_checkpointing": plan.strategy.gradient_checkpointing,
        },
    }


def _server(plan: Plan, trained: Mapping[str, Any]) -> File:
    """The script of vLLM's own GPUs; engine flags belong to it, ms-swift ignores them on the trainer."""
    split, taken = plan.problem.split, share(plan)
    assert split is not None
    names = ("model", "model_revision", "model_type", "use_hf", "torch_dtype", "template", "max_pixels")
    arguments = {name: trained[name] for name in names if name in trained}
    arguments |= {
        "host": "127.0.0.1" if split.devices else "0.0.0.0",
        "port": PORT,
        "vllm_tensor_parallel_size": taken.tensor_parallel,
        "vllm_data_parallel_size": split.gpus // split.nodes // taken.tensor_parallel,
        "vllm_gpu_memory_utilization": taken.utilization,
        "vllm_max_model_len": plan.strategy.max_length,
        "vllm_max_num_seqs": taken.sequences,
    }
    gpus = split.devices or tuple(range(split.gpus // split.nodes))
    script = {"environment": {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}, "arguments": arguments}
    cites = {name: ("rollout_share",) for name in arguments if name.startswith("vllm_")}
    cites["CUDA_VISIBLE_DEVICES"] = ("rollout_gpus",)
    return File("rollout.sh", script, "rollout.sh.j2", cites=cites, executable=True)


_CITES = {
    "PYTORCH_CUDA_ALLOC_CONF": ("allocator",),
    "MAX_PIXELS": ("image_max_pixels",),
    "IMAGE_MAX_TOKEN_NUM": ("image_max_pixels",),
    "OMP_NUM_THREADS": ("cpu_threads",),
}


def _move_paths(made: dict[str, Any], plan: Plan, out_to_spec: str) -> None:
    """Paths of the spec become paths from the output folder, where the run starts."""
    for name in ("model", "ref_model"):
        if isinstance(made.get(name), str) and is_local(made[name]):
            made[name] = located(made[name], out_to_spec)
    sets = plan.problem.spec.data.train
    made["dataset"] = [located(one.path, out_to_spec) if one.path else str(one.hub) for one in sets]
    if "val_dataset" in made:
        made["val_dataset"] = [located(path, out_to_spec) for path in made["val_dataset"]]
    for name in ("adapters", "reward_model"):
        if name in made:
            made[name] = [located(path, out_to_spec) if is_local(path) else path for path in made[name]]
