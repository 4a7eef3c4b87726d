"""Would the installed ms-swift train with this command? Nothing is downloaded, no model is loaded, no data is opened.

A case: `{"folder", "command", "argv", "environment", "world_size", "config": argv of the same run as a config file}`,
as a shell hands them to `swift`. The layers, in order:

flags   Every flag is one of the command's dataclass, in full and once; ms-swift itself takes abbreviations.
config  The config file, through ms-swift's own reader, parses to the same values as the script's flags.
build   The dataclass is built, so every check of ms-swift, TRL and transformers behind it runs, as rank 0 of a job
        of the planned size (torch's fake process group) with as many GPUs in sight as the command names.
late    What ms-swift refuses only when it has a model: unknown tuners, tensor parallelism that does not divide the
        processes, KTO on one sample; and transformers holds DeepSpeed's JSON against the arguments.

A model is a folder of its name with a small config.json: ms-swift goes by the last part of the name. A rollout
server is never contacted.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import transformers.training_args
import transformers.utils.import_utils
from swift.cli import main as cli
from swift.utils.utils import _patch_get_type_hints
from transformers import HfArgumentParser

from tests.conformance.drivers.batch import Rejected
from tests.conformance.drivers.deepspeed_driver import join

try:
    import swift.rlhf_trainers as trainers
    from swift import arguments
    from swift.model.model_meta import MODEL_MAPPING
except ImportError:  # 3.x
    import swift.trainers.rlhf_trainer.vllm_client as trainers
    from swift.llm import MODEL_MAPPING
    from swift.llm import argument as arguments

CLASSES = {
    "sft": ("SftArguments", "TrainArguments"),
    "pt": ("PretrainArguments", "SftArguments", "TrainArguments"),
    "rlhf": ("RLHFArguments",),
    "rollout": ("RolloutArguments",),
}
SEEN = ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES")
OWN = (*SEEN, "PATH", "HOME")  # not passed on: GPUs are pretended, in the place of NPUs too


class Nobody:
    """A rollout server that is not there and agrees to everything."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, _: str) -> Any:
        return lambda *_, **__: None


def prepare() -> None:
    """Make transformers and ms-swift believe in GPUs; import what every case needs."""
    import accelerate.state
    import deepspeed.comm

    kinds = accelerate.state.DistributedType
    accelerate.state.PartialState._prepare_backend = lambda *_, **__: (
        ("nccl", kinds.MULTI_GPU) if "RANK" in os.environ else (None, kinds.NO)
    )
    accelerate.state.PartialState.set_device = lambda _: None
    deepspeed.comm.is_initialized = lambda: True
    deepspeed.comm.init_distributed = lambda *_, **__: None
    for module in (transformers.training_args, transformers.utils, transformers.utils.import_utils):
        for name in ("is_torch_bf16_gpu_available", "is_torch_tf32_available"):
            if hasattr(module, name):
                setattr(module, name, lambda *_, **__: True)
    trainers.VLLMClient = Nobody


def check(case: dict[str, Any]) -> dict[str, Any]:
    """The facts that ms-swift read back. Raises Rejected, or whatever ms-swift itself raises."""
    os.chdir(case["folder"])
    os.environ.update({name: value for name, value in case["environment"].items() if name not in OWN})
    os.environ.update(ACCELERATE_TORCH_DEVICE="cpu")
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    (seen,) = (case["environment"][name] for name in SEEN if name in case["environment"])
    _pretend(len(seen.split(",")))
    kind = next(getattr(arguments, name) for name in CLASSES[case["command"]] if hasattr(arguments, name))
    given = _parse(kind, case["argv"])
    if case.get("config") and (wrong := _unlike(given, _parse(kind, _config(case["config"])))):
        raise Rejected(f"config: run.yaml differs in {wrong}")
    if "NPROC_PER_NODE" in case["environment"]:
        join(case["world_size"])
        os.environ["LOCAL_WORLD_SIZE"] = case["environment"]["NPROC_PER_NODE"]
    elif given.get("rlhf_type") == "grpo":
        join(1)  # as GRPO itself does of a lone process (set_default_ddp_config)
    with tempfile.TemporaryDirectory() as scratch:
        _stand_in(given, Path(scratch))
        built = kind(**given)
        if case["command"] == "rollout":
            return {"utilization": built.vllm_gpu_memory_utilization, "port": built.port}
        _late(built, case)
        return _facts(built)


def _pretend(gpus: int) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("swift") and "get_device_count" in vars(module):
            setattr(module, "get_device_count", lambda: gpus)  # noqa: B010


def _config(argv: list[str]) -> list[str]:
    words = list(argv)
    if hasattr(cli, "parse_yaml_args"):
        cli.parse_yaml_args(words)
    else:
        cli.prepare_config_args(words)
    return words


