# /// script
# requires-python = ">=3.10,<3.13"
# dependencies = ["xtuner==0.2.0", "transformers==4.48.0", "peft==0.14.0", "datasets==3.2.0", "setuptools<81"]
# ///
"""Prints the contract of the installed XTuner's config files (MMEngine format).

A config is a Python file whose `dict(type=X, ...)` are calls: X is imported, the rest are its arguments. As data,
`type` is "module:name". The schema closes every such mapping by the real signature of its type, and the top level by
the names that the runner and `xtuner train` read, plus the names of settings in XTuner's own configs. Nothing is listed
by hand but the types a plan can use (CALLS), and which arguments the framework itself gives (GIVEN, ALSO).
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.append(str(Path(__file__).resolve().parents[3]))  # mfc is not installed where this runs

from targets.contract import json_types

CALLS = (
    "xtuner.model:SupervisedFinetune",
    "xtuner.model.dpo:DPO",
    "xtuner.model.orpo:ORPO",
    "xtuner.model.reward:RewardModel",
    "transformers:AutoModelForCausalLM.from_pretrained",
    "transformers:AutoTokenizer.from_pretrained",
    "transformers:BitsAndBytesConfig",
    "peft:LoraConfig",
    "xtuner.dataset:process_hf_dataset",
    "xtuner.dataset:ConcatDataset",
    "xtuner.dataset.preference_dataset:build_preference_dataset",
    "xtuner.dataset.map_fns:template_map_fn_factory",
    "datasets:load_dataset",
    "xtuner.dataset.collate_fns:default_collate_fn",
    "xtuner.dataset.collate_fns.preference_collate_fn:preference_collate_fn",
    "mmengine.dataset:DefaultSampler",
    "xtuner.parallel.sequence:SequenceParallelSampler",
    "mmengine.optim:AmpOptimWrapper",
    "mmengine.optim:OptimWrapper",
    "torch.optim:AdamW",
    "torch.optim:SGD",
    "transformers:Adafactor",
    "bitsandbytes.optim:AdamW8bit",
    "bitsandbytes.optim:PagedAdamW32bit",
    "bitsandbytes.optim:PagedAdamW8bit",
    "mmengine.optim:CosineAnnealingLR",
    "mmengine.optim:LinearLR",
    "xtuner.engine.runner:TrainLoop",
    "xtuner.engine.hooks:DatasetInfoHook",
    "xtuner.engine.hooks:EvaluateChatHook",
    "xtuner.engine.hooks:ThroughputHook",
    "xtuner.engine.hooks:VarlenAttnArgsToMessageHubHook",
    "mmengine.hooks:CheckpointHook",
    "mmengine.hooks:DistSamplerSeedHook",
    "mmengine.hooks:EMAHook",
    "mmengine.hooks:EarlyStoppingHook",
    "mmengine.hooks:IterTimerHook",
    "mmengine.hooks:LoggerHook",
    "mmengine.hooks:ParamSchedulerHook",
    "mmengine.hooks:ProfilerHook",
    "mmengine.visualization:Visualizer",
    "mmengine.visualization:TensorboardVisBackend",
    "mmengine.visualization:WandbVisBackend",
    "mmengine.visualization:MLflowVisBackend",
)
# Arguments that the framework fills in, so a config need not; and keys it takes out before the call.
GIVEN = {"params", "optimizer", "dataset", "sampler", "runner", "dataloader", "instances", "save_dir", "name", "self"}
ALSO = {
    "mmengine.hooks": ("priority",),
    "xtuner.engine.hooks": ("priority",),
    "mmengine.optim": ("convert_to_iter_based", "constructor", "paramwise_cfg"),
}
NEEDED = {"xtuner.dataset:process_hf_dataset": ("dataset",), "datasets:load_dataset": ("path",)}
VALUE = {"$ref": "#/$defs/value"}


def named(call: str) -> Any:
    """The object behind "module:dotted.name"."""
    module, _, name = call.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def schema_of(call: str) -> json_types.Schema:
    """A closed mapping: `type` and the keyword arguments."""
    target = named(call)
    names, required = arguments(target)
    if call.endswith("from_pretrained"):
        names = sorted({*(tokenizer() if "Tokenizer" in call else from_pretrained()), *names})
        required = ["pretrained_model_name_or_path"]
    properties = dict.fromkeys((*names, *ALSO.get(call.partition(":")[0], ())), VALUE)
    needed = {*required, *NEEDED.get(call, ())} - (GIVEN - set(NEEDED.get(call, ())))
    return json_types.closed({"type": {"const": call}, **properties}, required=["type", *sorted(needed)])


def arguments(target: Any) -> tuple[list[str], list[str]]:
    """(names, required names); `**kwargs` is followed up through the parent classes."""
    chain = (
        [target]
        if not inspect.isclass(target)
        else [vars(k)["__init__"] for k in target.__mro__ if "__init__" in vars(k)]
    )
    names: list[str] = []
    required: list[str] = []
    for depth, function in enumerate(chain):
        parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
        fixed = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        names += [p.name for p in fixed if p.name not in names]
        if depth == 0:
            required = [p.name for p in fixed if p.default is p.empty]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names, required


def from_pretrained() -> set[str]:
    """What PreTrainedModel.from_pretrained takes out of its keyword arguments."""
    from transformers.modeling_utils import PreTrainedModel

    function = PreTrainedModel.from_pretrained
    popped = set(re.findall(r'kwargs\.(?:pop|get)\(\s*"(\w+)"', inspect.getsource(function)))
    named = set(inspect.signature(function).parameters) - {"model_args", "kwargs"}
    return popped | named | {"trust_remote_code", "attn_implementation"}


def tokenizer() -> set[str]:
    """What PreTrainedTokenizerBase takes, when it loads and when it is made."""
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase

    function = PreTrainedTokenizerBase.from_pretrained
    sources = inspect.getsource(function) + inspect.getsource(PreTrainedTokenizerBase.__init__)
    popped = set(re.findall(r'kwargs\.(?:pop|get)\(\s*"(\w+)"', sources))
    return popped | (set(inspect.signature(function).parameters) - {"init_inputs", "kwargs"}) | {"use_fast"}


def runner_keys() -> set[str]:
    """Names that the runners read from the top level of a config."""
    from mmengine.runner import FlexibleRunner, Runner

    sources = [inspect.getsource(runner.from_cfg) for runner in (Runner, FlexibleRunner)]
    return {key for source in sources for key in re.findall(r"cfg(?:\.get\(|\[)'(\w+)'", source)}


def xtuner_keys() -> set[str]:
    """Names that `xtuner train` reads from the top level."""
    from xtuner.tools import train

    source = inspect.getsource(train)
    return set(re.findall(r'cfg\.get\("(\w+)"', source)) | set(re.findall(r'getattr\(cfg, "(\w+)"', source))


def settings(at_least: int = 5) -> set[str]:
    """Names of the top-level variables in at least so many of XTuner's own configs."""
    import xtuner.configs

    found: Counter[str] = Counter()
    for path in Path(xtuner.configs.__file__).parent.rglob("*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
        found.update({target.id for target in targets if isinstance(target, ast.Name)})
    return {name for name, times in found.items() if times >= at_least}


def templates_used() -> dict[str, str]:
    """Model -> the chat template that most of XTuner's own configs use for it; Moss's plug-in format is not one."""
    import xtuner.configs

    found: dict[str, Counter[str]] = {}
    for path in Path(xtuner.configs.__file__).parent.rglob("*.py"):
        nodes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign)]
        set_to = {ast.unparse(node.targets[0]): ast.unparse(node.value).strip("'") for node in nodes}
        model = set_to.get("pretrained_model_name_or_path") or set_to.get("llm_name_or_path", "")
        module, _, template = set_to.get("prompt_template", "").partition(".")
        if module == "PROMPT_TEMPLATE" and template != "moss_sft" and re.fullmatch(r"[\w.-]+/[\w.-]+", model):
            found.setdefault(model, Counter())[template] += 1
    return {model: min(used, key=lambda name: (-used[name], name)) for model, used in sorted(found.items())}


