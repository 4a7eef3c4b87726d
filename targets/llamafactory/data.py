"""Data sets: LLaMA-Factory's `dataset_info.json`, and what the keys of the YAML say that go with it.

Source: data/parser.py and data/converter.py of LLaMA-Factory 0.9.5. A `columns` (or `tags`) block sets every column
that it does not name to null, so the blocks below are always whole.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mfc import rows
from mfc.target.paths import located
from mfc.target.when import WEIGHTED_SETS

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.spec.models import DatasetSpec
    from mfc.target.codecs import Writing

FILE_TYPES = ("arrow", "csv", "json", "jsonl", "parquet", "txt")
# LLaMA-Factory's names of columns and tags, where they are not the spec's.
_COLUMNS = {"text": "prompt", "label": "kto_tag"}
_TAGS = {
    "key": "role_tag",
    "content": "content_tag",
    "user": "user_tag",
    "assistant": "assistant_tag",
    "tool": "observation_tag",
    "function": "function_tag",
    "system": "system_tag",
}
SPEC_ROLES = {tag: name for name, tag in _TAGS.items()}
# Formats in which each task's rows can come.
FORMATS = {
    "pretrain": ("text",),
    "sft": ("messages", "sharegpt", "alpaca"),
    "kto": ("messages", "sharegpt", "alpaca", "preference"),
    **dict.fromkeys(rows.PAIRS, ("preference", "messages", "sharegpt", "alpaca")),
}


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
    if plan.values["image_share"]:  # a column that is named is read from every row, and has to be there
        pictures = "videos" if plan.values["image_frames"] else "images"
    url = {"huggingface": "hf_hub_url", "modelscope": "ms_hub_url"}[plan.values["hub"]]
    made = {}
    for name, one in training_sets(plan).items():
        source = {url: one.hub} if one.hub else {"file_name": located(str(one.path), out_to_spec)}
        part = {"subset": one.subset, "split": one.split, "num_samples": one.samples}
        said = {key: value for key, value in part.items() if value is not None}
        made[name] = {**source, **said, **rows_of(one, task, pictures)}
    if file := evaluation_file(plan):
        first = plan.problem.spec.data.train[0]
        made["eval"] = {"file_name": located(file, out_to_spec), **rows_of(first, task, pictures)}
    return made


def rows_of(one: DatasetSpec, task: str, pictures: str) -> dict[str, Any]:
    """How to read the rows of a data set for one task; `pictures` is images, videos or nothing."""
    form = rows.layout(one, task)
    entry: dict[str, Any] = {"formatting": {"sharegpt": "sharegpt", "messages": "openai"}.get(form, "alpaca")}
    if task in rows.PAIRS:
        entry["ranking"] = True
    named = rows.columns(one, task, pictures)
    entry["columns"] = {_COLUMNS.get(name, name): column for name, column in named.items()}
    if form in rows.CHATS:
        roles = rows.roles(one, form)
        entry["tags"] = {tag: roles[name] for name, tag in _TAGS.items()}
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
