# /// script
# requires-python = ">=3.11"
# dependencies = ["accelerate"]
# ///
"""Prints the contract of accelerate's YAML, which `accelerate launch --config_file` reads, as JSON.

accelerate checks the names of keys at the top alone. What stands below deepspeed_config and fsdp_config it lays over
the options of its launcher whatever it is called, so these are the options of their groups.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import typing
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # mfc is not installed where this runs

from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import launch_command_parser
from accelerate.utils.constants import FSDP_AUTO_WRAP_POLICY, FSDP_BACKWARD_PREFETCH, FSDP_STATE_DICT_TYPE
from accelerate.utils.dataclasses import PrecisionType

from targets.contract import json_types

GROUPS = {"deepspeed_config": "DeepSpeed Arguments", "fsdp_config": "FSDP Arguments"}
# Choices that are looked at when the plugin is built, not by the launcher's parser.
CHOICES: dict[str, list[str]] = {
    "fsdp_auto_wrap_policy": FSDP_AUTO_WRAP_POLICY,
    "fsdp_backward_prefetch": FSDP_BACKWARD_PREFETCH,
    "fsdp_state_dict_type": FSDP_STATE_DICT_TYPE,
    "offload_optimizer_device": ["none", "cpu", "nvme"],
    "offload_param_device": ["none", "cpu", "nvme"],
    "deepspeed_multinode_launcher": ["pdsh", "standard", "openmpi", "mvapich", "mpich", "slurm", "nossh"],
}
NUMBERS = {"fsdp_version": [1, 2], "zero_stage": [0, 1, 2, 3]}
FLAGS = ("true", "false")  # defaults of options that are true or false


def config() -> json_types.Schema:
    """A closed schema of the file, for one or several machines."""
    hints = typing.get_type_hints(ClusterConfig)
    properties = {f.name: json_types.of_type(hints[f.name]) for f in dataclasses.fields(ClusterConfig)}
    properties["mixed_precision"] = {"enum": PrecisionType.list()}
    properties |= {name: _group(title) for name, title in GROUPS.items()}
    return json_types.closed(properties, required=["distributed_type"])


def _group(title: str) -> json_types.Schema:
    (group,) = (one for one in launch_command_parser()._action_groups if one.title == title)
    return json_types.closed({action.dest: _option(action) for action in group._group_actions})


def _option(action: argparse.Action) -> json_types.Schema:
    if action.dest in NUMBERS:
        return {"enum": NUMBERS[action.dest]}
    if action.dest in CHOICES:
        return {"enum": list(CHOICES[action.dest])}
    if action.default in FLAGS or "flag" in action.dest or action.dest.startswith("zero3_"):
        return {"type": "boolean"}
    kind = action.type if isinstance(action.type, type) else str
    return json_types.of_type(kind)


if __name__ == "__main__":
    out = json_types.quiet_stdout()
    json_types.write(json_types.contract("accelerate", "accelerate", (), config()), out)
