"""Rows of data sets: what each layout calls its columns and the turns of its conversations, and what a spec renames.

Columns have one name in the spec, whatever the layout (prompt, response, messages ...); here is what a layout calls
them when the spec says nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mfc.spec.inputs import ColumnsSpec, DatasetSpec, RolesSpec

PAIRS = ("reward", "dpo", "orpo", "simpo")  # tasks that learn from a chosen and a rejected answer
CHATS = ("messages", "sharegpt")  # layouts whose rows are conversations

# What the format `auto` means: the usual layout of each task; of all others, pairs.
_AUTO = {
    "pretrain": "text",
    **dict.fromkeys(("sft", "distill", "kto"), "messages"),
    **dict.fromkeys(("ppo", "grpo"), "prompt"),
}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output"},
    "sharegpt": {"messages": "conversations"},
    "messages": {"messages": "messages"},
    "text": {"text": "text"},
    "preference": {"prompt": "prompt"},
    "prompt": {"prompt": "prompt"},
}
ROLES: Mapping[str, Mapping[str, str]] = {
    "sharegpt": {
        "key": "from",
        "content": "value",
        "user": "human",
        "assistant": "gpt",
        "system": "system",
        "tool": "observation",
        "function": "function_call",
    },
    "messages": {
        "key": "role",
        "content": "content",
        "user": "user",
        "assistant": "assistant",
        "system": "system",
        "tool": "tool",
        "function": "function",
    },
}
# Columns that a layout may have besides, and does not by itself.
_BESIDES = {"alpaca": ("system",), "sharegpt": ("system", "tools"), "messages": ("system", "tools")}


def layout(one: DatasetSpec, task: str) -> str:
    """The format of a data set's rows, `auto` resolved."""
    return _AUTO.get(task, "preference") if one.format == "auto" else one.format


def columns(one: DatasetSpec, task: str, pictures: str = "") -> dict[str, str]:
    """What the columns of a data set are called, by their names in the spec; `pictures`: images, videos or none."""
    made, said = usual(layout(one, task), task), renamed(one)
    if "prompt" in said:  # whoever names the prompt would have named what follows it
        made.pop("query", None)
    return {**made, **({pictures: pictures} if pictures else {}), **said}


def usual(form: str, task: str) -> dict[str, str]:
    """What a layout calls its columns."""
    made = dict(COLUMNS[form])
    if task in PAIRS:
        made.pop("response", None)
        made |= {"chosen": "chosen", "rejected": "rejected"}
    elif task == "kto":
        made |= {"response": "completion"} if form == "preference" else {}
        made["label"] = "label"
    return made


def may_have(form: str, task: str) -> tuple[str, ...]:
    """The columns that a spec may name for a layout."""
    return (*usual(form, task), *_BESIDES.get(form, ()), "images", "videos")


def like(names: Collection[str]) -> list[str]:
    """The formats whose own columns these columns hold, so far as rows cannot be without them."""
    optional = {"query"}
    return [
        form
        for form, columns in {**COLUMNS, "preference": {"chosen": "chosen", "rejected": "rejected"}}.items()
        if all(column in names for name, column in columns.items() if name not in optional)
    ]


def renamed(one: DatasetSpec) -> dict[str, str]:
    """The columns that the spec names."""
    return _said(one.columns)


def roles(one: DatasetSpec, form: str) -> dict[str, str]:
    """How the turns of a conversation are written: the keys of a turn, and the word for each who speaks."""
    said = _said(one.roles)
    return {**ROLES[form], **said} if form in ROLES else said


def _said(names: ColumnsSpec | RolesSpec) -> dict[str, str]:
    """What a section of names says."""
    every = {name: getattr(names, name) for name in type(names).model_fields}
    return {name: value for name, value in every.items() if value is not None}


def options(one: DatasetSpec) -> tuple[str, ...]:
    """What a data set says beyond where it lies, its format and its weight."""
    given = {
        "subset": one.subset,
        "split": one.split,
        "columns": renamed(one),
        "roles": _said(one.roles),
        "samples": one.samples,
    }
    return tuple(name for name, value in given.items() if value)
