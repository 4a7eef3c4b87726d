"""Axolotl's YAML and commands read back, with DeepSpeed's JSON beside them.

Source: cli/, utils/config/__init__.py, core/builders/base.py and prompt_strategies of Axolotl 0.19.0. A key without a
value is one that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from mfc import rows
from mfc.errors import SpecError
from mfc.spec.inputs import DatasetSpec
from mfc.spec.marks import printable
from mfc.target import trainer
from mfc.target.importing import Beside, Imports, Machines, Part, Place, Run, Settings, flags

from ..deepspeed import imports as deepspeed
from . import data, kernels
from .keys import CUT, ENVIRONMENT, KEYS, LIGER, REPORTS
from .rules import DEEPSPEED, VERSIONS

_MARKS = frozenset(
    {
        "base_model",
        "sequence_len",
        "micro_batch_size",
        "adapter",
        "sample_packing",
        "val_set_size",
        "lora_target_linear",
    }
)
_MODULES = ("axolotl.cli.train", "axolotl.train")
_TAKEN = {
    "datasets": "data.train",
    "test_datasets": "data.eval",
    "deepspeed": "strategy.sharding",
    "saves_per_epoch": "run.save_every",
    "evals_per_epoch": "run.eval_every",
    **dict.fromkeys(("flash_attention", "sdp_attention", "eager_attention"), "strategy.attention"),
    "wandb_project": "run.report_to",
}
_IDLE = {
    "dataset_prepared_path": "where prepared rows are kept",
    "model_type": "which class loads the model: transformers finds it",
    "tokenizer_type": "which class loads the tokenizer: transformers finds it",
    "strict": "whether unknown keys are refused",
}
# What only the first FSDP has, for which Axolotl takes FSDP2.
_OF_FSDP1 = ("limit_all_gathers", "sync_module_states", "use_orig_params", "sharding_strategy", "backward_prefetch")
# What Axolotl does where the contract has no default (core/builders/base.py, transformers training_args.py).
_DEFAULTS: Mapping[str, Any] = {
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0,
    "seed": 42,
    "warmup_ratio": 0.03,
    "excess_length_strategy": "drop",
    "save_total_limit": 4,
    "ddp_timeout": 1800,
    "sample_packing": False,
    "liger_fused_linear_cross_entropy": False,
    "cut_cross_entropy": False,
    "chat_template": data.TOKENIZERS,
    "peft_use_rslora": False,
    "auto_resume_from_checkpoints": False,
    "attn_implementation": "sdpa",
    "dpo_loss_type": ["sigmoid"],
    **dict.fromkeys(("max_steps", "revision_of_model")),
}


def starts(program: str, arguments: Sequence[str]) -> bool:
    """`axolotl train`, or its module."""
    if program.rpartition("/")[2] == "axolotl":
        return bool(arguments) and arguments[0] == "train"
    return program in _MODULES


def settings(run: Run, place: Place) -> Settings:
    """One run, with DeepSpeed's JSON."""
    said, name, machines = _told(run)
    said = {key: value for key, value in said.items() if value is not None}
    _words(said)
    said, idle = trainer.read(said)
    version = VERSIONS[0]
    parts, told, notes = _engine(said, run.beside, version)
    spec, task, lost = _data(said, place)
    taken = dict(_TAKEN)
    if said.get("bf16") == "auto":  # as the GPU can: the spec leaves it open
        taken |= dict.fromkeys(("bf16", "fp16"), "train.precision")
    if isinstance(plugins := said.get("plugins"), list) and CUT in plugins and {*plugins} <= {CUT, LIGER}:
        taken["plugins"], told["loss"] = "strategy.loss", ("fused",)
        spec["targets.axolotl.packages"] = {kernels.CUT: kernels.RELEASE}
    if said.get("datasets") and all(
        isinstance(one, Mapping) and one.get("type") == "alpaca" for one in said["datasets"]
    ):
        told["template"] = (data.OWN_PROMPT,)
        notes += ("rows of alpaca have a prompt of Axolotl's own; other frameworks put them in the chat template",)
        idle["chat_template"] = "rows of alpaca have a prompt of their own"
    told |= {"existing": ("fail",) if run.stops_at_checkpoints else ("overwrite", "resume")}
    if not said.get("adapter"):
        told["method"] = ("full",)
    if task:
        told["task"] = (task,)
    if task == "pretrain":
        idle["train_on_inputs"] = "rows of plain text are learnt whole"
    if said.get("eval_strategy") in ("no", False):
        told["data.eval"] = ("none",)
        idle |= dict.fromkeys({"eval_strategy", "val_set_size", "test_datasets"} & said.keys(), "nothing is evaluated")
    if not any(said.get(f"use_{one}") for one in REPORTS):
        told["report_to"] = ("none",)
    known = {key.name for key in ENVIRONMENT}
    here = {key: value for key, value in run.environment.items() if key in known}
    main = Part(name, KEYS, said, f"axolotl-{version}", _defaults(said), taken, {**_IDLE, **idle}, own=True)
    all_parts = (*parts, main, Part("environment", ENVIRONMENT, here))
    return Settings(version, all_parts, told, spec, machines, (*notes, *lost))


