"""Prints the contract of an installed engine's file: `python schema.py kubeflow`, or skypilot, in its environment."""

from __future__ import annotations

import json
import sys
from typing import Any

WORDS = ("description", "title", "default", "$schema")  # of a schema, what says nothing about what is allowed
# The type of Kubernetes that is written as a scalar and that the models hold as an object.
QUANTITY = "IoK8sApimachineryPkgApiResourceQuantity"


def kubeflow() -> Any:
    """The models of kubeflow-trainer-api: what an apiserver takes that validates strictly."""
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    whole = TrainerV1alpha1TrainJob.model_json_schema(by_alias=True)
    del whole["properties"]["status"]
    schema = closed(whole)
    schema["$defs"][QUANTITY] = {"type": ["string", "number"]}
    schema["$defs"] = {name: schema["$defs"][name] for name in sorted(used(schema, schema["$defs"]))}
    return schema


def skypilot() -> Any:
    """The schema of a task, with those of its parts in place."""
    from sky.utils import schemas

    task = schemas.get_task_schema()
    resources = schemas.get_resources_schema()
    task["properties"]["resources"] = resources
    # What SkyPilot keeps for itself, and what makes a task another thing than one run.
    for name in ("_metadata", "file_mounts_mapping", "service", "pool", "inputs", "outputs"):
        del task["properties"][name]
    for name in [one for one in resources["properties"] if one.startswith("_")]:
        del resources["properties"][name]
    return closed(task)


def closed(node: Any, names: bool = False) -> Any:
    """The schema closed, without words, and without null for what may be left out. `names`: the keys are fields."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    if not names and len(node.get("anyOf", ())) == 2 and {"type": "null"} in node["anyOf"]:
        return closed(next(one for one in node["anyOf"] if one != {"type": "null"}))
    inside = {
        key: closed(value, names=not names and key in ("properties", "$defs", "patternProperties"))
        for key, value in node.items()
        if names or key not in WORDS
    }
    if not names and "properties" in inside:
        inside.setdefault("additionalProperties", False)
    # A check of SkyPilot's own, which no validator knows.
    inside.pop("case_insensitive_enum", None)
    return inside


def used(node: Any, definitions: Any) -> set[str]:
    """The definitions that a schema needs."""
    found: set[str] = set()
    left = [{key: value for key, value in node.items() if key != "$defs"}]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                left.append(definitions[name])
            left += one.values()
        elif isinstance(one, list):
            left += one
    return found


if __name__ == "__main__":
    made = {"kubeflow": kubeflow, "skypilot": skypilot}[sys.argv[1]]()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    print(json.dumps({**head, **made}, indent=1, sort_keys=True))
