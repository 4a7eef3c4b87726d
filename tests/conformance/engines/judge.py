"""Judges files in an engine's environment: `python judge.py ENGINE FILE...` prints null for each, or what is wrong."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any


def kubeflow(path: Path) -> None:
    import yaml
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    read = TrainerV1alpha1TrainJob.from_dict(said)
    assert read is not None
    assert read.to_dict() == said, "the models have no such fields"


def skypilot(path: Path) -> None:
    import sky
    import yaml
    from sky.utils import common_utils, schemas

    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    common_utils.validate_schema(said, schemas.get_task_schema(), "task: ")
    common_utils.validate_schema(said["resources"], schemas.get_resources_schema(), "resources: ")
    nodes = said["num_nodes"]
    assert sky.Task.from_yaml_config(said).num_nodes == nodes


def ray(path: Path) -> None:
    import ray.train

    assigned = [one for one in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(one, ast.Assign)]
    said = {one.targets[0].id: one.value for one in assigned if isinstance(one.targets[0], ast.Name)}
    scaling = ray.train.ScalingConfig(**ast.literal_eval(said["SCALING"]))
    assert scaling.total_resources["GPU"] == scaling.num_workers * scaling.num_gpus_per_worker
    ray.train.FailureConfig(max_failures=ast.literal_eval(said["MAX_FAILURES"]))


def wrong(engine: str, path: Path) -> Any:
    try:
        {"kubeflow": kubeflow, "skypilot": skypilot, "ray": ray}[engine](path)
    except Exception as error:  # whatever the engine raises is its verdict
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    engine, *paths = sys.argv[1:]
    print(json.dumps([wrong(engine, Path(path)) for path in paths]))
