# /// script
# requires-python = ">=3.10"
# dependencies = ["deepspeed"]
# ///
"""Prints the contract of the installed DeepSpeed's JSON config, closed at every level.

Nothing is listed by hand that DeepSpeed can be asked: the keys are those that `DeepSpeedConfig` looks up; a section is
closed by its pydantic model where it has one, and otherwise by the keys looked up inside it. What it cannot be asked is
the type of a key whose default is None (INTEGERS; the rest are strings) and the choices of a few strings (CHOICES).
Old names of keys and
removed features are left out.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")
sys.path.append(str(Path(__file__).resolve().parents[3]))  # mfc is not installed where this runs

from targets.contract import json_types
from targets.contract.recorder import Recorder

INTEGERS = {
    *("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "steps_per_print"),
    *("vocabulary_size", "number_checkpoints", "sequence_parallel_size", "data_parallel_size"),
}
LISTS = {"lower_precision_safe_modules"}
OBJECTS = {"writer", "parallel_write"}
CHOICES = {
    "gradient_allreduce_op": ["mean", "sum"],
    "communication_data_type": ["fp32", "fp16", "bf16"],
    "seq_parallel_communication_data_type": ["fp32", "fp16", "bf16"],
    "grad_accum_dtype": ["fp32", "fp16", "bf16"],
    "tag_validation": ["Warn", "Ignore", "Fail"],
}
OLD = {
    *("amp", "bfloat16", "compression_training", "curriculum_learning", "eigenvalue", "elasticity", "graph_harvesting"),
    *("nebula", "progressive_layer_drop", "quantize_training", "sparse_attention", "sparse_gradients"),
}  # old names, and features that 0.19 removed: https://github.com/deepspeedai/DeepSpeed/issues/8489
NESTED = {"autotuning", "data_efficiency", "datastates_ckpt", "expert_parallel", "pipeline"}  # trees no plan needs
READ_BY_INITIALIZE = ("sequence_parallel_size", "data_parallel_size")  # beside what DeepSpeedConfig reads
PROBE = "mfc_probe"
# Sections are asked a second time when they are on, since some are read further only then; before 0.17 the settings of
# dynamic loss scaling are read only when one of them is given.
WAKING = {"fp16": {"loss_scale_window": 1000}}
SMALLEST = {"train_micro_batch_size_per_gpu": 1}
BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
OWN_OPTIMIZERS = {
    ("Adam", "AdamW"): ("deepspeed.ops.adam", ("FusedAdam", "DeepSpeedCPUAdam")),
    ("Lion",): ("deepspeed.ops.lion", ("FusedLion", "DeepSpeedCPULion")),
    ("Adagrad",): ("deepspeed.ops.adagrad", ("DeepSpeedCPUAdagrad",)),
}
ADAM_SWITCHES = {"torch_adam": False, "adam_w_mode": True, "fp32_optimizer_states": True}  # taken out by the engine


def root() -> json_types.Schema:
    """The closed schema of the whole file."""
    import deepspeed
    from deepspeed.runtime import config as module

    gone = {*getattr(module, "_REMOVED_TOP_LEVEL_CONFIG_KEYS", ()), *OLD, *NESTED}
    looked_up = read_keys(SMALLEST)
    named = {key for key in READ_BY_INITIALIZE if key in inspect.getsource(deepspeed)}
    top = {key: looked_up.get(key) for key in {*looked_up, *named} if "." not in key and key not in gone}
    properties = {key: section(key) or leaf(key, default) for key, default in top.items()}
    return json_types.closed({**properties, "optimizer": optimizer(), "scheduler": scheduler()})


def read_keys(config: dict[str, Any]) -> dict[str, Any]:
    """Every key DeepSpeedConfig looks up in this config, with the default it would take."""
    from deepspeed.runtime.config import DeepSpeedConfig

    read: dict[str, Any] = {}
    DeepSpeedConfig(Recorder(config, read))
    return read


def section(key: str) -> json_types.Schema:
    """The schema of a section; empty when the key holds a plain value."""
    asked = probe({key: {PROBE: 1}})
    if asked is None or "properties" in asked:
        return asked or {}
    asked |= probe({key: {**WAKING.get(key, {}), "enabled": True, PROBE: 1}}) or {}
    inside = {k.removeprefix(f"{key}."): v for k, v in asked.items() if k.startswith(f"{key}.")}
    inside = {k: v for k, v in inside.items() if k != PROBE and "." not in k}
    properties = {}
    for name, default in inside.items():
        nested = probe({key: {name: {PROBE: 1}}}) or {}
        properties[name] = nested if "properties" in nested else leaf(name, default)
    return json_types.closed(properties) if properties else {}


def probe(config: dict[str, Any]) -> dict[str, Any] | None:
    """Offer a section with a key that no one knows: its schema if a pydantic model refused it, the keys that were read
    if the section was taken, None if the place holds no section.
    """
    import pydantic

    try:
        return read_keys({**SMALLEST, **config})
    except pydantic.ValidationError as error:
        kind = _models()[error.title]
        for step in error.errors()[0]["loc"][:-1]:  # the refused section may lie inside the model that was built
            kind = _model_in(kind.model_fields[step].annotation)
        return model(kind)
    except _not_a_section():
        return None


def model(kind: Any) -> json_types.Schema:
    """A pydantic model as a closed object. Fields marked as deprecated are left out: they have newer names."""
    properties: json_types.Schema = {}
    for name, field in kind.model_fields.items():
        if (field.json_schema_extra or {}).get("deprecated"):
            continue
        nested = _model_in(field.annotation)
        schema = model(nested) if nested else json_types.of_type(field.annotation)
        default = json_types.plain(field.get_default(call_default_factory=True))
        if default is None and not nested:
            schema = json_types.either([schema, {"type": "null"}])
        bounds = {
            BOUNDS[sign]: getattr(limit, sign)
            for limit in field.metadata
            for sign in BOUNDS
            if getattr(limit, sign, None) is not None
        }
        told = {} if nested else {"default": default}
        properties[field.alias or name] = {**schema, **bounds, **told}
    return json_types.closed(properties)


def leaf(key: str, default: Any) -> json_types.Schema:
    """A plain value by its default and the few things said at the top."""
    if key in CHOICES:
        return {"enum": [*CHOICES[key], *([None] if default is None else [])], "default": json_types.plain(default)}
    if default is not None:
        return json_types.of_value(default)
    name = "integer" if key in INTEGERS else "array" if key in LISTS else "object" if key in OBJECTS else "string"
    return {"type": [name, "null"], "default": None}


def optimizer() -> json_types.Schema:
    """One alternative per optimizer, each closed by its constructor: DeepSpeed's own and all of torch.optim."""
    import importlib

    import torch

    leave_out = ("self", "params", "model_params")
    alternatives = []
    for names, (module, classes) in OWN_OPTIMIZERS.items():
        signatures = [json_types.of_call(getattr(importlib.import_module(module), c), leave_out) for c in classes]
        properties = {k: v for s in reversed(signatures) for k, v in s["properties"].items()}
        properties.pop("adamw_mode", None)
        if "Adam" in names:
            properties.update({k: json_types.of_value(v) for k, v in ADAM_SWITCHES.items()})
        alternatives.append(_typed(names, json_types.closed(properties)))
    own = {name for names in OWN_OPTIMIZERS for name in names}
    for name, kind in sorted(vars(torch.optim).items()):
        if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and name not in {"Optimizer", *own}:
            alternatives.append(_typed((name,), json_types.of_call(kind, leave_out)))
    return {"oneOf": alternatives}


