"""Unsloth's YAML and the commands of `unsloth train` read back. Source: unsloth_cli/config.py of Unsloth 2026.10.9."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mfc.errors import SpecError
from mfc.spec.marks import printable
from mfc.target import contracts
from mfc.target.importing import Imports, Part, Place, Run, Settings, flags
from mfc.target.outputs import place as put

from . import data
from .keys import ENVIRONMENT, KEYS
from .rules import VERSIONS

_MARKS = frozenset({"training.training_type", "training.max_seq_length", "data.format_type", "lora.lora_r"})
_TAKEN = dict.fromkeys(("data.dataset", "data.local_dataset", "data.format_type"), "data.train")
_FORMATS = {word: (task, form) for task, forms in data.FORMATS.items() for form, word in forms.items()}


def starts(program: str, arguments: Sequence[str]) -> bool:
    """`unsloth train`."""
    return program.rpartition("/")[2] == "unsloth" and tuple(arguments[:1]) == ("train",)


def settings(run: Run, place: Place) -> Settings:
    """One run on one GPU."""
    said, name = _told(run)
    version = VERSIONS[0]
    known = {key.name for key in ENVIRONMENT}
    here = {key: value for key, value in run.environment.items() if key in known}
    spec, task, notes = _data(said, place)
    by_steps = str(_at(said, "max_steps") or 0) not in ("0", "-1")
    idle = {
        "training.num_epochs" if by_steps else "training.max_steps": "max_steps has the last word"
        if by_steps
        else "no number of steps: epochs count"
    }
    stops = any(words[0] == "echo" and "holds a run already" in " ".join(words) for words in run.script)
    told: dict[str, tuple[Any, ...]] = {"existing": ("fail",) if stops else ("overwrite",)}
    told["hub"] = ("modelscope" if here.get("UNSLOTH_USE_MODELSCOPE") == "1" else "huggingface",)
    if task:
        told["task"] = (task,)
    if _at(said, "training_type") == "full":
        told["precision"] = ("pure_bf16",)
    parts = (
        Part(
            name,
            KEYS,
            said,
            f"unsloth-{version}",
            dict.fromkeys(("training.max_steps", "training.output_dir")),
            _TAKEN,
            idle,
            own=True,
        ),
        Part("environment", ENVIRONMENT, here),
    )
    machines = run.machines._replace(processes=1)
    return Settings(version, parts, told, spec, machines, notes)


def _told(run: Run) -> tuple[dict[str, Any], str]:
    """The YAML, and what the command lays over it: its options are the keys without their section."""
    if run.config is not None:
        return dict(run.config), "the config"
    given = flags(run.arguments[1:])
    path = str(given.pop("config", ""))
    found = run.beside.mapping(path) if path else {}
    if found is None:
        raise SpecError(f"{printable(path)}: error: the command reads this file, and it is not there")
    sections = contracts.load(f"unsloth-{VERSIONS[0]}")["properties"]
    for option, value in given.items():
        key = option.replace("-", "_")
        held = next((section for section, inner in sections.items() if key in inner.get("properties", {})), "")
        put(found, f"{held}.{key}" if held else key, value)
    return found, path or "the command"


def _at(said: Mapping[str, Any], key: str) -> Any:
    """What stands under `training`."""
    training = said.get("training")
    return training.get(key) if isinstance(training, Mapping) else None


def _data(said: Mapping[str, Any], place: Place) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """The data sets, the task that their layout tells, and what it does not tell."""
    held = said.get("data")
    section: Mapping[str, Any] = held if isinstance(held, Mapping) else {}
    word = str(section.get("format_type", "auto"))
    task, form = _FORMATS.get(word, ("", ""))
    files = section.get("local_dataset") or []
    sets: list[dict[str, Any]] = [
        {"path": place.spec_path(str(one))} for one in (files if isinstance(files, list) else [files])
    ]
    if hub := section.get("dataset"):
        sets.insert(0, {"hub": str(hub)})
    if not sets:
        return {}, task, ("it names no data set: add data.train",)
    if not form:
        return (
            {"data.train": sets},
            "",
            (f"format_type {word} does not tell the layout of the rows: say data.train.format",),
        )
    return {"data.train": [{**one, "format": form} for one in sets]}, task, ()


IMPORTS = Imports(starts, _MARKS, settings)
