"""What a run asks of its machines, in the terms that all engines share, and what each node does."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mfc.emit import quote
from mfc.errors import Refused
from mfc.problem import SYSTEM
from mfc.target.outputs import Start

if TYPE_CHECKING:
    from mfc.catalog.gpu import Gpu
    from mfc.planner.plan import Plan
    from mfc.spec.models import LauncherSpec, Spec

GIB = 1 << 30
# Of /dev/shm for each GPU, for NCCL and the batches of data loaders. An assumption: NVIDIA's notes on its PyTorch image
# ask for 1 GiB a container at least.
SHARED_MEMORY = 2 * GIB

_SEVERAL = ("NODE_RANK", "MASTER_ADDR")  # what only several nodes have to be told


class Job(NamedTuple):
    """A run as engines see it. Sizes are bytes of one node, counts too where the name does not say otherwise."""

    name: str  # small letters, digits and dashes: a label of DNS, which all engines take
    nodes: int
    gpus: int
    gpu: Gpu
    cpus: int
    memory: int  # of the host
    start: Start
    settings: LauncherSpec
    resumes: bool  # a run that starts again goes on where it was
    out: str  # the output folder as seen from the spec's
    back: str  # the spec's folder as seen from the output folder
    spec: Spec

    @property
    def shared_memory(self) -> int:
        """What /dev/shm should hold."""
        return self.gpus * SHARED_MEMORY


def job_of(plan: Plan, start: Start, name: str, out: str, back: str) -> Job:
    """The job of a plan.

    Raises Refused when a rollout server has nodes of its own, for no engine here starts two programs side by side, and
    when the spec chooses among the GPUs of a node, which an engine does.
    """
    split, machines = plan.problem.split, plan.problem.spec.hardware
    by_hand = plan.problem.spec.run.launcher.engine == "torchrun"
    if machines.devices and not by_hand:
        raise refused("hardware.devices", "a job is given GPUs and does not choose them", "say hardware.count alone")
    if plan.problem.hardware.gpu.vendor == "huawei" and not by_hand:
        raise refused("run.launcher", "mfc knows no engine's name for Ascend NPUs", "start by hand: torchrun")
    if split and start.server and not split.devices and not by_hand:
        raise refused(
            "run.launcher",
            f"one program runs on every node, and here {start.server} is to run on {split.nodes} and {start.script} on "
            "the others",
            "set train.rollout.mode to colocate, or start both by hand: run.launcher: torchrun",
        )
    return Job(
        name=label(name),
        nodes=plan.problem.hardware.nodes,
        gpus=machines.count,
        gpu=plan.problem.hardware.gpu,
        cpus=_cpus(plan),
        memory=_memory(plan),
        start=start,
        settings=plan.problem.spec.run.launcher,
        resumes=plan.values["existing"] == "resume",
        out=out,
        back=back,
        spec=plan.problem.spec,
    )


def refused(path: str, text: str, hint: str = "") -> Refused:
    """An error at a field of the spec, which its text names."""
    return Refused(path, f"{path}: {text}", hint)


def label(name: str) -> str:
    """A name as a label of DNS (RFC 1123), at most 40 characters, since engines hang more onto it."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return plain if plain[:1].isalpha() else f"mfc-{plain}".rstrip("-")


def _cpus(plan: Plan) -> int:
    """The cores that the spec gives; else one for each process that the plan starts on a node."""
    machines = plan.problem.spec.hardware
    if machines.cpu_cores != "auto":
        return machines.cpu_cores
    loaders = int(plan.values.get("dataloader_workers") or 0)
    return max(machines.count * (1 + loaders), int(plan.values.get("preprocessing_workers") or 0))


def _memory(plan: Plan) -> int:
    """The most that loading, training or saving takes, with the share that planning leaves to the system; whole GiB.

    Never more than the node has: the plan fits it.
    """
    memory, host = plan.memory, plan.problem.hardware.host_memory_bytes
    most = max(memory.host_bytes_per_node, memory.load_host_bytes, memory.save_host_bytes)
    asked = math.ceil(most / (1 - SYSTEM) / GIB) * GIB
    return min(asked, max(host // GIB, 1) * GIB) if host else asked


def node_script(job: Job, variables: Mapping[str, str], *, folder: str = "", last: str = "", rest: str = "") -> str:
    """Shell that one node runs, in the output folder or from where `folder` leads there.

    `variables` are those of `Start` that the engine does not set itself, as expressions of the shell, `last` is a line
    after them, `rest` are words that follow the spec's arguments. All are the engine's own, and the lines of
    run.launcher.setup the user's: they stand as they are written.
    """
    lines = ["set -e"]
    if folder:
        lines.append(f"cd {quote.sh(folder)}")
    lines += job.settings.setup
    lines += [f"export {name}={value}" for name, value in variables.items() if job.nodes > 1 or name not in _SEVERAL]
    lines += [last] if last else []
    start = " ".join(filter(None, [f"bash {quote.sh(job.start.script)}", quote.words(job.settings.arguments), rest]))
    if job.start.server:
        lines += [f"bash {quote.sh(job.start.server)} &", 'trap "kill $!" EXIT', start]
    else:
        lines.append(f"exec {start}")
    return "\n".join(lines) + "\n"


def need_arguments(job: Job) -> None:
    """Refuse an engine that takes no words from its command line where the start script cannot do without."""
    if job.start.words and not job.settings.arguments:
        raise refused(
            "run.launcher",
            f"{job.start.script} is to be followed by {job.start.words}",
            f"say so in run.launcher.arguments: [{', '.join(job.start.words.split())}], seen from the output folder",
        )
