"""The commands of minimind's trainers read back: `train_full_sft.py` and its like, with their flags.

Source: trainer/train_*.py at the commits of `facts.py`. The flags of size tell which model is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from mfc.catalog import models
from mfc.errors import SpecError
from mfc.target import contracts
from mfc.target.importing import Imports, Part, Place, Run, Settings, flags

from . import facts
from .keys import KEYS

_TASKS = {name: task for task, name in facts.SCRIPTS.items()} | {"train_lora": "sft"}
_OWN = (
    "--hidden_size",
    "--num_hidden_layers",
    "--use_moe",
    "--max_seq_len",
    "--from_weight",
    "--accumulation_steps",
    "--student_hidden_size",
)
_SIZES = ("hidden_size", "num_hidden_layers", "use_moe")
_STUDENT = ("student_hidden_size", "student_num_layers", "student_use_moe")
_TEACHER = ("teacher_hidden_size", "teacher_num_layers", "teacher_use_moe")
_PUBLISHED = tuple(
    f"jingyaogong/{name}" for name in ("minimind-3", "minimind-3-moe", "MiniMind2", "MiniMind2-MoE", "MiniMind2-Small")
)
_MARKS = frozenset({"from_weight", "save_weight", "use_moe"})
_TAKEN = {
    "data_path": "data.train",
    **dict.fromkeys((*_SIZES, *_STUDENT), "model.id"),
    **dict.fromkeys(_TEACHER, "train.distillation.teacher"),
    **dict.fromkeys(("from_weight", "from_student_weight", "from_teacher_weight", "save_weight"), "train.task"),
}
# Trainers that no spec can say, and why.
_UNSAID = {
    "train_agent": "its turns and tools, and answers that are held to the rows' gt, are nothing that a spec can say",
    "train_distill_reason": "it counts the tags of reasoning ten times, which no spec can say",
}
_IDLE = {
    **dict.fromkeys(("wandb_project", "ddp", "local_rank", "device"), "it changes nothing of what is trained"),
    "use_compile": "whether torch.compile runs, which mfc does not count",
}


def starts(program: str, arguments: Sequence[str]) -> bool:
    """A trainer by its name, in a folder `trainer` or with a flag that others do not have."""
    folder, _, name = program.rpartition("/")
    ours = folder.rpartition("/")[2] == "trainer" or any(word.partition("=")[0] in _OWN for word in arguments)
    known = (*_TASKS, *_UNSAID)
    return name.removesuffix(".py") in known and name.endswith(".py") and ours


def settings(run: Run, place: Place) -> Settings:
    """One run."""
    script = run.program.rpartition("/")[2].removesuffix(".py")
    if script in _UNSAID:
        raise SpecError(f"{script}.py: error: {_UNSAID[script]}")
    said = flags(run.arguments) if run.config is None else dict(run.config)
    if script not in _TASKS:
        script = "train_full_sft"
    version = min(facts.VERSIONS, key=lambda one: _unknown(said, script, one))
    contract = f"minimind-{script}-{version}"
    told: dict[str, tuple[Any, ...]] = {
        "task": (_TASKS[script],),
        "method": ("lora" if script == "train_lora" else "full",),
        "existing": (_existing(said, run),),
    }
    given = {**_sizes(contract), **said}
    taught = script == "train_distillation"
    model, notes = _model(given, version, _STUDENT if taught else _SIZES)
    if model:
        told["model.id"] = (model,)
    if taught:
        teacher, more = _model(given, version, _TEACHER)
        told |= {"teacher": (teacher,)} if teacher else {}
        notes += more
    spec: dict[str, Any] = {}
    if isinstance(path := said.get("data_path"), str):
        spec["data.train"] = [{"path": place.spec_path(path)}]
    else:
        notes += ("it names no data set: add data.train",)
    keys = KEYS if model else tuple(key for key in KEYS if "model.id" not in key.fields)
    part = Part("the command", keys, said, contract, {}, _TAKEN, _IDLE, own=True)
    return Settings(version, (part,), told, spec, run.machines, notes)


def _unknown(said: Mapping[str, Any], script: str, version: str) -> float:
    """How many flags a generation does not have; all where it has no such trainer."""
    if version == facts.OLD and script in facts.NEW_ALONE:
        return inf
    return len(said.keys() - contracts.load(f"minimind-{script}-{version}")["properties"].keys())


def _sizes(contract: str) -> dict[str, Any]:
    known = contracts.load(contract)["properties"]
    return {name: known.get(name, {}).get("default") for name in (*_SIZES, *_STUDENT, *_TEACHER)}


def _model(said: Mapping[str, Any], version: str, names: tuple[str, str, str]) -> tuple[str, tuple[str, ...]]:
    """The published model that the flags of size make, which are called so."""
    hidden, layers, experts = (str(said.get(name)) for name in names)
    if not hidden.isdigit() or not layers.isdigit():
        return "", ()
    moe = experts not in ("0", "False", "None")
    for name in _PUBLISHED:
        found = models.find(name).architecture
        if facts.says(version, found) and (found.hidden, found.layers, found.moe) == (int(hidden), int(layers), moe):
            return name, ()
    return "", (f"no published model has {layers} layers of {hidden}: add model, with its config",)


def _existing(said: Mapping[str, Any], run: Run) -> str:
    if str(said.get("from_resume", 0)) == "1":
        return "resume"
    stops = any(words[0] == "echo" and "holds the weights of another run" in " ".join(words) for words in run.script)
    return "fail" if stops else "overwrite"


IMPORTS = Imports(starts, _MARKS, settings)