def scheduler() -> json_types.Schema:
    """One alternative per learning-rate schedule of DeepSpeed's own."""
    from deepspeed.runtime import lr_schedules

    leave_out = ("self", "optimizer", "last_batch_iteration")
    return {
        "oneOf": [
            _typed((name,), json_types.of_call(getattr(lr_schedules, name), leave_out))
            for name in lr_schedules.VALID_LR_SCHEDULES
        ]
    }


def _typed(names: tuple[str, ...], params: json_types.Schema) -> json_types.Schema:
    return json_types.closed({"type": {"enum": list(names)}, "params": params}, required=["type"])


def _not_a_section() -> tuple[type[Exception], ...]:
    from deepspeed.runtime.config import DeepSpeedConfigError

    return (
        AssertionError,
        AttributeError,
        DeepSpeedConfigError,
        LookupError,
        NotImplementedError,
        TypeError,
        ValueError,
    )


def _models() -> dict[str, Any]:
    from deepspeed.runtime.config_utils import DeepSpeedConfigModel

    def below(kind: Any) -> Iterator[Any]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    return {kind.__name__: kind for kind in below(DeepSpeedConfigModel)}


def _model_in(annotation: Any) -> Any:
    import typing

    options = (annotation, *typing.get_args(annotation))
    return next((o for o in options if inspect.isclass(o) and hasattr(o, "model_fields")), None)


if __name__ == "__main__":
    out = json_types.quiet_stdout()
    import logging

    logging.disable(logging.WARNING)
    json_types.write(json_types.contract("deepspeed", "DeepSpeed", ("pydantic", "torch"), root()), out)
