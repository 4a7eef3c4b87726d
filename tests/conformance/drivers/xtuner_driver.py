"""Would the installed XTuner train with this config? Nothing is downloaded and no model is loaded.

A case: `{"file": "train.py", "folder": where it runs, "deepspeed": a shipped name, a file or "", "world_size":
processes}`. The layers, in order:

load    mmengine's own reader, lazy imports included; every reference is then imported for real.
bind    Each `dict(type=X, ...)` is held against the real signature of X, with what the framework gives by itself.
build   Adapters, quantisation, optimizer, schedulers and hooks are really made.
check   XTuner's `register_function` and `check_cfg`, and what its code only finds out when it is too late.

Whether flash-attn is installed is answered with yes: it needs a GPU to be built.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import xtuner.tools.train as program
from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS
from mmengine.runner import FlexibleRunner, Runner
from peft import LoraConfig
from torch.utils.data import DataLoader
from transformers import BitsAndBytesConfig
from transformers.modeling_utils import PreTrainedModel
from xtuner.configs import cfgs_name_path
from xtuner.utils import PROMPT_TEMPLATE

from tests.conformance.drivers.batch import Rejected

# What the framework adds to a call, and keys that it takes out before the call, by where the call stands.
GIVEN = {
    "optimizer": {"params"},
    "param_scheduler": {"optimizer"},
    "sampler": {"dataset"},
    "train_cfg": {"runner", "dataloader"},
    "collate_fn": {"instances"},
    "visualizer": {"name", "save_dir"},
    "vis_backends": {"save_dir"},
}
TAKEN = {
    "param_scheduler": {"convert_to_iter_based"},
    "optim_wrapper": {"paramwise_cfg"},
    "custom_hooks": {"priority"},
    "default_hooks": {"priority"},
}
READ_BY_XTUNER = ("use_varlen_attn", "sequence_parallel_size", "tokenizer", "train_dataset")
LOADER = set(inspect.signature(DataLoader.__init__).parameters) - {"self"}


def prepare() -> None:
    """Quiet, and as on a machine with flash-attn."""
    logging.disable(logging.CRITICAL)
    program.SUPPORT_FLASH2 = True


def check(case: dict[str, Any]) -> dict[str, Any]:
    """The facts that XTuner read back. Raises Rejected, or whatever mmengine and XTuner themselves raise."""
    os.chdir(case["folder"])
    sys.path.insert(0, case["folder"])  # as `python -m` does
    config = Config.fromfile(case["file"])
    known = _runner_keys() | {*READ_BY_XTUNER}
    sections = {name: config[name] for name in config if name in known}
    for name, value in sections.items():
        for path, call, role in _calls(value, name, name):
            _bind(path, call, role)
    if unknown := set(config["train_dataloader"]) - LOADER:
        raise Rejected(f"train_dataloader: DataLoader has no {', '.join(sorted(unknown))}")
    _build(config)
    program.check_cfg(config, SimpleNamespace(deepspeed=case["deepspeed"] or None))
    _late(config, case)
    facts = {"config": _plain({name: config[name] for name in config if not _is_import(config, name)})}
    facts["deepspeed"] = _deepspeed(case)
    program.register_function(config._cfg_dict)
    return facts


def _runner_keys() -> set[str]:
    sources = [inspect.getsource(runner.from_cfg) for runner in (Runner, FlexibleRunner)]
    return {key for source in sources for key in re.findall(r"cfg(?:\.get\(|\[)'(\w+)'", source)}


def _is_import(config: Config, name: str) -> bool:
    return name in getattr(config, "_imported_names", ())


def _calls(node: Any, path: str, role: str) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    if isinstance(node, Mapping):
        if "type" in node:
            yield path, node, role
        for key in node:
            inner = role if role == "default_hooks" and path == role else key
            yield from _calls(node[key], f"{path}.{key}", role if inner == role else key)
    elif isinstance(node, (list, tuple)):
        for number, item in enumerate(node):
            yield from _calls(item, f"{path}.{number}", role)


def _object(value: Any) -> Any:
    return value.build() if isinstance(value, (LazyObject, LazyAttr)) else value


def _bind(path: str, call: Mapping[str, Any], role: str) -> None:
    target = _object(call["type"])
    if not callable(target):
        raise Rejected(f"{path}: type {target!r} cannot be called")
    given = {key for key in call if key != "type"} - TAKEN.get(role, set())
    if target.__name__ == "from_pretrained":
        if "pretrained_model_name_or_path" not in given:
            raise Rejected(f"{path}: no model is named")
        if "Tokenizer" not in target.__qualname__ + target.__self__.__name__ and (
            unknown := given - _from_pretrained()
        ):
            raise Rejected(f"{path}: from_pretrained has no {', '.join(sorted(unknown))}")
        return
    names, required, is_open = _parameters(target)
    if unknown := given - names:
        if not is_open or target is BitsAndBytesConfig:
            raise Rejected(f"{path}: {target.__name__} has no {', '.join(sorted(unknown))}")
        if target.__name__ == "load_dataset" and not unknown <= {"data_files"}:
            raise Rejected(f"{path}: load_dataset has no {', '.join(sorted(unknown))}")
    if missing := required - given - GIVEN.get(role, set()):
        raise Rejected(f"{path}: {target.__name__} needs {', '.join(sorted(missing))}")


def _parameters(target: Any) -> tuple[set[str], set[str], bool]:
    """(names, required names, other names are taken), with `**kwargs` followed through the parent classes."""
    chain = (
        [vars(k)["__init__"] for k in target.__mro__ if "__init__" in vars(k)] if inspect.isclass(target) else [target]
    )
    names: set[str] = set()
    required: set[str] = set()
    for depth, function in enumerate(chain):
        parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
        fixed = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        names |= {p.name for p in fixed}
        if depth == 0:
            required = {p.name for p in fixed if p.default is p.empty}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names, required, False
    return names, required, not inspect.isclass(target)  # a class hands unknown names to nobody


def _from_pretrained() -> set[str]:
    function = PreTrainedModel.from_pretrained
    popped = set(re.findall(r'kwargs\.(?:pop|get)\(\s*"(\w+)"', inspect.getsource(function)))
    named = set(inspect.signature(function).parameters)
    return popped | named | {"trust_remote_code", "attn_implementation"}


def _build(config: Config) -> None:
    """Make whatever needs neither weights nor data."""
    llm = config["model"]["llm"]
    if "quantization_config" in llm:
        BitsAndBytesConfig(**_arguments(llm["quantization_config"]))
    if config["model"].get("lora"):
        LoraConfig(**_arguments(config["model"]["lora"]))
    weight = torch.nn.Parameter(torch.zeros(2))
    chosen = _arguments(config["optim_wrapper"]["optimizer"])
    kind = _object(config["optim_wrapper"]["optimizer"]["type"])
    optimizer = OPTIMIZERS.build({"type": kind, "params": [weight], **chosen})
    for made in config["param_scheduler"]:
        scheduler, arguments = _object(made["type"]), _arguments(made)
        if arguments.pop("convert_to_iter_based", False):
            scheduler.build_iter_from_epoch(optimizer=optimizer, epoch_length=100, **arguments)
        else:
            PARAM_SCHEDULERS.build({"type": scheduler, "optimizer": optimizer, **arguments})
    for hook in [*config["default_hooks"].values(), *config["custom_hooks"]]:
        kind, arguments = _object(hook["type"]), _arguments(hook)
        if "tokenizer" in arguments:  # it would load it
            inspect.signature(kind).bind(**arguments)
        else:
            kind(**arguments)


def _arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _object(call[key]) for key in call if key != "type"}


def _late(config: Config, case: dict[str, Any]) -> None:
    """What XTuner would only find out after the model is loaded, or never."""
    varlen, split = config["use_varlen_attn"], config["sequence_parallel_size"]
    dataset, loader = config["train_dataloader"]["dataset"], config["train_dataloader"]
    for where, said in (("model", config["model"]), ("dataset", dataset), ("collate_fn", loader["collate_fn"])):
        if said["use_varlen_attn"] != varlen:
            raise Rejected(f"late: use_varlen_attn of {where} is not that of the file")
    hooks = [_object(hook["type"]).__name__ for hook in config["custom_hooks"]]
    if varlen != ("VarlenAttnArgsToMessageHubHook" in hooks):
        raise Rejected("late: variable-length attention and its hook come together")
    if varlen and not (dataset.get("pack_to_max_length") or dataset.get("max_packed_length")):
        raise Rejected("late: variable-length attention is for packed rows")
    if split > 1 and "SequenceParallel" not in _object(loader["sampler"]["type"]).__name__:
        raise Rejected("late: split sequences need SequenceParallelSampler")
    if case["world_size"] % split or dataset["max_length"] % split:
        raise Rejected(f"late: {split} divides neither GPUs nor length")
    full_dpo = _object(config["model"]["type"]).__name__ == "DPO" and not config["model"].get("lora")
    if full_dpo and "ref_llm" not in config["model"] and _stage(case) == 3:
        raise Rejected("late: under ZeRO-3 the reference model has to be named")


def _deepspeed(case: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON that XTuner would read, shipped or not."""
    asked = case["deepspeed"]
    if not asked:
        return None
    path = asked if os.path.isfile(asked) else cfgs_name_path[asked]
    said: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return said


def _stage(case: dict[str, Any]) -> int:
    said = _deepspeed(case)
    return said["zero_optimization"]["stage"] if said else 0


def _plain(value: Any) -> Any:
    """Plain data; objects by "module:name", as the config refers to them."""
    if isinstance(value, Mapping):
        if "INSTRUCTION" in value:  # a chat template, known by its text
            return _template(value)
        return {key: _plain(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    value = _object(value)
    if isinstance(value, torch.dtype):
        return f"torch:{str(value).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        return _plain(value)
    if callable(value):
        return getattr(value, "__qualname__", repr(value))
    return value


def _template(value: Mapping[str, Any]) -> list[str]:
    """The names of the chat templates that say this: several say the same."""
    said = {key: value[key] for key in value}
    return [name for name, template in PROMPT_TEMPLATE.items() if dict(template) == said]
