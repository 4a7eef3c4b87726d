"""The commands of MGM's trainers read back: DeepSpeed's launcher, `mgm/train/train_mem.py` or `train.py`, and flags.

Source: mgm/train/train.py and scripts/ at the commit of `facts.py`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mfc.target import trainer
from mfc.target.importing import Imports, Part, Place, Run, Settings, flags

from ..deepspeed.imports import json_of
from . import facts
from .keys import KEYS

_MARKS = frozenset({"vision_tower_aux", "tune_mm_mlp_adapter", "image_size_aux"})
_SCRIPTS = (
    "mgm/train/train_mem.py",
    "mgm/train/train.py",
    "minigemini/train/train_mem.py",
    "minigemini/train/train.py",
)
_TAKEN = {"image_folder": "data.train", "deepspeed": "strategy.sharding"}
_IDLE = {
    "lazy_preprocess": "rows are tokenized as they are loaded, whatever it says",
    "tf32": "of what is computed in fp32: nothing, as all is cast to 16 bits",
    **dict.fromkeys(("evaluation_strategy", "eval_strategy", "per_device_eval_batch_size"), "nothing is evaluated"),
}


def starts(program: str, _: Sequence[str]) -> bool:
    """One of the two scripts of a checkout."""
    return any(program == name or program.endswith(f"/{name}") for name in _SCRIPTS)


def settings(run: Run, place: Place) -> Settings:
    """One run, with DeepSpeed's JSON."""
    given = dict(run.config) if run.config is not None else flags(run.arguments)
    said, idle = trainer.read(given)
    version = facts.VERSIONS[0]
    told: dict[str, tuple[Any, ...]] = {
        "task": ("sft",),
        "existing": ("fail",) if run.stops_at_checkpoints else ("resume",),
    }
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    if said.get("save_total_limit") is None:
        told["keep"] = ("all",)
    if said.get("deepspeed"):
        found = json_of(said["deepspeed"], run.beside, facts.PACKAGES["deepspeed"])
        parts, notes = ((found.part,) if found.part else ()), found.notes
        told |= found.told
    told["attention"] = ("flash",) if run.program.endswith("train_mem.py") else ("eager",)
    told["freeze_parts"] = (("vision", "language") if _on(said, "tune_mm_mlp_adapter") else ("vision",),)
    if like := _like(said):
        told["model.like"] = (like,)
        notes += (f"the language model of {like} is what its path names: model.like",)
    if said.get("pretrain_mm_mlp_adapter"):
        told["model.adapter_mode"] = ("merge",)
    if not _on(said, "lora_enable"):
        told["method"] = ("full",)
        told["whole_parts"] = ((),)
    else:
        told["method"] = ("lora",) if str(said.get("bits", 16)) == "16" else ("qlora",)
        told["whole_parts"] = (("projector",),)
    idle |= {name: "it is where the scripts have it" for name, path in facts.TOWERS.items() if said.get(name) == path}
    parts += (Part("the command", KEYS, said, f"mgm-{version}", _DEFAULTS, _TAKEN, {**_IDLE, **idle}, own=True),)
    spec, more = _data(said, place)
    return Settings(version, parts, told, spec, run.machines, (*notes, *more))


_DEFAULTS: Mapping[str, Any] = dict.fromkeys(("max_steps", "save_total_limit", "lr_multi", "pretrain_mm_mlp_adapter"))


def _like(said: Mapping[str, Any]) -> str:
    """The model of MGM's that is made of a language model of this size, with pictures cut as it is said."""
    size = re.search(r"(?<![\d.])(8x7|2|7|8|13|34)b(?![a-z])", str(said.get("model_name_or_path", "")), re.IGNORECASE)
    finer = "-HD" if str(said.get("image_grid", 1)) == "2" else ""
    return f"YanweiLi/MGM-{size[1].lower()}B{finer}" if size else ""


def _on(said: Mapping[str, Any], key: str) -> bool:
    return str(said.get(key, False)).lower() == "true"


def _data(said: Mapping[str, Any], place: Place) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The one file of rows. mfc names pictures from its folder."""
    path = said.get("data_path")
    if not isinstance(path, str):
        return {}, ("it names no data set: add data.train",)
    beside = posixpath.normpath(str(said.get("image_folder") or ".")) == posixpath.normpath(
        posixpath.dirname(path) or "."
    )
    notes = () if beside else ("mfc names pictures from the folder of their rows, and image_folder is another one",)
    return {"data.train": [{"path": place.spec_path(path), "format": "sharegpt"}]}, notes


IMPORTS = Imports(starts, _MARKS, settings)
