"""The demo's commands and YAML read back: `finetune.py DATA_DIR MODEL_DIR CONFIG [yes]`.

Source: finetune.py at the commits of `forms.py`. The YAML alone names neither the model nor the folder of the data.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from mfc.errors import SpecError
from mfc.spec.marks import printable
from mfc.target import contracts, trainer
from mfc.target.importing import Imports, Part, Place, Run, Settings

from ..deepspeed.imports import json_of
from .forms import FORMS, VERSIONS
from .keys import ARGUMENTS, ENVIRONMENT, KEYS

_MARKS = frozenset({"data_config", "max_input_length", "max_output_length", "freezeV"})
_TAKEN = {
    **dict.fromkeys(("data_config.train_file", "data_config.val_file"), "data.train"),
    "training_args.deepspeed": "strategy.sharding",
}
_NAMES = ("data_dir", "model_dir", "config_file", "auto_resume_from_checkpoint")


def starts(program: str, arguments: Sequence[str]) -> bool:
    """The demo's script with a folder, a model and a YAML."""
    return (
        program.rpartition("/")[2] == "finetune.py" and len(arguments) > 2 and arguments[2].endswith((".yaml", ".yml"))
    )


def settings(run: Run, place: Place) -> Settings:
    """One run, with DeepSpeed's JSON."""
    said, name, arguments = _told(run)
    version = _version(said, run.program)
    inner = said.get("training_args")
    training, idle = trainer.read(inner if isinstance(inner, Mapping) else {})
    said["training_args"] = training
    told: dict[str, tuple[Any, ...]] = {"task": ("sft",), "precision": ("bf16",)}
    if not isinstance(said.get("peft_config"), Mapping):
        told["method"] = ("full",)
    if training.get("save_total_limit") is None:
        told["keep"] = ("all",)
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    if training.get("deepspeed"):
        found = json_of(training["deepspeed"], run.beside, FORMS[version].deepspeed)
        parts, notes = ((found.part,) if found.part else ()), found.notes
        told |= found.told
    else:
        told["sharding"] = ("ddp",)
    known = {key.name for key in ENVIRONMENT}
    here = {key: value for key, value in run.environment.items() if key in known}
    aside = {f"training_args.{key}": why for key, why in idle.items()}
    parts += (
        Part(name, KEYS, said, f"glm4-{version}", _DEFAULTS, _TAKEN, aside, own=True),
        Part("environment", ENVIRONMENT, here),
    )
    if arguments:
        resumes = arguments.get("auto_resume_from_checkpoint") == "yes"
        stops = "fail" if run.stops_at_checkpoints else "overwrite"
        told["existing"] = ("resume" if resumes else stops,)
        parts += (
            Part("the command", ARGUMENTS, arguments, taken={"data_dir": "data.train", "config_file": "data.train"}),
        )
    spec, more = _data(said, arguments.get("data_dir"), place)
    if "data.eval" in spec:
        told["data.eval"] = (spec["data.eval"],)
    return Settings(version, parts, told, spec, run.machines, (*notes, *more))


_DEFAULTS: Mapping[str, Any] = dict.fromkeys(("training_args.max_steps", "training_args.save_total_limit"))


def _told(run: Run) -> tuple[dict[str, Any], str, dict[str, str]]:
    """The YAML, its name, and the arguments of the script."""
    if run.config is not None:
        return dict(run.config), "the config", {}
    arguments = dict(zip(_NAMES, run.arguments, strict=False))
    found = run.beside.mapping(arguments["config_file"])
    if found is None:
        raise SpecError(
            f"{printable(arguments['config_file'])}: error: the command reads this file, and it is not there"
        )
    return found, arguments["config_file"], arguments


def _version(said: Mapping[str, Any], program: str) -> str:
    """The newest form that lies in the folder and knows the keys of the YAML."""
    able = [one for one in VERSIONS if f"/{FORMS[one].folder}/" in f"/{program}"] or list(VERSIONS)

    def misses(version: str) -> int:
        known = contracts.load(f"glm4-{version}")["properties"].keys()
        return len(said.keys() - known) + (FORMS[version].combines and "combine" not in said)

    return min(able, key=misses)


def _data(said: Mapping[str, Any], folder: str | None, place: Place) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The files, which are names inside the folder that the script is given."""
    inner = said.get("data_config")
    held: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {}
    if folder is None or not isinstance(held.get("train_file"), str):
        return {}, ("the YAML does not tell the folder of its data: add data.train",)
    spec: dict[str, Any] = {
        "data.train": [{"path": place.spec_path(posixpath.join(folder, held["train_file"])), "format": "messages"}]
    }
    if isinstance(evaluated := held.get("val_file"), str):
        spec["data.eval"] = place.spec_path(posixpath.join(folder, evaluated))
    return spec, ()


IMPORTS = Imports(starts, _MARKS, settings)
