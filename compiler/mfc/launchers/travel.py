"""Which files a run needs, where an engine takes the folder of the spec to other machines."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mfc.beside import is_local
from mfc.launchers.job import refused

if TYPE_CHECKING:
    from mfc.launchers.job import Job
    from mfc.spec.models import Spec


def need_inside(job: Job, mounted: Sequence[str]) -> None:
    """Refuse files that stay behind: outside of the spec's folder, and of the folders that are mounted on the nodes.

    Raises Refused.
    """
    if outside(job.out):
        raise refused(
            "run.launcher",
            f"the folder of the spec goes to the nodes, and the output folder ({job.out}) is not in it",
            "compile into it: leave -o out",
        )
    for field, path in paths(job.spec):
        if outside(path) and not any(path == one or path.startswith(f"{one.rstrip('/')}/") for one in mounted):
            raise refused(
                field,
                f"the folder of the spec goes to the nodes, and {path} is not in it",
                "move it there, or mount it on the nodes: run.launcher.extra",
            )


def outside(path: str) -> bool:
    """Whether a path as the spec has it leaves the folder of the spec."""
    return path.startswith(("/", "~")) or posixpath.normpath(path).startswith("..")


def paths(spec: Spec) -> Iterator[tuple[str, str]]:
    """Every file and folder that a run reads or writes, with its field."""
    for number, one in enumerate(spec.data.train):
        if one.path:
            yield f"data.train.{number}.path", one.path
    if isinstance(spec.data.eval, str):
        yield "data.eval", spec.data.eval
    train = spec.train
    models = {"model.id": spec.model.id, "model.adapter": spec.model.adapter}
    models["train.preference.reference"] = train.preference.reference
    models["train.distillation.teacher"] = train.distillation.teacher
    yield from ((field, name) for field, name in models.items() if name and is_local(name))
    yield from (("train.rollout.rewards", name) for name in train.rollout.rewards if is_local(name))
    yield from (("train.rollout.plugins", name) for name in train.rollout.plugins)
