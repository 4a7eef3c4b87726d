"""Data sets: the words of `--dataset`, and what ms-swift has to be told about columns.

ms-swift recognises messages, sharegpt and alpaca rows by themselves (swift/dataset/preprocessor/core.py); of others it
needs to know which column is what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc import rows
from mfc.target.codecs import LEFT_OUT, Reader, Reading, Writing
from mfc.target.paths import located
from mfc.target.when import When

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.spec.models import DatasetSpec

INFO = "dataset_info.json"
FORMATS = {
    "pretrain": ("text", "messages"),
    "sft": ("messages", "sharegpt", "alpaca"),
    "kto": ("messages", "sharegpt", "alpaca", "preference"),
    "ppo": ("prompt", "messages", "sharegpt", "alpaca"),
    "grpo": ("prompt", "messages", "sharegpt", "alpaca"),
    **dict.fromkeys(rows.PAIRS, ("preference", "messages", "sharegpt", "alpaca")),
}
# ms-swift's names of columns, by layout, and of the words of turns.
_COMMON = {name: name for name in ("system", "tools", "label", "images", "videos", "messages")}
_COLUMNS = {
    "text": {"text": "response"},
    "prompt": {"prompt": "query"},
    "preference": {"prompt": "query", "response": "response", "chosen": "response", "rejected": "rejected_response"},
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output"},
}
ROLES = {
    "key": "role_key",
    "content": "content_key",
    "user": "user_role",
    "assistant": "assistant_role",
    "system": "system_role",
}


def _described(plan: Plan) -> bool:
    """Whether data sets need a description: they rename columns or roles, or name a split."""
    return any({"split", "columns", "roles"} & {*rows.options(one)} for one in plan.problem.spec.data.train)


DESCRIBED = When(_described)
PLAIN = When(lambda plan: not _described(plan))


def training(at: Writing) -> list[str]:
    """Paths, hub ids or names of the training sets, each with its subset and how many of its rows are used."""
    sets, described = at.value("data.train"), DESCRIBED(at.plan)
    return [
        _word(f"train_{number}" if described else _place(one, at.out_to_spec), one, described)
        for number, one in enumerate(sets, 1)
    ]


def _place(one: DatasetSpec, out_to_spec: str) -> str:
    return located(one.path, out_to_spec) if one.path else str(one.hub)


def _word(place: str, one: DatasetSpec, described: bool) -> str:
    subset = f":{one.subset}" if one.subset and not described else ""
    return f"{place}{subset}" + (f"#{one.samples}" if one.samples else "")


def columns(at: Writing) -> Any:
    """Columns of the data by the names that ms-swift has for them; left out where it knows by itself."""
    made: dict[str, str] = {}
    for one in at.value("data.train"):
        made |= renames(one, at.value("task"))
    return made or LEFT_OUT


def renames(one: DatasetSpec, task: str) -> dict[str, str]:
    """Column of a data set -> ms-swift's name for it, without those that ms-swift finds by itself."""
    form = rows.layout(one, task)
    theirs = names(form)
    named = rows.renamed(one) if form not in ("text", "prompt", "preference") else rows.columns(one, task)
    return {column: theirs[name] for name, column in named.items() if theirs[name] != column}


def names(form: str) -> dict[str, str]:
    """ms-swift's names of the columns of a layout, by the spec's."""
    return {**_COMMON, **_COLUMNS.get(form, {})}


def info(plan: Plan, out_to_spec: str) -> list[dict[str, Any]]:
    """The content of dataset_info.json, for data sets that need one (swift/dataset/register.py)."""
    task, hub = plan.strategy.task, {"huggingface": "hf_dataset_id", "modelscope": "ms_dataset_id"}[plan.values["hub"]]
    made = []
    for number, one in enumerate(plan.problem.spec.data.train, 1):
        entry: dict[str, Any] = {"dataset_name": f"train_{number}"}
        entry["dataset_path" if one.path else hub] = _place(one, out_to_spec)
        if one.subset:
            entry["subsets"] = [one.subset]
        if one.split:
            entry["split"] = [one.split]
        if named := renames(one, task):
            entry["columns"] = named
        if "roles" in rows.options(one):
            roles = rows.roles(one, rows.layout(one, task))
            entry["messages"] = {word: roles[name] for name, word in ROLES.items()}
        made.append(entry)
    return made


def shares(at: Writing) -> list[float]:
    """The share of each training set in the mix."""
    weights = [one.weight for one in at.value("data.train")]
    return [float(f"{weight / sum(weights):.6g}") for weight in weights]


def held_out(at: Writing) -> float:
    """The share of the training data to evaluate on; 0 = none."""
    asked = at.value("data.eval")
    return float(asked) if isinstance(asked, int | float) else 0.0


def read_held_out(share: Any, _: Reader) -> Reading:
    """A share is the spec's; without one, a file may be there to evaluate on."""
    return {"data.eval": (share,)} if share else {}
