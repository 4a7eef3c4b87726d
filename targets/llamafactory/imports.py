"""LLaMA-Factory's YAML, JSON and command lines read back, with what lies beside them.

Source: launcher.py, hparams/parser.py and data/parser.py of 0.9.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from mfc import rows
from mfc.errors import SpecError
from mfc.spec.inputs import DatasetSpec
from mfc.spec.marks import printable
from mfc.target import contracts, trainer
from mfc.target.importing import Beside, Imports, Machines, Part, Place, Run, Settings, flags, pairs

from .. import accelerate_imports
from ..deepspeed.imports import json_of
from . import data
from .keys import ENVIRONMENT, KEYS
from .rules import RELEASED_WITH, VERSIONS

_CLI = ("llamafactory-cli", "lmf")
_MODULES = ("llamafactory.launcher", "llamafactory.train.tuner")
_SCRIPTS = ("src/train.py", "src/train_bash.py", "train_bash.py")
_MARKS = frozenset({"stage", "finetuning_type", "cutoff_len", "dataset_dir", "lora_target", "val_size", "do_train"})
_TAKEN = {
    **dict.fromkeys(("dataset", "dataset_dir", "media_dir", "mix_strategy", "interleave_probs"), "data.train"),
    "max_samples": "data.train",
    "eval_dataset": "data.eval",
    "deepspeed": "strategy.sharding",
}
_FSDP = ("fsdp", "fsdp_config", "fsdp_transformer_layer_cls_to_wrap")
_IDLE = {
    "gradient_checkpointing": "LLaMA-Factory checkpoints unless disable_gradient_checkpointing says not",
    "overwrite_cache": "whether prepared rows are made anew",
    "tokenized_path": "where prepared rows are kept: mfc's data sets are the raw ones",
}


def starts(program: str, arguments: Sequence[str]) -> bool:
    """`llamafactory-cli train`, its launcher's module, or the script of a clone."""
    if program.rpartition("/")[2] in _CLI:
        return arguments[:1] == ["train"] or tuple(arguments[:1]) == ("train",)
    return program in _MODULES or any(program == name or program.endswith(f"/{name}") for name in _SCRIPTS)


def settings(run: Run, place: Place) -> Settings:
    """One run, its DeepSpeed JSON, accelerate's file and dataset_info.json read beside it."""
    said, name = _config(run)
    _need_a_run(said, run, name)
    said, idle = trainer.read(said)
    if not (evaluates := _evaluates(said)):
        idle |= dict.fromkeys(_EVALUATION & said.keys(), "nothing is evaluated: eval_strategy is no")
    if "video_maxlen" not in said:
        idle["video_max_pixels"] = "of videos, whose frames nothing tells (video_maxlen)"
    if isinstance(said.get("lora_target"), list):
        said["lora_target"] = ",".join(map(str, said["lora_target"]))
    if said.get("neat_packing") in (True, "true", "True"):
        said["packing"] = True  # hparams/data_args.py
    version = _version(said)
    engine = _engine(said, run, version)
    told, notes = dict(engine.told), engine.notes
    if said.get("save_total_limit") is None:
        told["keep"] = ("all",)
    if evaluates and not said.get("eval_dataset") and said.get("val_size") in (None, 0, "0", "0.0"):
        notes += ("an evaluation is asked for, and nothing to evaluate on: LLaMA-Factory stops at once; give val_size",)
    rank = str(said.get("lora_rank", 8))
    defaults = {
        "lora_alpha": 2 * int(rank) if rank.isdigit() else None,  # hparams/finetuning_args.py
        "packing": said.get("stage") == "pt",
        **dict.fromkeys(("max_steps", "model_revision", "video_maxlen")),  # their defaults are how nothing is said
    }
    taken = {**_TAKEN, **(dict.fromkeys(_FSDP, "strategy.sharding") if trainer.sharded(said) else {})}
    train = Part(name, KEYS, said, f"llamafactory-{version}", defaults, taken, {**_IDLE, **idle}, own=True)
    known = {key.name for key in ENVIRONMENT}
    here = {key: value for key, value in run.environment.items() if key in known}
    parts = (*engine.parts, train, Part("environment", ENVIRONMENT, here))
    told["existing"] = ("fail", "overwrite") if run.stops_at_checkpoints else ("resume", "overwrite")
    spec, more = _data(said, run.beside, place)
    if not evaluates:
        spec.pop("data.eval", None)
    machines = Machines(
        run.machines.processes or engine.machines.processes,
        run.machines.nodes or engine.machines.nodes,
        run.machines.devices,
    )
    return Settings(version, parts, told, spec, machines, (*notes, *more))


