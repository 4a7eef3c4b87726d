"""XTuner V1's Python configs read back, alone or behind `-m xtuner.v1.train.cli.sft --config`. They are never run.

Source: xtuner/v1/train/cli/sft.py and xtuner/v1/config of v1.0.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mfc.errors import SpecError
from mfc.spec.marks import printable
from mfc.target.importing import Imports, Part, Place, Run, Settings, flags

from .keys import ENVIRONMENT, KEYS
from .rules import FORMATS

_MARKS = frozenset({"trainer.model_cfg", "trainer.dataloader_cfg", "trainer.fsdp_cfg", "trainer.optim_cfg"})
_VERSION = "1.0.1"
_MODULE = "xtuner.v1.train.cli.sft"
_SETS = "dataloader_cfg", "dataset_config_list"
_DEFAULTS: Mapping[str, Any] = {
    **dict.fromkeys(("trainer.total_step", "trainer.load_from", "trainer.tokenizer_path")),
    **dict.fromkeys(("trainer.checkpoint_interval", "trainer.checkpoint_maxkeep"), -1),
}


def starts(program: str, _: Sequence[str]) -> bool:
    """The module, or its file in a checkout."""
    return program == _MODULE or program.endswith("xtuner/v1/train/cli/sft.py")


def settings(run: Run, place: Place) -> Settings:
    """One run: the trainer that the config makes."""
    config, name = _told(run)
    trainer = config.get("trainer")
    if not isinstance(trainer, Mapping):
        raise SpecError(
            f"{printable(name)}: error: it makes no trainer = TrainerConfig(…), so it is no run of XTuner V1's"
        )
    known = {key.name for key in ENVIRONMENT}
    here = {key: value for key, value in run.environment.items() if key in known}
    stops = any(words[0] == "echo" and "holds another run already" in " ".join(words) for words in run.script)
    told: dict[str, tuple[Any, ...]] = {
        "method": ("full",),
        "precision": ("bf16",),
        "sharding": ("fsdp2",),
        "existing": ("fail",) if stops else ("overwrite", "resume"),
    }
    idle = {"trainer.total_epoch": "total_step has the last word"} if trainer.get("total_step") else {}
    parts = (
        Part(name, KEYS, {"trainer": trainer}, f"xtuner-v1-{_VERSION}", _DEFAULTS, idle=idle, own=True),
        Part("environment", ENVIRONMENT, here),
    )
    spec, notes = _data(trainer, place)
    if trainer.get(_SETS[0], {}).get("pack_level", "soft") != "none":
        spec["train.batch_unit"] = "row"
    return Settings(_VERSION, parts, told, spec, run.machines, notes)


def _told(run: Run) -> tuple[Mapping[str, Any], str]:
    if run.config is not None:
        return run.config, "the config"
    path = str(flags(run.arguments).get("config", ""))
    found = run.beside.mapping(path) if path else None
    if found is None:
        raise SpecError(f"{printable(path or 'the command')}: error: the command reads a config, and it is not there")
    return found, path


def _data(trainer: Mapping[str, Any], place: Place) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The data sets, and the layout that their function reads."""
    sets = []
    for one in trainer.get(_SETS[0], {}).get(_SETS[1]) or ():
        held, reader = one.get("dataset", {}), str(one.get("tokenize_fn", {}).get("type", ""))
        task = "pretrain" if "Pretrain" in reader else "sft"
        sets.append({"path": place.spec_path(str(held.get("anno_path", ""))), "format": FORMATS[task]})
    return ({"data.train": sets}, ()) if sets else ({}, ("it names no data set: add data.train",))


IMPORTS = Imports(starts, _MARKS, settings)
