"""Data sets: the lists `datasets` and `test_datasets`, whose items say where rows lie and how to read them.

Source: utils/schemas/datasets.py, utils/data/*.py and prompt_strategies of Axolotl 0.19.0. For DPO, SimPO and KTO the
schema keeps a few keys of an item and drops the others without a word, the kind of file and the subset among them.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mfc import rows
from mfc.target.paths import located, named

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.spec.models import DatasetSpec
    from mfc.target.codecs import Writing

TOKENIZERS = "tokenizer_default"
# Rows in this layout have a prompt of Axolotl's own, which the template of the same name asks for.
OWN_PROMPT = "alpaca"
# Templates that Axolotl has by name (utils/chat_templates/templates), besides the tokenizer's.
TEMPLATES = (
    *("alpaca", "aya", "chatml", "cohere", "command_a", "command_a_rag", "command_a_tool_use", "deepseek_v2"),
    *("deepseek_v3", "exaone", "exaone4", "falcon_h1", "gemma", "gemma3", "gemma3n", "gemma4", "gemma4_unified"),
    *("jamba", "llama3", "llama3_2_vision", "llama4", "llava", "metharme", "mistral_v1", "mistral_v2v3"),
    *("mistral_v3_tekken", "mistral_v7_tekken", "nemotron_h", "phi_3", "phi_35", "pixtral", "qwen2_vl", "qwen3"),
    *("qwen3_5", "qwen_25", TOKENIZERS),
)
# What Axolotl calls a kind of file, by its extension; what it does not know by name is JSON to it.
KINDS = {"json": "json", "jsonl": "json", "parquet": "parquet", "csv": "csv", "txt": "text", "arrow": "arrow"}
# Layouts in which each task's rows can come.
FORMATS = {
    "pretrain": ("text",),
    "sft": ("messages", "sharegpt"),
    **dict.fromkeys(("dpo", "simpo", "orpo", "kto", "reward"), ("preference",)),
    "grpo": ("prompt",),
}
_LOSING = ("dpo", "simpo", "kto")  # tasks whose items keep a few keys only
_SPEAKERS = ("user", "assistant", "system", "tool")


def training(at: Writing) -> list[dict[str, Any]]:
    """The training sets."""
    return [_item(one, at.plan, at.out_to_spec) for one in at.value("data.train")]


def evaluation(at: Writing) -> list[dict[str, Any]]:
    """The file to evaluate on, with rows like those of the first training set."""
    first = at.value("data.train")[0]
    file = {"path": located(str(at.value("data.eval")), at.out_to_spec), "split": "train"}
    return [{**file, **_kind(str(at.value("data.eval")), at.plan), **_reading(first, at.plan.strategy.task)}]


def _item(one: DatasetSpec, plan: Plan, out_to_spec: str) -> dict[str, Any]:
    task = plan.strategy.task
    if one.hub:
        said = {"path": one.hub, **({"name": one.subset} if one.subset else {}), "split": one.split or "train"}
        return {**said, **_reading(one, task)}
    place = {"path": located(str(one.path), out_to_spec), "split": "train"}
    return {**place, **_kind(str(one.path), plan), **_reading(one, task)}


def _kind(path: str, plan: Plan) -> dict[str, str]:
    """The kind of a file, where an item keeps it; a folder has none."""
    kind = KINDS.get(PurePosixPath(path).suffix.removeprefix("."))
    return {"ds_type": kind} if kind and plan.strategy.task not in _LOSING else {}


def _reading(one: DatasetSpec, task: str) -> dict[str, Any]:
    """How rows become tokens."""
    form, named_columns = rows.layout(one, task), rows.columns(one, task)
    if task == "pretrain":
        return {"type": "completion", "field": named_columns["text"]}
    if form == OWN_PROMPT:
        return {"type": form}
    if task == "sft":
        said = rows.roles(one, form)
        return {
            "type": "chat_template",
            "field_messages": named_columns["messages"],
            "message_property_mappings": {"role": said["key"], "content": said["content"]},
            "roles": {name: [said[name]] for name in _SPEAKERS},
            "roles_to_train": ["assistant"],
            "train_on_eos": "turn",
        }
    if task in ("dpo", "simpo"):
        return {
            "type": "chat_template.default",
            "field_messages": named_columns["prompt"],
            "field_chosen": named_columns["chosen"],
            "field_rejected": named_columns["rejected"],
        }
    if task == "kto":
        columns = {"field_prompt": "prompt", "field_completion": "response", "field_label": "label"}
        return {"type": {key: named_columns[name] for key, name in columns.items()}}
    if task == "reward":
        return {"type": "bradley_terry.chat_template"}
    return {}  # ORPO and GRPO: columns as they are


__all__ = ["FORMATS", "KINDS", "OWN_PROMPT", "TEMPLATES", "TOKENIZERS", "evaluation", "named", "training"]
