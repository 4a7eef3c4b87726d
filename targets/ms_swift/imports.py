"""ms-swift's commands, scripts and config files read back, with what lies beside them.

Source: cli/main.py, arguments/ and trainers/arguments.py, dataset/loader.py and config/ of ms-swift 4.6.0. 3.12 has the
same but for the name of tuner_type.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import PurePosixPath
from typing import Any

from mfc import rows
from mfc.catalog import copies
from mfc.errors import SpecError
from mfc.spec.inputs import DatasetSpec
from mfc.spec.marks import printable
from mfc.target import contracts, trainer
from mfc.target.importing import Beside, Imports, Part, Place, Run, Settings, flags

from ..deepspeed import imports as deepspeed
from . import data
from .keys import KEYS
from .launch import ENVIRONMENT, FSDP_KEYS
from .rlhf import RLHF
from .rules import VERSIONS, WITH

_RUNS = ("sft", "pt", "rlhf")
_MARKS = frozenset(
    {
        "tuner_type",
        "train_type",
        "rlhf_type",
        "torch_dtype",
        "attn_impl",
        "split_dataset_ratio",
        "target_modules",
        "ENV",
    }
)
_TAKEN = {
    **dict.fromkeys(
        ("dataset", "columns", "custom_dataset_info", "interleave_prob", "stopping_strategy"), "data.train"
    ),
    "deepspeed": "strategy.sharding",
    "fsdp": "strategy.sharding",
    "resume_from_checkpoint": "run.existing",
}
_IDLE = {
    "data_seed": "mfc has one seed",
    "add_version": "whether output_dir gets a folder for each run",
    "check_model": "whether files of the model are checked before",
    "load_from_cache_file": "whether prepared rows are made anew",
}
_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_OF_2 = {"model_id_or_path", "sft_type", "lora_target_modules", "lora_dropout_p", "template_type"}
# What a prompt is taken to have at most where nothing says: the default of data.max_length.
LENGTH = 2048
# Presets of --deepspeed: 2e8 elements in the buckets of stages 1 and 2, else what "auto" is.
_BUCKETS = 200_000_000


def starts(program: str, arguments: Sequence[str]) -> bool:
    """`swift sft|pt|rlhf`, or the module or script behind it."""
    if program.rpartition("/")[2] == "swift":
        return bool(arguments) and arguments[0] in _RUNS
    return _subcommand(program) is not None


def refuses(program: str, arguments: Sequence[str]) -> str:
    """Megatron's engine has its own commands."""
    if program.rpartition("/")[2] == "megatron" and arguments[:1] and arguments[0] in _RUNS:
        return "it runs megatron, whose engine mfc has no model of; swift sft, pt and rlhf can be read"
    return ""


def _subcommand(program: str) -> str | None:
    found = re.fullmatch(r"(?:.*/)?swift[./]cli[./](sft|pt|rlhf)(?:\.py)?", program)
    return found[1] if found else None


def settings(run: Run, place: Place) -> Settings:
    """One run, DeepSpeed's or FSDP's JSON and dataset_info.json read beside it."""
    command, said, environment, name = _told(run)
    if old := sorted(_OF_2 & said.keys()):
        raise SpecError(
            f"{printable(name)}: error: it is of ms-swift 2, for it says {', '.join(old)}; mfc reads "
            f"{' and '.join(reversed(VERSIONS))}: give the run the names that these have"
        )
    said, idle = trainer.read(said)
    if (kind := said.get("task_type") or "causal_lm") != "causal_lm":
        raise SpecError(f"task_type: error: {printable(str(kind))} is no task of mfc's, which has causal_lm alone")
    version = min(VERSIONS, key=lambda one: _unknown(said, command, one))
    contract = f"ms-swift-{'rlhf' if command == 'rlhf' else 'sft'}-{version}"
    said, unread = _system(said, run.beside)
    parts, told, notes = _engine(said, run.beside, version)
    task = {"sft": "sft", "pt": "pretrain"}.get(command, "")
    if task:
        told["task"] = (task,)
    told["existing"] = (_existing(said, run),)
    defaults = _defaults(said, command)
    if not _evaluates(said):
        why = "nothing is evaluated: there is neither val_dataset nor split_dataset_ratio"
        idle |= dict.fromkeys({"per_device_eval_batch_size", "eval_steps", "eval_strategy"} & said.keys(), why)
    known = {key.name for key in ENVIRONMENT}
    parts += [
        Part(name, KEYS, said, contract, defaults, _TAKEN, {**_IDLE, **idle}, own=True),
        Part("environment", ENVIRONMENT, {key: value for key, value in environment.items() if key in known}),
    ]
    if said.get("save_total_limit") is None:
        told["keep"] = ("all",)
    lengths, short = _lengths(said, command)
    told |= lengths
    notes += (*short, *unread)
    named = next((one for one, word in RLHF.items() if word == said.get("rlhf_type", "dpo")), "dpo")
    spec, lost = _data(said, task or named, run.beside, place)
    host = next(iter(_list(said.get("vllm_server_host"))), "127.0.0.1")
    elsewhere = host not in ("127.0.0.1", "0.0.0.0", "localhost") and "$" not in host
    if elsewhere:
        spec["train.rollout.server.host"] = host
        if (port := next(iter(_list(said.get("vllm_server_port"))), "")).isdigit():
            spec["train.rollout.server.port"] = int(port)
    machines = run.machines
    if machines.processes is None and (devices := environment.get("NPROC_PER_NODE")) and devices.isdigit():
        machines = machines._replace(processes=int(devices) or None)
    return Settings(
        version,
        tuple(parts),
        told,
        spec,
        # Shown are as many as there are processes, which tells nothing more.
        machines._replace(devices=(), serving=0 if elsewhere else _serving(said, run)),
        (*notes, *lost),
        accumulation=_alone if said.get("rlhf_type") == "grpo" else _accumulation,
    )


