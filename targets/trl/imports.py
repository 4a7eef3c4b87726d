"""TRL's YAML and commands read back, with the accelerate file that starts them.

Source: cli/ and scripts/ of TRL 1.16.0, and its accelerate_configs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from mfc.beside import is_local
from mfc.catalog import copies
from mfc.errors import SpecError
from mfc.spec.marks import printable
from mfc.target import contracts, trainer
from mfc.target.importing import Beside, Imports, Machines, Part, Place, Run, Settings, flags

from .. import accelerate_imports
from ..deepspeed import imports as deepspeed
from . import data
from .keys import ENVIRONMENT, KEYS
from .rules import VERSIONS, WITH

_MARKS = frozenset(
    {
        "use_peft",
        "lora_r",
        "attn_implementation",
        "dataset_name",
        "datasets",
        "dataset_text_field",
        "lora_target_modules",
    }
)
_RUNS = ("sft", "dpo", "kto", "reward", "grpo")
_TAKEN = {
    **dict.fromkeys(("datasets", "dataset_name", "dataset_config", "dataset_train_split"), "data.train"),
    "deepspeed": "strategy.sharding",
    "resume_from_checkpoint": "run.existing",
}
_IDLE = {"dataset_streaming": "whether rows are read as they come", "push_to_hub": "what happens after the run"}
# The presets of --accelerate_config.
_PRESETS = {
    "single_gpu": {"sharding": ("ddp",)},
    "multi_gpu": {"sharding": ("ddp",)},
    "zero1": deepspeed.by_name("zero1"),
    "zero2": deepspeed.by_name("zero2"),
    "zero3": deepspeed.by_name("zero3"),
    "fsdp1": {"sharding": ("fsdp",)},
    "fsdp2": {"sharding": ("fsdp2",), "offload_parameters": ("none",), "offload_optimizer": ("none",)},
}


# Where no names are given, PEFT has its own by family (peft 0.21.2 utils/constants.py).
_TARGETS: Mapping[str, str] = {
    **dict.fromkeys(
        ("llama", "llama4", "mistral", "mixtral", "stablelm", "gemma", "gemma2", "gemma3_text", "qwen2", "qwen3"),
        "q_proj v_proj",
    ),
    "phi": "q_proj v_proj fc1 fc2",
    **dict.fromkeys(("bloom", "gpt_neox", "chatglm", "falcon"), "query_key_value"),
    **dict.fromkeys(("gpt2", "gpt_bigcode"), "c_attn"),
}


def starts(program: str, arguments: Sequence[str]) -> bool:
    """`trl sft` and its like, or one of TRL's scripts."""
    if program.rpartition("/")[2] == "trl":
        return bool(arguments) and arguments[0] in _RUNS
    return _script(program) is not None


def refuses(program: str, arguments: Sequence[str]) -> str:
    """Commands of TRL that train what mfc has no word for."""
    if program.rpartition("/")[2] == "trl" and arguments[:1] and arguments[0] in ("rloo", "gkd", "online_dpo"):
        return f"trl {arguments[0]}: mfc has no task of this kind; it reads trl {', '.join(_RUNS)}"
    return ""


def _script(program: str) -> str | None:
    found = re.fullmatch(r"(?:.*/)?(?:trl[./]scripts[./]|examples/scripts/)(sft|dpo|kto|reward|grpo)(?:\.py)?", program)
    return found[1] if found else None


def settings(run: Run, place: Place) -> Settings:
    """One run, with the accelerate file and DeepSpeed's JSON."""
    command, said, name = _told(run)
    said, idle = trainer.read(said)
    if "torch_dtype" in said and "dtype" not in said:
        said["dtype"] = said.pop("torch_dtype")
    launcher = str(said.pop("accelerate_config", "")) or run.launcher_config
    version = VERSIONS[0]
    command = command or min(_RUNS, key=lambda one: _unknown(said, one, version))
    engine = _engine(said, launcher, run.beside, version)
    task = "pretrain" if command == "sft" and _plain_text(said) else command
    told: dict[str, tuple[Any, ...]] = {**engine.told, "task": (task,), "existing": (_existing(said, run),)}
    notes = engine.notes
    if said.get("save_total_limit") is None:
        told["keep"] = ("all",)
    if _weights_in_fp32(said):
        notes += ("it loads the base model in float32; mfc loads what adapters train on in the type of training",)
    if "lora_target_modules" not in said:
        notes += ("it names no lora_target_modules: PEFT has its own for each family, few of them",)
    known = {key.name for key in ENVIRONMENT}
    here = {key: value for key, value in run.environment.items() if key in known}
    contract = f"trl-{command}-{version}"
    main = Part(name, KEYS, said, contract, _defaults(said), _TAKEN, {**_IDLE, **idle}, own=True)
    spec, lost = _data(said, task, place)
    spec |= _rewards(said, place)
    machines = Machines(
        run.machines.processes or engine.machines.processes,
        run.machines.nodes or engine.machines.nodes,
        run.machines.devices,
    )
    if said.get("vllm_mode") == "server":  # those in sight are fewer than there are
        machines = machines._replace(devices=())
    parts = (*engine.parts, main, Part("environment", ENVIRONMENT, here))
    return Settings(version, parts, told, spec, machines, (*notes, *lost))


