"""Data sets: LLaMA-Factory's `dataset_info.json`, and what the keys of the YAML say that go with it.

Source: data/parser.py and data/converter.py of LLaMA-Factory 0.9.5. A `columns` (or `tags`) block sets every column
that it does not name to null, so the blocks below are always whole.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mfc.target.paths import located
from mfc.target.when import WEIGHTED_SETS

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.spec.models import DatasetSpec
    from mfc.target.codecs import Writing

FILE_TYPES = ("arrow", "csv", "json", "jsonl", "parquet", "txt")
PAIRS = ("reward", "dpo", "orpo", "simpo")

# What the format `auto` means: the usual layout for each task.
AUTO = {"pretrain": "text", "sft": "messages", "kto": "messages"}  # all others: preference

_COLUMNS: dict[str, dict[str, str]] = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output"},
    "sharegpt": {"messages": "conversations"},
    "messages": {"messages": "messages"},
    "text": {"prompt": "text"},
    "preference": {"prompt": "prompt"},
}
_TAGS: dict[str, dict[str, str]] = {
    "sharegpt": {
        "role_tag": "from",
        "content_tag": "value",
        "user_tag": "human",
        "assistant_tag": "gpt",
        "observation_tag": "observation",
        "function_tag": "function_call",
        "system_tag": "system",
    },
    "messages": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "observation_tag": "tool",
        "function_tag": "function",
        "system_tag": "system",
    },
}
# Formats in which each task's rows can come.
FORMATS = {
    "pretrain": ("text",),
    "sft": ("messages", "sharegpt", "alpaca"),
    "kto": ("messages", "sharegpt", "alpaca", "preference"),
    **dict.fromkeys(PAIRS, ("preference", "messages", "sharegpt", "alpaca")),
}


def layout(dataset: DatasetSpec, task: str) -> str:
    """The format of a data set's rows, `auto` resolved."""
    return AUTO.get(task, "preference") if dataset.format == "auto" else dataset.format


def training_sets(plan: Plan) -> dict[str, DatasetSpec]:
    """The spec's training sets by the name they get."""
    sets = plan.problem.spec.data.train
    return {"train" if len(sets) == 1 else f"train_{number}": one for number, one in enumerate(sets, 1)}


def evaluation_file(plan: Plan) -> str | None:
    """The file to evaluate on, when the spec names one."""
    asked = plan.problem.spec.data.eval
    return asked if isinstance(asked, str) and asked != "none" else None


def dataset_info(plan: Plan, out_to_spec: str) -> dict[str, Any]:
    """The content of dataset_info.json; paths are relative to the output folder."""
    task, pictures = plan.strategy.task, ""
    if plan.problem.model.architecture.vision is not None:
        pictures = "videos" if plan.values["image_frames"] else "images"
    made = {}
    for name, one in training_sets(plan).items():
        source = {"hf_hub_url": one.hub} if one.hub else {"file_name": located(str(one.path), out_to_spec)}
        made[name] = {**source, **_rows(layout(one, task), task, pictures)}
    if file := evaluation_file(plan):
        first = layout(plan.problem.spec.data.train[0], task)
        made["eval"] = {"file_name": located(file, out_to_spec), **_rows(first, task, pictures)}
    return made


def _rows(form: str, task: str, pictures: str) -> dict[str, Any]:
    """How to read rows of one format for one task; `pictures` is the column of images or videos, if there is one."""
    columns = dict(_COLUMNS[form])
    if task in PAIRS:
        columns.pop("response", None)
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    elif task == "kto":
        columns |= {"response": "completion"} if form == "preference" else {}
        columns["kto_tag"] = "label"
    if pictures:
        columns[pictures] = pictures
    entry: dict[str, Any] = {"formatting": {"sharegpt": "sharegpt", "messages": "openai"}.get(form, "alpaca")}
    if task in PAIRS:
        entry["ranking"] = True
    entry["columns"] = columns
    if form in _TAGS:
        entry["tags"] = _TAGS[form]
    return entry


def names(at: Writing) -> str:
    """The names of the training sets, with commas."""
    return ",".join(training_sets(at.plan))


def media_folder(at: Writing) -> str:
    """Where the relative paths of images start: the folder of the first data file."""
    paths = [one.path for one in at.plan.problem.spec.data.train if one.path]
    return located(str(PurePosixPath(paths[0]).parent), at.out_to_spec) if paths else at.out_to_spec


def mixture(at: Writing) -> str:
    """How several sets become one: one after the other, or by their weights until all have been seen."""
    return "interleave_over" if WEIGHTED_SETS(at.plan) else "concat"


def shares(at: Writing) -> str:
    """The share of each training set in the mix, with commas."""
    weights = [one.weight for one in at.plan.problem.spec.data.train]
    return ",".join(f"{weight / sum(weights):.6g}" for weight in weights)