def _accumulation(micro: int, world: int) -> int:
    """What gradient_accumulation_steps is where nothing says (trainers/arguments.py)."""
    return max(1, math.ceil(16 / micro / world))


def _alone(_micro: int, _world: int) -> int:
    """Of GRPO (arguments/rlhf_args.py)."""
    return 1


def _told(run: Run) -> tuple[str, dict[str, Any], dict[str, str], str]:
    """The subcommand, its settings and its environment, and where they stand."""
    environment = dict(run.environment)
    if run.config is not None:
        command, said, name = "", dict(run.config), "the config"
    else:
        arguments = list(run.arguments)
        command = _subcommand(run.program) or arguments.pop(0)
        said, name = {}, "the command"
        path = arguments[0] if arguments and arguments[0].endswith((".yaml", ".yml", ".json")) else ""
        given = flags(arguments[1:] if path else arguments)
        if path := path or str(given.pop("config", "")):
            found = run.beside.mapping(path)
            if found is None:
                raise SpecError(f"{printable(path)}: error: the command reads this file, and it is not there")
            said, name = found, path
        said = {**said, **given}
    own = said.pop("ENV", None)
    if isinstance(own, Mapping):
        environment = {**{str(key): str(value) for key, value in own.items()}, **environment}
    return command or ("rlhf" if "rlhf_type" in said else "sft"), said, environment, name


def _unknown(said: Mapping[str, Any], command: str, version: str) -> int:
    """How many keys a version does not have."""
    contract = f"ms-swift-{'rlhf' if command == 'rlhf' else 'sft'}-{version}"
    return len(said.keys() - contracts.load(contract)["properties"].keys())


def _engine(
    said: Mapping[str, Any], beside: Beside, version: str
) -> tuple[list[Part], dict[str, tuple[Any, ...]], tuple[str, ...]]:
    """What shards: DeepSpeed by a file, JSON or preset, FSDP2 by a file or preset, or nothing."""
    value, fsdp = said.get("deepspeed"), said.get("fsdp")
    if isinstance(value, str) and re.fullmatch(r"zero[0-3](_offload)?", value):
        told = deepspeed.by_name(value)
        if told["sharding"] in (("zero1",), ("zero2",)):
            told |= {"reduce_bucket_elements": (_BUCKETS,), "allgather_bucket_elements": (_BUCKETS,)}
        return [], {**told, "overlap_comm": (False,)}, ()
    if value:
        held = _json(value)
        found = deepspeed.json_of(value if held is None else held, beside, WITH[version]["deepspeed"])
        return [found.part] if found.part else [], dict(found.told), found.notes
    if fsdp:
        config = _json(fsdp) or (beside.mapping(str(fsdp)) if fsdp != "fsdp2" else None)
        if config is None:
            none = {"offload_parameters": ("none",), "gradient_checkpointing": (True,)}
            return [], {"sharding": ("fsdp2",), **(none if fsdp == "fsdp2" else {})}, ()
        return [Part(str(fsdp), FSDP_KEYS, config)], {"sharding": ("fsdp2",)}, ()
    return [], {"sharding": ("ddp",)}, ()


