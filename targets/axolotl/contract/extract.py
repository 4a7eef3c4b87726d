# /// script
# requires-python = ">=3.11"
# dependencies = ["axolotl"]
# ///
"""Prints the contract of the installed Axolotl's YAML as JSON: its pydantic models, closed.

    python extract.py contract

Axolotl drops keys that it does not know without a word, and takes any text for an optimizer, a schedule or a strategy;
here keys are closed, and such text is what its trainers take. What its models refuse whenever it is set is left out.
"""

from __future__ import annotations

import sys
import types
import typing
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3]))  # mfc is not installed where this runs

from axolotl.integrations.cut_cross_entropy.args import CutCrossEntropyArgs
from axolotl.integrations.liger.args import LigerArgs
from axolotl.utils.schemas.config import AxolotlInputConfig
from axolotl.utils.schemas.deprecated import DeprecatedParameters
from axolotl.utils.schemas.enums import CANONICAL_ATTN_IMPLS, CustomSupportedOptimizers, TorchAOQuantDType
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from targets.contract import json_types

PACKAGES = ("accelerate", "bitsandbytes", "datasets", "deepspeed", "peft", "torch", "transformers", "trl")
STRATEGIES = ["no", "steps", "epoch"]
ALTERNATIVE_SCHEDULES = ("one_cycle", "rex")  # core/builders/base.py, _configure_scheduler
# Text that a trainer compares later: closed here.
CHOICES: dict[str, json_types.Schema] = {
    "learning_rate": {"type": "number"},  # a text, such as 1e-4 in YAML, is turned into one
    "adapter": {"enum": ["lora", "qlora", "llama-adapter", None]},
    "attn_implementation": {
        "anyOf": [{"enum": [*sorted(CANONICAL_ATTN_IMPLS), None]}, {"type": "string", "pattern": "/"}]
    },
    "eval_strategy": {"enum": [*STRATEGIES, None]},
    "save_strategy": {"enum": [*STRATEGIES, "best", None]},
    "lr_scheduler": {"enum": [*(one.value for one in SchedulerType), *ALTERNATIVE_SCHEDULES, None]},
    "optimizer": {
        "enum": [
            *dict.fromkeys(one.value for kind in (OptimizerNames, CustomSupportedOptimizers) for one in kind),
            None,
        ]
    },
}
# Keys that Axolotl writes into its config itself.
INTERNAL = ("axolotl_config_path", "is_preprocess", "local_rank", "preprocess_iterable", "world_size")
# bf16 and fp16 at once pass its models; bf16 wins.
APART = {"not": {"properties": {name: {"const": True} for name in ("bf16", "fp16")}, "required": ["bf16", "fp16"]}}


def config() -> json_types.Schema:
    """A closed schema of the YAML that `axolotl train` takes, the keys of its plugins for losses with it."""
    fields = {**CutCrossEntropyArgs.model_fields, **LigerArgs.model_fields, **AxolotlInputConfig.model_fields}
    gone = {*DeprecatedParameters.model_fields, *INTERNAL}
    kept = {name: field for name, field in fields.items() if name not in gone and not field.deprecated}
    return {**_object(kept, CHOICES), **APART}


def _object(fields: typing.Mapping[str, FieldInfo], told: typing.Mapping[str, json_types.Schema]) -> json_types.Schema:
    """A closed object with these fields; one with an alias may have either name."""
    properties: json_types.Schema = {}
    for name, field in fields.items():
        schema = told.get(name) or _type(field.annotation)
        if not field.is_required():
            schema = {**schema, "default": _default(field)}
        properties |= dict.fromkeys((name, field.alias) if field.alias else (name,), schema)
    return json_types.closed(properties, [name for name, field in fields.items() if field.is_required()])


def _default(field: FieldInfo) -> Any:
    made = field.get_default(call_default_factory=True)
    return json_types.plain(made.model_dump() if isinstance(made, BaseModel) else made)


def _type(annotation: Any) -> json_types.Schema:
    """Like `json_types.of_type`, with pydantic models as closed objects."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return json_types.either([_type(one) for one in arguments])
    if origin is list:
        return {"type": "array", "items": _type(arguments[0])}
    if annotation is TorchAOQuantDType:  # its values are types of torch; a file has their names
        return {"enum": [*(one.name for one in TorchAOQuantDType), "fp8", "float8"]}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _object(annotation.model_fields, {})
    return json_types.of_type(annotation)


if __name__ == "__main__":
    out = json_types.quiet_stdout()
    json_types.write(json_types.contract("axolotl", "Axolotl", PACKAGES, config()), out)
