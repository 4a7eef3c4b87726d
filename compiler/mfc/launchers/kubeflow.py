"""Kubeflow Trainer v2: a TrainJob on the runtime torch-distributed, whose pods run the start script.

Sources are Kubeflow Trainer 2.3: pkg/runtime/framework/plugins/torch/torch.go (PET_* in every pod),
manifests/base/runtimes/torch_distributed.yaml (job and container are called node), docs/operator-guides/
runtime-patches.md. Files and checkpoints are on a volume claim: a ConfigMap would hold the configs, not the data, and
nothing would be left of a run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfc.launchers import Launched
from mfc.launchers.job import GIB, need_arguments, node_script, refused
from mfc.launchers.native import laid_over
from mfc.launchers.travel import need_inside
from mfc.target.outputs import File

if TYPE_CHECKING:
    from mfc.launchers.job import Job

NAME = "kubeflow"
TITLE = "Kubeflow"
USES = frozenset({"setup", "arguments", "image", "volume", "extra"})
FILE = "trainjob.yaml"
CONTRACT = "kubeflow-2.3.0"
WORKSPACE = "/workspace"  # where the claim is in a pod; the folder of the spec is what it holds

_DEVICES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}  # names of the vendors' device plugins


def launch(job: Job) -> Launched:
    """trainjob.yaml, to be applied from the output folder."""
    need_arguments(job)
    _need(job, "image", "an image that holds the framework")
    _need(job, "volume", "a claim that every pod can mount (ReadWriteMany) and that holds the folder of the spec")
    need_inside(job, [WORKSPACE, *_mounted(job.settings.extra)])
    if job.gpu.vendor not in _DEVICES:
        raise refused("hardware.gpu", f"no device plugin is known for {job.gpu.name}")
    # What is in /dev/shm counts as memory of the container.
    asked = {
        "cpu": str(job.cpus),
        "memory": f"{(job.memory + job.shared_memory) // GIB}Gi",
        _DEVICES[job.gpu.vendor]: str(job.gpus),
    }
    known = {name: f'"$PET_{name}"' for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")}
    script = node_script(
        job, known, folder=f"{WORKSPACE}/{job.out}", last='unset "${!PET_@}" # torchrun would read them too'
    )
    document: dict[str, Any] = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": job.name},
        "spec": {
            "runtimeRef": {"name": "torch-distributed"},
            "trainer": {
                "image": job.settings.image,
                "command": ["bash", "-c", script],
                "numNodes": job.nodes,
                "numProcPerNode": job.gpus,
                "resourcesPerNode": {"requests": asked, "limits": asked},
            },
            "runtimePatches": [{"manager": "mfc.dev/launcher", "trainingRuntimeSpec": _patch(job)}],
        },
    }
    file = File(FILE, document, "document.yaml.j2", CONTRACT, folder=Path(__file__).parent)
    return Launched((laid_over(file, job.settings.extra, {"metadata": {"name": True}}),), f"kubectl apply -f {FILE}")


def _patch(job: Job) -> dict[str, Any]:
    """What no field of the trainer says: volumes of its pods."""
    pod = {
        "volumes": [
            {"name": "workspace", "persistentVolumeClaim": {"claimName": job.settings.volume}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{job.shared_memory // GIB}Gi"}},
        ],
        "containers": [
            {
                "name": "node",
                "volumeMounts": [
                    {"name": "workspace", "mountPath": WORKSPACE},
                    {"name": "shm", "mountPath": "/dev/shm"},
                ],
            }
        ],
    }
    return {
        "template": {"spec": {"replicatedJobs": [{"name": "node", "template": {"spec": {"template": {"spec": pod}}}}]}}
    }


def _need(job: Job, setting: str, what: str) -> None:
    if not getattr(job.settings, setting):
        raise refused("run.launcher", f"{TITLE} needs {setting}: {what}", f"say so in run.launcher.{setting}")


def _mounted(extra: Any) -> list[str]:
    """Where the user's own patches mount volumes."""
    if isinstance(extra, dict):
        own = [extra["mountPath"]] if isinstance(extra.get("mountPath"), str) else []
        return [*own, *(path for value in extra.values() for path in _mounted(value))]
    return [path for item in extra for path in _mounted(item)] if isinstance(extra, list) else []