def _json(value: Any) -> Mapping[str, Any] | None:
    """A value that is JSON itself, as a mapping or as text."""
    if isinstance(value, Mapping):
        return value
    try:
        found = json.loads(value) if isinstance(value, str) and value.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, Mapping) else None


def _existing(said: Mapping[str, Any], run: Run) -> str:
    if run.stops_at_checkpoints:
        return "fail"
    return "resume" if said.get("resume_from_checkpoint") else "overwrite"


def _defaults(said: Mapping[str, Any], command: str) -> dict[str, Any]:
    """What ms-swift does by itself where the contract has nothing (arguments/, trainers/arguments.py)."""
    tuner = str(said.get("tuner_type") or said.get("train_type") or "lora")
    entry = copies.find(str(said.get("model", "")))
    dtype = str(said.get("torch_dtype") or (entry.dtype if entry and entry.dtype else ""))
    rlhf_type, saves = said.get("rlhf_type", "dpo"), said.get("save_strategy", "steps")
    made: dict[str, Any] = {
        **dict.fromkeys(("max_steps", "model_revision", "loss_type", "beta", "adapters")),
        "torch_dtype": dtype if dtype in _DTYPES else None,
        "bf16": dtype == "bfloat16" if dtype in _DTYPES else None,
        "fp16": dtype in ("float16", "float32") if dtype in _DTYPES else None,
        "attn_impl": "sdpa",
        "learning_rate": 1e-5 if tuner == "full" else 1e-4,
        "dataloader_num_workers": 1,
        "truncation_strategy": "left" if rlhf_type == "grpo" and command == "rlhf" else "delete",
        "eval_strategy": saves if _evaluates(said) else "no",
        "eval_steps": said.get("save_steps", 500),
    }
    if command == "rlhf":
        made["beta"] = {"simpo": 2.0}.get(str(rlhf_type), 0.1)
        made["loss_type"] = {"dpo": ["sigmoid"], "kto": ["kto"]}.get(str(rlhf_type))
    return made


def _evaluates(said: Mapping[str, Any]) -> bool:
    return bool(said.get("val_dataset")) or str(said.get("split_dataset_ratio", 0)) not in ("0", "0.0")


def _lengths(said: Mapping[str, Any], command: str) -> tuple[dict[str, tuple[Any, ...]], tuple[str, ...]]:
    """Of tasks that generate, ms-swift's max_length is the prompt's: a sequence has the answer too."""
    if command != "rlhf" or said.get("rlhf_type") not in ("grpo", "ppo"):
        return {}, ()
    try:
        answer = int(said.get("max_completion_length") or said.get("response_length") or 512)
        prompt = int(said.get("max_length") or LENGTH)
    except (TypeError, ValueError):
        return {}, ()
    notes = () if said.get("max_length") else (f"without max_length a prompt is taken to have {LENGTH} tokens at most",)
    return {"max_length": (prompt + answer,)}, notes


def _system(said: Mapping[str, Any], beside: Beside) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The system prompt as ms-swift reads it: from a file, and with the ends of its lines (arguments/base_args.py)."""
    system = said.get("system")
    if not isinstance(system, str):
        return dict(said), ()
    if system.endswith(".txt"):
        text = beside.text(system)
        if text is None:
            note = f"the system prompt lies in {system}, which is not there: add data.system"
            return {**said, "system": None}, (note,)
        system = text.strip("\n")
    return {**said, "system": system.replace("\\n", "\n")}, ()


def _serving(said: Mapping[str, Any], run: Run) -> int:
    """The GPUs of a server on the same node: those that its command in the script takes, else one."""
    if said.get("vllm_mode") != "server":
        return 0
    for words in run.script:
        if "rollout" in words[:3]:
            given = flags(words)
            sizes = [str(given.get(f"vllm_{each}_parallel_size", 1)) for each in ("tensor", "data")]
            return math.prod(int(size) for size in sizes if size.isdigit())
    return 1


def _data(said: Mapping[str, Any], task: str, beside: Beside, place: Place) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The data sets: words of --dataset, described by columns or by dataset_info.json."""
    words = _list(said.get("dataset"))
    if not words:
        return {}, ("it names no data set: add data.train",)
    entries = _entries(said, beside)
    sets = [_set(word, entries, beside, place) for word in words]
    renames = _json(said.get("columns")) or {}
    described = [entries.get(_name(word), {}) for word in words]
    columns = [_json(entry.get("columns")) or renames for entry in described]
    layouts, lost = _layouts(sets, columns, task)
    made = [
        {**one, **layout, **_roles(entry, layout)} for one, layout, entry in zip(sets, layouts, described, strict=True)
    ]
    shares = _list(said.get("interleave_prob"))
    if len(shares) == len(made):
        for one, share in zip(made, shares, strict=True):
            one["weight"] = float(share)
    return {"data.train": made}, lost


