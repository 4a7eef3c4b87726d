"""Ray: a program that places one worker of Ray Train on each node, which runs the start script there.

Sources are Ray 2.60: python/ray/train/v2/api (DataParallelTrainer, configs), python/ray/train/collective. A worker that
Ray gives all GPUs of a node starts torchrun as by hand, so a run is the same as on any other engine; TorchTrainer would
take the place of torchrun, and would join its workers in a process group of its own first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfc.launchers import Launched
from mfc.launchers.job import need_arguments, node_script, refused
from mfc.target.outputs import File

if TYPE_CHECKING:
    from mfc.launchers.job import Job

NAME = "ray"
TITLE = "Ray"
USES = frozenset({"setup", "arguments", "extra"})
FILE = "job.py"

_RESTARTS = 3  # of a run that resumes, when nothing is said; an assumption


def launch(job: Job) -> Launched:
    """job.py, to be run on a machine of the cluster, in the output folder, which every node has to see."""
    need_arguments(job)
    extra = _checked(job.settings.extra)
    scaling: dict[str, Any] = {
        "num_workers": job.nodes,
        "use_gpu": True,
        "resources_per_worker": {
            "GPU": job.gpus,
            "CPU": job.cpus,
            "memory": job.memory,
            **extra.get("resources_per_worker", {}),
        },
        "placement_strategy": "STRICT_SPREAD",
    }
    if "accelerator_type" in extra:
        scaling["accelerator_type"] = extra["accelerator_type"]
    data = {
        "scaling": scaling,
        "failures": extra.get("max_failures", _RESTARTS if job.resumes else 0),
        "node": node_script(job, {}),
    }
    return Launched((File(FILE, data, "ray.py.j2", folder=Path(__file__).parent),), f"python {FILE}")


def _checked(extra: dict[str, Any]) -> dict[str, Any]:
    """The user's keys of Ray's configs. Raises Refused."""
    at = "run.launcher.extra"
    for key, value in extra.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if key == "accelerator_type" and (not isinstance(value, str) or not value):
            raise refused(f"{at}.{key}", "must be one of Ray's names, such as H100")
        if key == "max_failures" and not (whole and value >= -1):
            raise refused(f"{at}.{key}", "must be a whole number of restarts; -1 for any number")
        if key == "resources_per_worker":
            _resources(value, f"{at}.{key}")
        elif key not in ("accelerator_type", "max_failures"):
            raise refused(
                f"{at}.{key}", "is no key for Ray", "there are accelerator_type, max_failures, resources_per_worker"
            )
    return extra


def _resources(value: Any, at: str) -> None:
    if not isinstance(value, dict) or not all(type(number) in (int, float) and number > 0 for number in value.values()):
        raise refused(at, "must be a mapping of your cluster's own resources to numbers above 0")
    if taken := sorted({"GPU", "CPU", "memory"} & value.keys()):
        raise refused(f"{at}.{taken[0]}", "is written by mfc", "it follows from hardware and the plan")
