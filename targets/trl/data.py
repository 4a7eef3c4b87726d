"""Data sets: the list `datasets` of the YAML, whose items TRL gives to `datasets.load_dataset`.

Source: scripts/utils.py, get_dataset, of TRL 1.16.0. Rows have to be as TRL wants them: it renames no column but that
of plain texts, and no word for who speaks (data_utils.py, maybe_convert_to_chatml).
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

# Builders of the datasets library by the extension of a file.
BUILDERS = {"json": "json", "jsonl": "json", "parquet": "parquet", "csv": "csv", "txt": "text", "arrow": "arrow"}
# Layouts in which each task's rows can come.
FORMATS = {
    "pretrain": ("text",),
    "sft": ("messages",),
    "dpo": ("preference",),
    "reward": ("preference",),
    "kto": ("preference",),
    "grpo": ("prompt",),
}


def training(at: Writing) -> list[dict[str, Any]]:
    """The training sets, each as the arguments of load_dataset, with its share where shares differ."""
    sets = at.value("data.train")
    total = sum(one.weight for one in sets)
    weighted = WEIGHTED_SETS(at.plan)
    return [
        {**_source(one, at.out_to_spec), **({"fraction": round(one.weight / total, 6)} if weighted else {})}
        for one in sets
    ]


def _source(one: DatasetSpec, out_to_spec: str) -> dict[str, Any]:
    if one.hub:
        return {"path": one.hub, **({"name": one.subset} if one.subset else {}), "split": one.split or "train"}
    file = located(str(one.path), out_to_spec)
    builder = BUILDERS.get(PurePosixPath(str(one.path)).suffix.removeprefix("."))
    return {"path": builder, "data_files": file, "split": "train"} if builder else {"path": file, "split": "train"}


def text_columns(plan: Plan) -> list[str]:
    """What the sets call the column of plain texts."""
    return list(dict.fromkeys(rows.columns(one, "pretrain")["text"] for one in plan.problem.spec.data.train))


def text_column(at: Writing) -> str:
    """The column of plain texts; one for all sets (rule columns-have-their-names)."""
    return text_columns(at.plan)[0]