def root() -> json_types.Schema:
    """The closed schema of a whole config, and what XTuner knows by name."""
    from torch.utils.data import DataLoader
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from xtuner.configs import cfgs_name_path
    from xtuner.dataset.map_fns import DATASET_FORMAT_MAPPING
    from xtuner.model.modules.dispatch import ATTN_DISPATCH_MAPPING, VARLEN_ATTN_DISPATCH_MAPPING
    from xtuner.utils import PROMPT_TEMPLATE

    calls = {call: schema_of(call) for call in CALLS}
    value: dict[str, Any] = {
        "allOf": [
            {"if": {"type": "object", "required": ["type"]}, "then": {"$ref": "#/$defs/call"}},
            {"if": {"type": "array"}, "then": {"items": VALUE}},
        ]
    }
    call = {
        "properties": {"type": {"enum": list(CALLS)}},
        "allOf": [
            {"if": {"properties": {"type": {"const": name}}}, "then": {"$ref": f"#/$defs/{_key(name)}"}}
            for name in CALLS
        ],
    }
    loader = [n for n in inspect.signature(DataLoader.__init__).parameters if n != "self"]
    top: dict[str, Any] = {name: dict(VALUE) for name in runner_keys() | xtuner_keys() | settings()}
    top["train_dataloader"] = json_types.closed(dict.fromkeys(loader, VALUE), required=["batch_size", "dataset"])
    presets = {name: path for name, path in cfgs_name_path.items() if name.startswith("deepspeed_")}
    knows = {
        "read": sorted(runner_keys() | xtuner_keys()),  # the others are variables of XTuner's own configs
        "templates": sorted(PROMPT_TEMPLATE),
        "templates_used": templates_used(),
        "dataset_maps": sorted(fn.__name__ for fn in DATASET_FORMAT_MAPPING.values()),
        "deepspeed": {name: json.loads(Path(path).read_text()) for name, path in sorted(presets.items())},
        "families": sorted(CONFIG_MAPPING_NAMES),
        "attention": sorted(ATTN_DISPATCH_MAPPING),
        "varlen": sorted(name for name, function in VARLEN_ATTN_DISPATCH_MAPPING.items() if function is not None),
    }
    closed = json_types.closed(top, required=["model", "optim_wrapper", "train_cfg", "train_dataloader"])
    defs = {"value": value, "call": call, **{_key(name): schema for name, schema in calls.items()}}
    return {**closed, "$defs": defs, "x-knows": knows}


def _key(call: str) -> str:
    return call.replace(":", ".")


if __name__ == "__main__":
    out = json_types.quiet_stdout()
    packages = ("mmengine", "transformers", "peft", "datasets", "bitsandbytes", "torch")
    json_types.write(json_types.contract("xtuner", "A config of XTuner", packages, root()), out)
