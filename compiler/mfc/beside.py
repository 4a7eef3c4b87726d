"""Names that may be those of a hub or of a folder: what exists beside the spec is a path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mfc.spec.load import LoadedSpec
    from mfc.spec.models import Spec


def is_local(model: str) -> bool:
    """Whether a model's name is a path: ./x, ../x, /x, ~/x, a/b/c. Hub ids are names such as org/name."""
    return model.startswith((".", "/", "~")) or model.count("/") > 1


def settled(loaded: LoadedSpec) -> tuple[Spec, tuple[str, ...]]:
    """The spec with ./ before each name that is a folder beside it, and those names."""
    found = tuple(name for name in _names(loaded.spec) if os.path.isdir(_folder(loaded, name)))
    return (_changed(loaded.spec, found), found) if found else (loaded.spec, ())


def probes(loaded: LoadedSpec) -> tuple[Path, ...]:
    """Folders that are not there, and that would change what the spec means if they came."""
    folders = (_folder(loaded, name) for name in _names(loaded.spec))
    return tuple(folder for folder in folders if not os.path.exists(folder))


def _folder(loaded: LoadedSpec, name: str) -> Path:
    return (loaded.path.parent if loaded.path else Path()) / name


def _names(spec: Spec) -> tuple[str, ...]:
    """Every name of a model or an adapter that is no path by its looks."""
    rewards = (name for name in spec.train.rollout.rewards if "/" in name)  # others are functions
    beside = (spec.train.preference.reference, spec.train.distillation.teacher)
    named = (spec.model.id, spec.model.adapter, *beside, *rewards)
    return tuple(dict.fromkeys(name for name in named if name and name != "auto" and not is_local(name)))


def _changed(spec: Spec, folders: tuple[str, ...]) -> Spec:
    def at(name: str | None) -> str | None:
        return f"./{name}" if name in folders else name

    model, train = spec.model, spec.train
    model = model.model_copy(update={"id": at(model.id), "adapter": at(model.adapter)})
    preference = train.preference.model_copy(update={"reference": at(train.preference.reference)})
    rollout = train.rollout.model_copy(update={"rewards": tuple(map(at, train.rollout.rewards))})
    distillation = train.distillation.model_copy(update={"teacher": at(train.distillation.teacher)})
    train = train.model_copy(update={"preference": preference, "rollout": rollout, "distillation": distillation})
    return spec.model_copy(update={"model": model, "train": train})