def _config(run: Run) -> tuple[dict[str, Any], str]:
    """What the run is told, and the name of the file that tells it."""
    if run.config is not None:
        return dict(run.config), "the config"
    arguments = list(run.arguments)
    if run.program.rpartition("/")[2] in _CLI:
        arguments = arguments[1:]
    if arguments and arguments[0].endswith((".yaml", ".yml", ".json")):
        found = run.beside.mapping(arguments[0])
        if found is None:
            raise SpecError(f"{printable(arguments[0])}: error: the command reads this file, and it is not there")
        return {**found, **pairs(arguments[1:])}, arguments[0]
    return flags(arguments, contracts.load(f"llamafactory-{VERSIONS[0]}")["properties"]), "the command"


def _need_a_run(said: Mapping[str, Any], run: Run, name: str) -> None:
    """Refuse by name what is no training run of the engine that mfc writes for."""
    why = ""
    if _V1 & said.keys() or "USE_V1" in run.environment:
        why = "it is of LLaMA-Factory's v1 engine (USE_V1=1), which mfc does not write for"
    elif _MEGATRON & said.keys() or "USE_MCA" in run.environment:
        why = "it trains with Megatron (USE_MCA=1), an engine that mfc has no model of"
    elif _true(said.get("do_predict")) and not _true(said.get("do_train")):
        why = "it only predicts (do_predict without do_train), and trains nothing"
    if why:
        raise SpecError(f"{printable(name)}: error: {why}")


_V1 = {"dist_config", "model_class", "kernel_config", "quant_config", "train_dataset", "batching_strategy"}
_MEGATRON = {"tensor_model_parallel_size", "pipeline_model_parallel_size", "expert_model_parallel_size"}


def _true(value: Any) -> bool:
    return str(value).lower() in ("true", "1", "yes")


_EVALUATION = {"val_size", "eval_dataset", "per_device_eval_batch_size", "eval_strategy", "eval_steps"}


def _evaluates(said: Mapping[str, Any]) -> bool:
    return _true(said.get("do_eval")) or str(said.get("eval_strategy") or "no").lower() != "no"


def _version(said: Mapping[str, Any]) -> str:
    """The newest version that knows every key, else the newest."""

    def unknown(version: str) -> int:
        return len(said.keys() - contracts.load(f"llamafactory-{version}")["properties"].keys())

    return min(VERSIONS, key=unknown)


def _engine(said: Mapping[str, Any], run: Run, version: str) -> accelerate_imports.Launched:
    """What shards: DeepSpeed, FSDP by accelerate's file, or nothing; and the processes that such a file counts."""
    released = RELEASED_WITH[version]["deepspeed"]
    own = trainer.sharded(said) if said.get("fsdp") else {"sharding": ("ddp",)}
    launched = accelerate_imports.Launched((), own, Machines())
    if run.launcher_config and (config := run.beside.mapping(run.launcher_config)):
        launched = accelerate_imports.read(run.launcher_config, config, run.beside, released)
    if not said.get("deepspeed"):
        return launched
    found = json_of(said["deepspeed"], run.beside, released)
    parts = (found.part,) if found.part else ()
    return accelerate_imports.Launched(parts, found.told, launched.machines, found.notes)