def _told(run: Run) -> tuple[str, dict[str, Any], str]:
    """The command, where one is said, its settings, and where they stand."""
    if run.config is not None:
        return "", dict(run.config), "the config"
    arguments = list(run.arguments)
    command = _script(run.program) or arguments.pop(0)
    given = flags(arguments, contracts.load(f"trl-{command}-{VERSIONS[0]}")["properties"])
    if not (path := str(given.pop("config", ""))):
        return command, given, "the command"
    found = run.beside.mapping(path)
    if found is None:
        raise SpecError(f"{printable(path)}: error: the command reads this file, and it is not there")
    found.pop("env", None)
    return command, {**found, **given}, path


def _unknown(said: Mapping[str, Any], command: str, version: str) -> int:
    """How many keys a command does not have."""
    return len(said.keys() - contracts.load(f"trl-{command}-{version}")["properties"].keys())


def _engine(said: Mapping[str, Any], launcher: str, beside: Beside, version: str) -> accelerate_imports.Launched:
    """What shards: the Trainer's own argument, an accelerate file, one of TRL's presets, or nothing."""
    nothing = Machines()
    if said.get("deepspeed"):
        found = deepspeed.json_of(said["deepspeed"], beside, WITH[version]["deepspeed"])
        return accelerate_imports.Launched((found.part,) if found.part else (), found.told, nothing, found.notes)
    if launcher in _PRESETS:
        return accelerate_imports.Launched((), _PRESETS[launcher], nothing)
    if launcher:
        config = beside.mapping(launcher)
        if config is not None:
            return accelerate_imports.read(launcher, config, beside, WITH[version]["deepspeed"])
        told = deepspeed.by_name(launcher)
        said_by = "its name tells the stage" if told else "its name tells nothing: strategy.sharding is left open"
        return accelerate_imports.Launched((), told, nothing, (f"{launcher} is not there; {said_by}",))
    return accelerate_imports.Launched((), {"sharding": ("ddp",)}, nothing)


def _plain_text(said: Mapping[str, Any]) -> bool:
    """Whether every token of a text is learnt, in any order of texts: pretraining, for mfc."""
    return said.get("packing_strategy") == "wrapped" or said.get("dataset_text_field") is not None


def _existing(said: Mapping[str, Any], run: Run) -> str:
    if run.stops_at_checkpoints:
        return "fail"
    return "resume" if said.get("resume_from_checkpoint") else "overwrite"


def _weights_in_fp32(said: Mapping[str, Any]) -> bool:
    return str(said.get("use_peft", "false")).lower() == "true" and said.get("dtype", "float32") == "float32"


def _defaults(said: Mapping[str, Any]) -> dict[str, Any]:
    """What TRL does where the contract has nothing."""
    entry = copies.find(str(said.get("model_name_or_path", "")))
    made: dict[str, Any] = dict.fromkeys(("max_steps", "model_revision", "test_split_size"))
    made["attn_implementation"] = "sdpa"
    made["lora_target_modules"] = (_TARGETS.get(entry.architecture.family, "").split() or None) if entry else None
    if said.get("dtype") == "auto":
        made["dtype"] = entry.dtype if entry else None
    return made


def _rewards(said: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """What scores answers, in TRL's order: the model, then functions; and a server that generates elsewhere."""
    made: dict[str, Any] = {}
    model = said.get("reward_model_name_or_path")
    rewards = [place.spec_path(model) if is_local(model) else model] if isinstance(model, str) else []
    functions = said.get("reward_funcs")
    rewards += [functions] if isinstance(functions, str) else functions if isinstance(functions, list) else []
    if rewards:
        made["train.rollout.rewards"] = rewards
    if isinstance(weights := said.get("reward_weights"), list):
        made["train.rollout.reward_weights"] = [float(weight) for weight in weights]
    host = str(said.get("vllm_server_host", "127.0.0.1"))
    if host not in ("127.0.0.1", "0.0.0.0", "localhost") and "$" not in host:
        made["train.rollout.server.host"] = host
        made["train.rollout.server.port"] = int(said.get("vllm_server_port", 8000))
    return made


def _data(said: Mapping[str, Any], task: str, place: Place) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The data sets: `datasets`, or the one of `dataset_name`."""
    found = said.get("datasets")
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        if not said.get("dataset_name"):
            return {}, ("it names no data set: add data.train",)
        found = [
            {
                "path": said["dataset_name"],
                "name": said.get("dataset_config"),
                "split": said.get("dataset_train_split", "train"),
            }
        ]
    form = next(iter(data.FORMATS.get(task, ("messages",))))
    sets, notes = [], []
    for one in found:
        made = _set(one, place)
        if task == "pretrain" and (column := said.get("dataset_text_field", "text")) != "text":
            made["columns"] = {"text": str(column)}
        sets.append({**made, "format": form})
        if lost := [key for key in one if key not in ("path", "name", "split", "data_files", "fraction", "columns")]:
            notes.append(f"of a data set {', '.join(map(str, lost))} cannot be said")
    return {"data.train": sets}, tuple(notes)


def _set(one: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """One data set: the arguments of load_dataset."""
    made: dict[str, Any] = {}
    path, file = str(one.get("path", "")), one.get("data_files")
    if isinstance(file, str):
        made["path"] = place.spec_path(file)
    elif path.startswith((".", "/", "~")) or PurePosixPath(path).suffix.removeprefix(".") in data.BUILDERS:
        made["path"] = place.spec_path(path)
    else:
        made["hub"] = path
        if one.get("name"):
            made["subset"] = str(one["name"])
        if one.get("split") not in (None, "train"):
            made["split"] = str(one["split"])
    if isinstance(share := one.get("fraction"), float | int) and share > 0:
        made["weight"] = float(share)
    return made


IMPORTS = Imports(starts, _MARKS, settings, refuses)