def _parse(kind: Any, argv: list[str]) -> dict[str, Any]:
    with _patch_get_type_hints():
        parser = HfArgumentParser([kind])

    def complain(message: str) -> None:
        raise Rejected(f"flags: {message}")

    parser.error = complain
    used = [word for word in argv if word.startswith("--")]
    if unknown := [word for word in used if word not in parser._option_string_actions]:
        raise Rejected(f"flags: unknown {' '.join(unknown)}")
    if twice := sorted({word for word in used if used.count(word) > 1}):
        raise Rejected(f"flags: twice {' '.join(twice)}")
    found, rest = parser.parse_known_args(argv)
    if rest:
        raise Rejected(f"flags: left over {rest}")
    return dict(vars(found))


def _unlike(one: dict[str, Any], other: dict[str, Any]) -> str:
    return ", ".join(f"{name} ({one[name]!r} and {other[name]!r})" for name in one if one[name] != other[name])


def _stand_in(given: dict[str, Any], scratch: Path) -> None:
    """Models, adapters and outputs become folders of this check's own."""

    def model(name: str) -> str:
        folder = scratch / "models" / name.rstrip("/").rpartition("/")[2]
        folder.mkdir(parents=True, exist_ok=True)
        known = MODEL_MAPPING.get(given.get("model_type") or "qwen2")
        config = {
            "architectures": list(known.architectures[:1]) if known is not None else ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 8,
            "num_key_value_heads": 8,
            "max_position_embeddings": 32768,
            "vocab_size": 512,
            "torch_dtype": "bfloat16",
        }
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return str(folder)

    def adapter(name: str) -> str:
        folder = scratch / "adapters" / name.replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
        return str(folder)

    for name, make in (("model", model), ("ref_model", model), ("reward_model", model), ("adapters", adapter)):
        value = given.get(name)
        if value:
            given[name] = [make(each) for each in value] if isinstance(value, list) else make(value)
    if given.get("reward_model") and not given.get("reward_model_type"):  # a stand-in's name says nothing
        given["reward_model_type"] = ["qwen2"] * len(given["reward_model"])
    if "output_dir" in given:
        given["output_dir"] = str(scratch / "out")


def _late(built: Any, case: dict[str, Any]) -> None:
    training, world = built.training_args, case["world_size"]
    if _tuner(built) not in ("full", "lora"):
        raise Rejected(f"late: no tuner {_tuner(built)}")
    if training.world_size != world:
        raise Rejected(f"late: {training.world_size} processes, planned {world}")
    if case["command"] == "rlhf":
        samples = world * training.per_device_train_batch_size * training.gradient_accumulation_steps
        if built.rlhf_type == "kto" and samples < 2:
            raise Rejected("late: KTO needs two samples")
        if built.rlhf_type == "grpo" and not (built.reward_funcs or built.reward_model):
            raise Rejected("late: GRPO without a reward")
        if getattr(built, "vllm_mode", None) == "colocate" and world % built.vllm_tensor_parallel_size:
            raise Rejected("late: tensor parallelism does not divide the processes")
    if (config := getattr(training, "hf_deepspeed_config", None)) is not None:
        config.trainer_config_finalize(training, SimpleNamespace(config=SimpleNamespace(hidden_size=64)), 100)


def _tuner(built: Any) -> str:
    return str(built.tuner_type if hasattr(built, "tuner_type") else built.train_type)


def _facts(built: Any) -> dict[str, Any]:
    training = built.training_args
    config = getattr(training, "hf_deepspeed_config", None)
    zero = config.config.get("zero_optimization", {}) if config is not None else {}
    names = (
        *("model_type", "template", "max_length", "packing", "lora_rank", "lora_alpha", "lora_dropout", "quant_bits"),
        *("attn_impl", "truncation_strategy", "sequence_parallel_size", "freeze_vit", "rlhf_type", "num_generations"),
        *("vllm_mode", "vllm_gpu_memory_utilization", "sleep_level", "max_completion_length", "steps_per_generation"),
    )
    own = {name: getattr(built, name) for name in names if hasattr(built, name)}
    return {
        **own,
        "tuner_type": _tuner(built),
        "torch_dtype": str(built.torch_dtype).removeprefix("torch."),
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "generation_batch_size": getattr(training, "generation_batch_size", None),
        "world_size": training.world_size,
        "gradient_checkpointing": training.gradient_checkpointing,
        "use_liger_kernel": training.use_liger_kernel,
        "bf16": training.bf16,
        "fp16": training.fp16,
        "optim": getattr(training.optim, "value", training.optim),
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": getattr(training.lr_scheduler_type, "value", training.lr_scheduler_type),
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "adam_beta2": training.adam_beta2,
        "num_train_epochs": training.num_train_epochs,
        "max_steps": training.max_steps,
        "seed": training.seed,
        "zero_stage": zero.get("stage", 0),
        "offload_optimizer": zero.get("offload_optimizer", {}).get("device", "none"),
        "offload_parameters": zero.get("offload_param", {}).get("device", "none"),
    }