def _data(said: Mapping[str, Any], beside: Beside, place: Place) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The data sets, as dataset_info.json has them."""
    names = _names(said.get("dataset"))
    if not names:
        return {}, ("it names no data set: add data.train",)
    folder = str(said.get("dataset_dir", "data"))
    info = beside.mapping(str(PurePosixPath(folder, "dataset_info.json")))
    task = _task(said)
    sets, notes = [], []
    for name in names:
        entry = (info or {}).get(name)
        if not isinstance(entry, Mapping):
            entry = {"file_name": f"{name}.json"}
            notes.append(f"dataset_info.json does not tell of {name}: taken for {folder}/{name}.json of alpaca rows")
        made, lost = _set(entry, folder, task, place)
        if isinstance(said.get("max_samples"), int | str) and str(said["max_samples"]).isdigit():
            made.setdefault("samples", int(said["max_samples"]))
        sets.append(made)
        notes += [f"data set {name}: {each}" for each in lost]
    for one, weight in zip(sets, _weights(said, len(sets)), strict=False):
        one["weight"] = weight
    spec: dict[str, Any] = {"data.train": sets}
    held = (info or {}).get(next(iter(_names(said.get("eval_dataset"))), ""))
    if isinstance(held, Mapping) and isinstance(file := held.get("file_name"), str):
        spec["data.eval"] = place.spec_path(str(PurePosixPath(folder, file)))
    return spec, tuple(notes)


def _set(entry: Mapping[str, Any], folder: str, task: str, place: Place) -> tuple[dict[str, Any], list[str]]:
    """One data set of the spec, from its entry in dataset_info.json, and what of the entry is lost."""
    made: dict[str, Any] = {}
    if hub := next((entry[url] for url in ("hf_hub_url", "ms_hub_url") if isinstance(entry.get(url), str)), ""):
        made["hub"] = hub
    else:
        file = str(PurePosixPath(folder, str(entry.get("file_name") or entry.get("script_url") or "train.json")))
        made["path"] = place.spec_path(file)
    for part, key in (("subset", "subset"), ("split", "split"), ("samples", "num_samples")):
        if entry.get(key) is not None and (hub or part == "samples"):
            made[part] = entry[key]
    for layout in _layouts(entry, task):
        one = {**made, **layout}
        if _writes(one, entry, task):
            return one, []
    return {**made, **next(_layouts(entry, task))}, ["its columns are not all told"]


def _writes(one: Mapping[str, Any], entry: Mapping[str, Any], task: str) -> bool:
    """Whether mfc would write the rows of an entry for a data set so described; columns of pictures aside."""
    try:
        made = data.rows_of(DatasetSpec.model_validate(one), task, "")
    except ValueError:
        return False
    return _attributes(made) == _attributes(entry)


def _attributes(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """What LLaMA-Factory makes of the rows of an entry (data/parser.py, DatasetAttr)."""
    form = entry.get("formatting", "alpaca")
    columns, tags = entry.get("columns", _USUAL_COLUMNS), entry.get("tags", _USUAL_TAGS)
    chats = form != "alpaca"
    read = {
        key: value
        for key, value in _texts(columns).items()
        if key not in ("images", "videos") and not (key in _USUAL_COLUMNS and chats == (key != "messages"))
    }
    return form, bool(entry.get("ranking")), read, _texts(tags) if chats else {}


_USUAL_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}
_USUAL_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


def _layouts(entry: Mapping[str, Any], task: str) -> Iterator[dict[str, Any]]:
    """The ways in which a spec may say the rows of an entry, the plainest first."""
    forms = {"openai": ("messages",), "sharegpt": ("sharegpt",)}.get(str(entry.get("formatting")), ())
    columns = {_SPEC.get(key, key): value for key, value in _texts(entry.get("columns", _USUAL_COLUMNS)).items()}
    tags = _texts(entry.get("tags", _USUAL_TAGS))
    roles = {data.SPEC_ROLES[tag]: word for tag, word in tags.items() if tag in data.SPEC_ROLES}
    for form in forms or [one for one in data.FORMATS.get(task, ("alpaca",)) if one not in rows.CHATS]:
        usual = rows.usual(form, task)
        said = {("text" if form == "text" and key == "prompt" else key): value for key, value in columns.items()}
        said = {key: value for key, value in said.items() if key in rows.may_have(form, task)}
        own = rows.roles(DatasetSpec(path="x"), form)
        made: dict[str, Any] = {"format": form}
        if renamed := {key: value for key, value in said.items() if usual.get(key) != value}:
            made["columns"] = renamed
        differing = {key: word for key, word in roles.items() if own.get(key) != word}
        if differing and form in rows.CHATS:
            made["roles"] = differing
        yield made


_SPEC = {"kto_tag": "label"}


def _texts(found: Any) -> dict[str, str]:
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, Mapping) else {}


def _task(said: Mapping[str, Any]) -> str:
    stage, loss = said.get("stage", "sft"), said.get("pref_loss", "sigmoid")
    named = {"pt": "pretrain", "rm": "reward"}.get(str(stage), str(stage))
    return str(loss) if named == "dpo" and loss in ("orpo", "simpo") else named


def _names(found: Any) -> list[str]:
    if isinstance(found, str):
        return [name.strip() for name in found.split(",") if name.strip()]
    return [str(name) for name in found] if isinstance(found, list) else []


def _weights(said: Mapping[str, Any], number: int) -> list[float]:
    """How much of each set the mix holds; nothing where they lie one behind the other."""
    try:
        shares = [float(each) for each in _names(said.get("interleave_probs"))]
    except ValueError:
        return []
    mixed = str(said.get("mix_strategy", "concat")).startswith("interleave")
    return shares if mixed and len(shares) == number and all(each > 0 for each in shares) else []


IMPORTS = Imports(starts, _MARKS, settings)