def _list(found: Any) -> list[str]:
    return [str(one) for one in found] if isinstance(found, list) else [] if found in (None, True) else [str(found)]


def _entries(said: Mapping[str, Any], beside: Beside) -> dict[str, Mapping[str, Any]]:
    """The entries of dataset_info.json, by name."""
    made: dict[str, Mapping[str, Any]] = {}
    for path in _list(said.get("custom_dataset_info")):
        try:
            found = json.loads(beside.text(path) or "[]")
        except (ValueError, RecursionError):
            continue
        for entry in found if isinstance(found, list) else []:
            if isinstance(entry, Mapping) and isinstance(entry.get("dataset_name"), str):
                made[entry["dataset_name"]] = entry
    return made


def _name(word: str) -> str:
    return word.partition("#")[0].partition(":")[0]


def _set(word: str, entries: Mapping[str, Mapping[str, Any]], beside: Beside, place: Place) -> dict[str, Any]:
    """Where a data set lies, what of it is used (dataset/loader.py: PATH#ROWS, HUB:SUBSET#ROWS, HF::ID)."""
    name, _, number = word.partition("#")
    made: dict[str, Any] = {}
    name = name.split("::", 1)[-1]
    entry = entries.get(name, {})
    subset = ""
    if entry:
        name = str(entry.get("dataset_path") or entry.get("hf_dataset_id") or entry.get("ms_dataset_id") or name)
        subset = next(iter(_list(entry.get("subsets"))), "")
    elif not _is_path(name, beside):
        name, _, subset = name.partition(":")
    made["path" if entry.get("dataset_path") or (not entry and _is_path(name, beside)) else "hub"] = name
    if "path" in made:
        made["path"] = place.spec_path(name)
    if subset and subset != "default":
        made["subset"] = subset
    if split := next(iter(_list(entry.get("split"))), ""):
        made["split"] = split
    if number.isdigit() and int(number):
        made["samples"] = int(number)
    return made


def _is_path(name: str, beside: Beside) -> bool:
    return bool(PurePosixPath(name).suffix in (".jsonl", ".json", ".csv", ".parquet", ".txt", ".arrow")) or (
        name.startswith((".", "/", "~")) or name.count("/") > 1 or beside.text(name) is not None
    )


def _layouts(
    sets: Sequence[Mapping[str, Any]], columns: Sequence[Mapping[str, Any]], task: str
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Formats and columns of the sets for which mfc would name the same columns; all of one format, if that does."""
    forms = data.FORMATS.get(task, ("messages",))
    every = [[form] * len(sets) for form in forms]
    every += [list(some) for some in product(forms, repeat=len(sets))] if 1 < len(sets) <= 3 else []
    for some in every:
        made = [_layout(form, renames, task) for form, renames in zip(some, columns, strict=True)]
        try:
            back = [data.renames(DatasetSpec(path="x", **one), task) for one in made]
        except ValueError:
            continue
        joined: dict[str, str] = {}
        for one in back:
            joined |= one
        shared = joined == columns[0] and all(one == columns[0] for one in columns)
        if shared or back == [dict(one) for one in columns]:
            return made, ()
    return [{"format": forms[0]} for _ in sets], ("the columns of its data sets are not all told",)


def _layout(form: str, renames: Mapping[str, Any], task: str) -> dict[str, Any]:
    """A format, with the columns that it calls otherwise."""
    ours = {theirs: name for name, theirs in data.names(form).items() if name in rows.may_have(form, task)}
    usual = rows.usual(form, task)
    named = {ours[theirs]: column for column, theirs in renames.items() if theirs in ours and isinstance(column, str)}
    said = {name: column for name, column in named.items() if usual.get(name) != column}
    return {"format": form, **({"columns": said} if said else {})}


def _roles(entry: Mapping[str, Any], layout: Mapping[str, Any]) -> dict[str, Any]:
    """The words of turns that differ from those of the format."""
    words = entry.get("messages")
    if not isinstance(words, Mapping) or layout.get("format") not in rows.CHATS:
        return {}
    usual = rows.roles(DatasetSpec(path="x"), layout["format"])
    said = {name: words[theirs] for name, theirs in data.ROLES.items() if isinstance(words.get(theirs), str)}
    differing = {name: word for name, word in said.items() if usual.get(name) != word}
    return {"roles": differing} if differing else {}


IMPORTS = Imports(starts, _MARKS, settings, refuses)
