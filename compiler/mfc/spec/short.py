"""Short forms: what may be written more briefly, and what it stands for.

They are expanded in each file before files are merged, so that a base's short form and a mapping on top of it agree.
What was written as one value replaces a base's mapping; a mapping joins it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mfc.spec import quantities
from mfc.spec.marks import Mistake, refusal, show
from mfc.spec.yaml12 import Node

_TEXT = {"type": "string", "minLength": 1, "pattern": "^[^-]"}

# Short forms as editors know them: definition -> what may stand for it.
FORMS: dict[str, list[dict[str, Any]]] = {
    "ModelSpec": [_TEXT],
    "HardwareSpec": [{"type": ["string", "integer"], "minLength": 1, "examples": ["4x RTX 4090", "8xA100-80G"]}],
    "GpuSpec": [{"type": ["string", "integer"]}],
    "InterconnectSpec": [{**_TEXT, "examples": ["pcie", "nvlink"]}],
    "DataSpec": [_TEXT],
    "DatasetSpec": [_TEXT],
    "OffloadSpec": [{"enum": ["auto", "none"]}],
    "LauncherSpec": [{"enum": ["torchrun", "slurm", "skypilot", "kubeflow", "ray"]}],
    "TargetSpec": [{"type": "null"}],
}

# Other names of a field: definition -> name -> the field.
NAMES: dict[str, dict[str, str]] = {
    "DataSpec": {"path": "train", "hub": "train"},
    "TrainSpec": {"freeze": "freeze_parts"},
    "StrategySpec": {"zero": "sharding"},
    "RolloutSpec": {
        "generations": "num_generations",
        "max_prompt": "max_prompt_length",
        "max_completion": "max_completion_length",
        "memory_utilization": "gpu_memory_utilization",
        "num_iterations": "iterations",
        "reward_funcs": "rewards",
        "external_plugins": "plugins",
    },
}

# What training programs call a field, Hugging Face's Trainer and those built on it: for the hint of an error.
ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(("model_name_or_path", "model_path"), "model"),
    **dict.fromkeys(("gpus", "num_gpus", "n_gpus", "nproc_per_node"), "hardware.count"),
    **dict.fromkeys(("ram", "cpu_memory", "memory"), "hardware.host_memory"),
    **dict.fromkeys(("cutoff_len", "max_seq_length", "max_seq_len", "seq_len", "context_length"), "data.max_length"),
    **dict.fromkeys(("dataset", "datasets", "train_file"), "data.train"),
    **dict.fromkeys(("use_hf", "use_modelscope", "use_modelscope_hub"), "hub"),
    **dict.fromkeys(("max_samples", "num_samples"), "data.train"),
    **dict.fromkeys(("val_size", "val_dataset", "eval_dataset"), "data.eval"),
    **dict.fromkeys(("finetuning_type", "train_type", "tuner_type", "peft"), "train.method"),
    **dict.fromkeys(("quantization_bit", "load_in_4bit", "load_in_8bit"), "train.quantization.bits"),
    **dict.fromkeys(("rlhf_type", "stage"), "train.task"),
    **dict.fromkeys(("lora_target", "target_modules", "lora_target_modules"), "train.lora.targets"),
    **dict.fromkeys(("lora_r", "lora_rank", "r"), "train.lora.rank"),
    "lora_alpha": "train.lora.alpha",
    "lora_dropout": "train.lora.dropout",
    **dict.fromkeys(("gradient_accumulation_steps", "gradient_accumulation", "global_batch_size"), "train.batch_size"),
    **dict.fromkeys(("per_device_train_batch_size", "micro_batch_size"), "strategy.micro_batch"),
    "lr": "train.learning_rate",
    "num_train_epochs": "train.epochs",
    **dict.fromkeys(("bf16", "fp16", "torch_dtype", "dtype"), "train.precision"),
    **dict.fromkeys(("warmup_ratio", "warmup_steps"), "train.optim.warmup"),
    **dict.fromkeys(("min_lr", "lr_min", "eta_min"), "train.optim.min_learning_rate"),
    "lr_scheduler_type": "train.optim.schedule",
    **dict.fromkeys(("deepspeed", "zero_stage", "fsdp"), "strategy.sharding"),
    **dict.fromkeys(("flash_attn", "attn_impl", "attn_implementation"), "strategy.attention"),
    "use_liger_kernel": "strategy.loss",
    "reduce_bucket_size": "strategy.buckets.reduce",
    "allgather_bucket_size": "strategy.buckets.allgather",
    "stage3_prefetch_bucket_size": "strategy.buckets.prefetch",
    "stage3_param_persistence_threshold": "strategy.buckets.persistence",
    "stage3_max_live_parameters": "strategy.buckets.live",
    **dict.fromkeys(("save_steps", "save_strategy"), "run.save_every"),
    **dict.fromkeys(("eval_steps", "eval_strategy", "evaluation_strategy"), "run.eval_every"),
    "per_device_eval_batch_size": "run.eval_micro_batch",
    "ddp_timeout": "run.timeout",
    **dict.fromkeys(("default_system", "system_prompt"), "data.system"),
    "evaluation_inputs": "run.samples",
    **dict.fromkeys(("dataloader_num_workers", "num_workers"), "data.workers"),
    **dict.fromkeys(("preprocessing_num_workers", "dataset_num_proc", "num_proc"), "data.preprocessing_workers"),
    "save_total_limit": "run.keep",
    "logging_steps": "run.log_every",
}

# Fields of the one data set of a short form, which may stand beside its path or hub id.
OF_ONE_SET = ("samples", "subset", "split", "columns", "roles")

# Fields that hold text which YAML may take for a number: 4090, 0.10, 1e10. A star stands for any key.
_TEXTS = (
    ("model", "id"),
    ("model", "like"),
    ("data", "train", "*", "subset"),
    ("data", "train", "*", "split"),
    ("model", "revision"),
    ("hardware", "gpu", "name"),
    ("targets", "*", "version"),
    ("targets", "*", "packages", "*"),
)

# Only one of each pair can hold: giving one drops the other from a base.
RIVALS = {"epochs": "max_steps", "max_steps": "epochs", "devices": "count", "count": "devices"}

_Change = Callable[[Node], Node]


def expand(root: Node) -> Node:
    """The tree with every short form written out. Raises SpecError where one is malformed."""
    tree = _each(
        root,
        model=lambda node: _alone(node, "id"),
        hardware=_hardware,
        data=_data,
        train=_train,
        strategy=_strategy,
        run=lambda node: _each(node, launcher=lambda launcher: _alone(launcher, "engine")),
        targets=_targets,
    )
    for path in _TEXTS:
        tree = _as_text(tree, path)
    return tree


def _each(node: Node, **changes: _Change) -> Node:
    """The mapping with some of its values changed; whatever else it is stays as it is, for validation to judge."""
    if not isinstance(node.value, dict):
        return node
    items = {key: changes[key](item) if key in changes else item for key, item in node.value.items()}
    return node._replace(value=items)


def _renamed(node: Node, names: dict[str, str], section: str) -> Node:
    if not isinstance(node.value, dict):
        return node
    items: dict[str, Node] = {}
    given: dict[str, str] = {}  # field -> the name it was given by
    for key, item in node.value.items():
        name = names.get(key, key)
        if name in items:
            text = f"{section}.{name} is given twice: as {given[name]} and as {key}"
            raise refusal([Mistake(item.key or item.mark, text)])
        items[name] = item
        given[name] = key
    return node._replace(value=items)


def _is_word(node: Node) -> bool:
    """A scalar that was meant as text; a bare number may be a name (4090)."""
    return isinstance(node.value, str) or type(node.value) is int


def _alone(node: Node, field: str) -> Node:
    return _wrap(node, {field: _text(node)}) if _is_word(node) else node


def _text(node: Node) -> Node:
    return node._replace(value=node.text, key=None) if type(node.value) in (int, float) else node._replace(key=None)


def _wrap(node: Node, items: dict[str, Node]) -> Node:
    return node._replace(value=items, replaces=True)


def _as_text(node: Node, path: tuple[str, ...]) -> Node:
    if not path:
        return node._replace(value=node.text) if type(node.value) in (int, float) else node
    head, rest = path[0], path[1:]
    if isinstance(node.value, list) and head == "*":
        return node._replace(value=[_as_text(item, rest) for item in node.value])
    if not isinstance(node.value, dict):
        return node
    items = {key: _as_text(item, rest) if head in (key, "*") else item for key, item in node.value.items()}
    return node._replace(value=items)


def _hardware(node: Node) -> Node:
    if not _is_word(node):
        return _each(node, gpu=_gpu, interconnect=lambda link: _alone(link, "intra"))
    gpus = _count(node, "hardware")
    if gpus.nodes > 1:
        text = "hardware with several nodes needs a mapping"
        wanted = f"{{gpu: {gpus.name}, count: {gpus.count}, nodes: {gpus.nodes}, interconnect: {{inter: 25Gbps}}}}"
        raise refusal([Mistake(node.mark, text, hint=wanted)])
    gpu = Node({"name": Node(gpus.name, node.mark)}, node.mark, replaces=True)
    return _wrap(node, {"gpu": gpu, "count": Node(gpus.count, node.mark)})


def _gpu(node: Node) -> Node:
    if _is_word(node) and node.text.strip() and (gpus := _count(node, "hardware.gpu")).name != node.text.strip():
        text = f"hardware.gpu is the kind of GPU alone, not {show(node.text)}"
        raise refusal([Mistake(node.mark, text, hint=f"gpu: {gpus.name} with count: {gpus.count}")])
    return _alone(node, "name")


def _count(node: Node, field: str) -> quantities.Gpus:
    try:
        return quantities.gpus(node.text)
    except ValueError as error:
        raise refusal([Mistake(node.mark, f"{field} must be {error}, not {show(node.text)}")]) from None


def _data(node: Node) -> Node:
    if isinstance(node.value, str):
        return _wrap(node, {"train": _sets(node)})
    if isinstance(node.value, dict):
        node = _one_set(node, node.value)
    return _each(_renamed(node, NAMES["DataSpec"], "data"), train=_sets)


def _one_set(node: Node, items: dict[str, Node]) -> Node:
    """The one data set of a short form, with what stands beside its path or hub id."""
    name = next((key for key in ("hub", "path", "train") if key in items and isinstance(items[key].value, str)), "")
    own = {key: items[key] for key in OF_ONE_SET if key in items}
    if name == "hub" or (name and own):
        one, rest = items[name], {key: item for key, item in items.items() if key not in own}
        source = {"hub" if name == "hub" else "path": one._replace(key=None), **own}
        node = node._replace(value={**rest, name: one._replace(value=source)})
    return node


def _sets(node: Node) -> Node:
    """One data set or several, as a list of mappings."""
    many = node.value if isinstance(node.value, list) else [node]
    items = [
        Node({"path": item._replace(key=None)}, item.mark) if isinstance(item.value, str) else item for item in many
    ]
    return node if node.value is None else node._replace(value=items)


def _train(node: Node) -> Node:
    named = _renamed(node, NAMES["TrainSpec"], "train")
    return _each(named, rollout=lambda rollout: _renamed(rollout, NAMES["RolloutSpec"], "train.rollout"))


def _strategy(node: Node) -> Node:
    if isinstance(node.value, dict) and "zero" in node.value:
        node = _each(node, zero=_stage)
    return _each(_renamed(node, NAMES["StrategySpec"], "strategy"), offload=_offload)


def _stage(node: Node) -> Node:
    if node.value == "auto":
        return node
    if type(node.value) is not int or not 0 <= node.value <= 3:
        raise refusal([Mistake(node.mark, f"strategy.zero cannot be {show(node.value)}", "auto, 0, 1, 2, 3")])
    return node._replace(value=f"zero{node.value}" if node.value else "ddp")


def _offload(node: Node) -> Node:
    if node.value in ("auto", "none"):
        part = node._replace(key=None)
        return _wrap(node, {"optimizer": part, "parameters": part, "activations": part})
    if isinstance(node.value, str):
        text = f"strategy.offload cannot be {show(node.value)}: say what goes there"
        raise refusal([Mistake(node.mark, text, "auto, none, or a mapping such as {optimizer: cpu, parameters: none}")])
    return node


def _targets(node: Node) -> Node:
    if isinstance(node.value, str):
        return _wrap(node, {node.value: Node({}, node.mark)})
    if isinstance(node.value, list):
        items: dict[str, Node] = {}
        for item in node.value:
            if not isinstance(item.value, str):
                raise refusal([Mistake(item.mark, "targets lists names; settings need a mapping of names to settings")])
            if item.value in items:
                raise refusal([Mistake(item.mark, f"target {item.value} is listed twice")])
            items[item.value] = Node({}, item.mark)
        return _wrap(node, items)
    if isinstance(node.value, dict):  # `deepspeed:` with nothing after it
        filled = {k: v._replace(value={}) if v.value is None else v for k, v in node.value.items()}
        return node._replace(value=filled)
    return node
