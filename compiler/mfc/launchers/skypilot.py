"""SkyPilot: a task that takes the folder of the spec with it and runs the start script on each node.

Sources are SkyPilot 0.14.1: sky/utils/schemas.py, sky/task.py, sky/skylet/constants.py. Accelerators are called as in
its catalogue (skypilot_gpus.json says which).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfc.launchers import Launched
from mfc.launchers.job import GIB, need_arguments, node_script, refused
from mfc.launchers.native import laid_over
from mfc.launchers.travel import need_inside
from mfc.target.outputs import File

if TYPE_CHECKING:
    from mfc.launchers.job import Job

NAME = "skypilot"
TITLE = "SkyPilot"
USES = frozenset({"setup", "arguments", "image", "extra"})
FILE = "task.yaml"
CONTRACT = "skypilot-0.14.1"


def launch(job: Job) -> Launched:
    """task.yaml, to be launched from the output folder."""
    need_arguments(job)
    extra = job.settings.extra
    mounts = [str(path) for name in ("file_mounts", "volumes") for path in extra.get(name) or ()]
    need_inside(job, mounts)
    task: dict[str, Any] = {
        "name": job.name,
        "num_nodes": job.nodes,
        "resources": {
            "accelerators": _accelerators(job),
            "cpus": f"{job.cpus}+",
            "memory": f"{job.memory // GIB}+",
        },
        "workdir": job.back,
        "run": node_script(
            job,
            {
                "NODE_RANK": '"$SKYPILOT_NODE_RANK"',
                "MASTER_ADDR": '"$(sed -n 1p <<< "$SKYPILOT_NODE_IPS")"',
                "MASTER_PORT": "29500",
            },
            folder=job.out,
        ),
    }
    if job.settings.image:
        task["resources"]["image_id"] = f"docker:{job.settings.image}"
    free = {"resources": {"accelerators": True, "cpus": True, "memory": True}}
    file = laid_over(File(FILE, task, "document.yaml.j2", CONTRACT, folder=Path(__file__).parent), extra, free)
    # Only managed jobs are started again when machines are taken away.
    return Launched((file,), f"sky jobs launch {FILE}" if job.resumes else f"sky launch {FILE}")


def _accelerators(job: Job) -> str:
    """The GPUs of a node by SkyPilot's name; what the user calls them instead is theirs."""
    names = json.loads((Path(__file__).parent / "skypilot_gpus.json").read_text(encoding="utf-8"))["names"]
    own = (job.settings.extra.get("resources") or {}).get("accelerators")
    if own is None and job.gpu.name not in names:
        raise refused(
            "hardware.gpu",
            f"SkyPilot's catalogue has no {job.gpu.name}",
            f"say how your cluster calls it: run.launcher.extra: {{resources: {{accelerators: NAME:{job.gpus}}}}}",
        )
    if own is not None and not str(own).endswith(f":{job.gpus}"):
        raise refused("run.launcher.extra.resources.accelerators", f"must be NAME:{job.gpus}, as hardware.count says")
    return str(own or f"{names[job.gpu.name]}:{job.gpus}")
