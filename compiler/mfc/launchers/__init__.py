"""Who starts a run on its nodes: engines that exist already, each told by a file of its own in the output folder.

A target writes a start script, and says in `Lowered.start` which; on each node it is `bash SCRIPT`, with NODE_RANK and
MASTER_ADDR where nodes are several. An engine is a module here that satisfies `Engine`: it asks for the nodes and what
a plan needs of them, and starts that script on each. So no target knows of engines, and no engine of targets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from mfc.launchers.job import job_of, refused

if TYPE_CHECKING:
    from mfc.launchers.job import Job
    from mfc.planner.plan import Plan
    from mfc.target.outputs import File, Start

# The names that the spec has for them, which are those of the modules here.
ENGINES = ("torchrun", "slurm", "skypilot", "kubeflow", "ray")


class Launched(NamedTuple):
    """What an engine adds to a target's files, and the command that a person types in the output folder."""

    files: tuple[File, ...]
    command: str


class Engine(Protocol):
    """What a module of this package holds."""

    NAME: str
    TITLE: str  # its own spelling
    USES: frozenset[str]  # settings of run.launcher that it has a use for

    def launch(self, job: Job) -> Launched:
        """The engine's file for a job. Raises Refused for what it cannot say, or what its own keys get wrong."""


def engine(name: str) -> Engine:
    """The engine of a name in the spec."""
    return cast(Engine, import_module(f"mfc.launchers.{name}"))


def launch(plan: Plan, start: Start, name: str, out: str, back: str) -> Launched:
    """What starts a plan's run: the file of the engine that the spec names, and the command.

    `name` is what to call the job, `out` the output folder as seen from the spec's and `back` the other way, with
    forward slashes. Raises Refused.
    """
    settings = plan.problem.spec.run.launcher
    chosen = engine(settings.engine)
    for setting in sorted(settings.model_fields_set - {"engine"} - chosen.USES):
        able = [one for one in ENGINES if setting in engine(one).USES]
        raise refused(f"run.launcher.{setting}", f"{chosen.TITLE} has no use for it", f"leave it out; {_and(able)} can")
    return chosen.launch(job_of(plan, start, name, out, back))


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