def _told(run: Run) -> tuple[dict[str, Any], str, Machines]:
    """The YAML with what the command lays over it; behind `--` are words for the launcher."""
    if run.config is not None:
        return dict(run.config), "the config", run.machines
    arguments = list(run.arguments)
    if run.program.rpartition("/")[2] == "axolotl":
        arguments = arguments[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    behind = flags(arguments[cut + 1 :])
    path = next((word for word in arguments[:cut] if word.endswith((".yaml", ".yml"))), "")
    found = run.beside.mapping(path) if path else None
    if found is None:
        raise SpecError(f"{printable(path or 'the command')}: error: the command reads a YAML, and it is not there")
    over = {key.replace("-", "_"): value for key, value in flags(arguments[:cut]).items()}
    plain = over.get("launcher") == "python"
    for name in ("launcher", "nproc_per_node", "num_processes"):
        over.pop(name, None)
    counts = [
        str(behind.get(name) or behind.get(name.replace("_", "-")) or "") for name in ("nproc_per_node", "nnodes")
    ]
    processes, nodes = (int(count) if count.isdigit() and int(count) else None for count in counts)
    processes = 1 if plain else processes
    machines = run.machines._replace(processes=run.machines.processes or processes, nodes=run.machines.nodes or nodes)
    return {**found, **over}, path, machines


def _words(said: dict[str, Any]) -> None:
    """Put what older keys say into those that stand for them today."""
    for old, new in (("flash_attention", "flash_attention_2"), ("sdp_attention", "sdpa"), ("eager_attention", "eager")):
        if said.get(old) is True:
            said.setdefault("attn_implementation", new)
    if isinstance(sharding := said.get("fsdp_config"), Mapping):
        plain = {str(key).removeprefix("fsdp_"): value for key, value in sharding.items()}
        said["fsdp_config"] = {key: value for key, value in plain.items() if key not in _OF_FSDP1}
    if said.get("wandb_project"):
        said.setdefault("use_wandb", True)
    if said.get("adapter") == "qlora":
        said.setdefault("load_in_4bit", True)
    if said.get("gradient_checkpointing") == "offload":  # utils/schemas/validation.py
        said |= {"gradient_checkpointing": True, "activation_offloading": True}
    if said.get("activation_offloading") is True and not said.get("adapter"):  # what layers are computed again from
        said["activation_offloading"] = "hidden_states"
    if said.get("lora_target_modules") == []:
        del said["lora_target_modules"]
    if said.get("saves_per_epoch") == 1:
        said.setdefault("save_strategy", "epoch")
    if said.get("evals_per_epoch") == 1:
        said.setdefault("eval_strategy", "epoch")


def _engine(
    said: Mapping[str, Any], beside: Beside, version: str
) -> tuple[tuple[Part, ...], dict[str, tuple[Any, ...]], tuple[str, ...]]:
    """What shards: DeepSpeed, FSDP2 by the YAML's own words, or nothing."""
    if said.get("deepspeed"):
        found = deepspeed.json_of(said["deepspeed"], beside, DEEPSPEED[version])
        return (found.part,) if found.part else (), dict(found.told), found.notes
    if said.get("fsdp_config") or said.get("fsdp"):
        first = said.get("fsdp_version", 1) in (1, "1")
        notes = ("its first FSDP is taken for FSDP2, which Axolotl has in its place",) if first else ()
        return (), {"sharding": ("fsdp2",)}, notes
    return (), {"sharding": ("ddp",)}, ()


def _defaults(said: Mapping[str, Any]) -> dict[str, Any]:
    packs = said.get("sample_packing", False)
    made = {**_DEFAULTS, "pad_to_sequence_len": packs, "eval_sample_packing": packs, "bf16": not said.get("fp16")}
    made["fp16"] = False
    if said.get("bf16") == "auto":
        made |= dict.fromkeys(("bf16", "fp16"))
    made["save_strategy"] = "steps" if said.get("save_steps") else "epoch"
    made["eval_strategy"] = "steps" if said.get("eval_steps") else "epoch"
    made["eval_batch_size"] = said.get("micro_batch_size", 1)
    made["rl_beta"] = 0.1
    made["orpo_alpha"] = 0.1
    if said.get("rl") == "simpo":
        made["rl_beta"] = 2.0
    if "warmup_steps" in said:
        made["warmup_ratio"] = None
    if not said.get("rl"):
        made["dpo_loss_type"] = None
    made["bnb_config_kwargs.bnb_4bit_quant_type"] = "nf4"
    made["bnb_config_kwargs.bnb_4bit_use_double_quant"] = True
    return made


def _data(said: Mapping[str, Any], place: Place) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """The data sets, and the task that their rows alone tell."""
    listed = said.get("datasets") or said.get("pretraining_dataset") or ()
    found = [one for one in listed if isinstance(one, Mapping) and (one.get("path") or one.get("data_files"))]
    task = str(said.get("rl") or ("reward" if said.get("reward_model") else ""))
    if not task:
        task = "pretrain" if found and found[0].get("type") in ("completion", "pretrain") else "sft"
    if not found:
        return {}, task if not said.get("rl") else "", ("it names no data set: add data.train",)
    sets, notes = [], []
    for one in found:
        made, lost = _set(one, task, place)
        sets.append(made)
        notes += lost
    spec: dict[str, Any] = {"data.train": sets}
    tests = said.get("test_datasets")
    if isinstance(tests, list) and tests and isinstance(tests[0], Mapping) and isinstance(tests[0].get("path"), str):
        spec["data.eval"] = place.spec_path(tests[0]["path"])
    return spec, "" if said.get("rl") else task, tuple(notes)


def _set(one: Mapping[str, Any], task: str, place: Place) -> tuple[dict[str, Any], list[str]]:
    """One item of `datasets`, and what of it cannot be said."""
    path, made = str(one.get("path", "")), dict[str, Any]()
    files = one.get("data_files")
    if isinstance(files, list) and len(files) == 1:
        files = files[0]
    if isinstance(files, str) and (not path or one.get("ds_type") == path):
        path = files
    if path.startswith((".", "/", "~")) or PurePosixPath(path).suffix.removeprefix(".") in data.KINDS:
        made["path"] = place.spec_path(path)
    else:
        made["hub"] = path
        made |= {"subset": str(one["name"])} if one.get("name") else {}
        made |= {"split": str(one["split"])} if one.get("split") not in (None, "train") else {}
    form, columns, roles = _rows(one, task)
    usual = rows.usual(form, task)
    made["format"] = form
    if said := {name: column for name, column in columns.items() if usual.get(name) != column}:
        made["columns"] = said
    own = rows.roles(DatasetSpec(path="x"), form)
    if differing := {name: word for name, word in roles.items() if own.get(name) != word}:
        made["roles"] = differing
    kind = str(one.get("type") or "")
    known = ("", "completion", "chat_template", "chat_template.default", "alpaca", "bradley_terry.chat_template")
    lost = (
        []
        if kind in known or isinstance(one.get("type"), Mapping)
        else [f"rows of type {kind} of {path} are none of mfc's formats: taken for {form}"]
    )
    return made, lost


def _rows(one: Mapping[str, Any], task: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """The format of an item's rows, its columns and the words of its turns."""
    kind = one.get("type")
    if task == "pretrain":
        return "text", {"text": str(one.get("field") or "text")}, {}
    if kind == "alpaca" and task == "sft":
        return "alpaca", {}, {}
    if task == "sft":
        turns = one.get("message_property_mappings")
        said = turns if isinstance(turns, Mapping) else {}
        roles = {name: said[theirs] for name, theirs in (("key", "role"), ("content", "content")) if said.get(theirs)}
        words = one.get("roles") or {}
        for name in ("user", "assistant", "system", "tool"):
            found = words.get(name) if isinstance(words, Mapping) else None
            if isinstance(found, list) and len(found) == 1:
                roles[name] = str(found[0])
        form = "sharegpt" if roles.get("key") == "from" else "messages"
        return form, {"messages": str(one.get("field_messages") or "messages")}, {k: str(v) for k, v in roles.items()}
    if task in ("dpo", "simpo"):
        named = (("prompt", "field_messages"), ("chosen", "field_chosen"), ("rejected", "field_rejected"))
        return "preference", {name: str(one[key]) for name, key in named if one.get(key)}, {}
    if task == "reward":
        return "preference", {"prompt": "input"}, {}
    if task == "kto" and isinstance(kind, Mapping):
        named = (("prompt", "field_prompt"), ("response", "field_completion"), ("label", "field_label"))
        return "preference", {name: str(kind[key]) for name, key in named if kind.get(key)}, {}
    return next(iter(data.FORMATS.get(task, ("messages",)))), {}, {}


IMPORTS = Imports(starts, _MARKS, settings)
