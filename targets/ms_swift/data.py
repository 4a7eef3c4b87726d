"""Data sets: the words of `--dataset`, and what ms-swift has to be told about columns.

ms-swift recognises messages, sharegpt and alpaca rows by themselves (swift/dataset/preprocessor/core.py); of others it
needs to know which column is what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc.target.codecs import LEFT_OUT, Reader, Reading, Writing
from mfc.target.paths import located

if TYPE_CHECKING:
    from mfc.spec.models import DatasetSpec

PAIRS = ("dpo", "orpo", "simpo", "reward")
AUTO = {"pretrain": "text", "sft": "messages", "kto": "messages", "ppo": "prompt", "grpo": "prompt"}
FORMATS = {
    "pretrain": ("text", "messages"),
    "sft": ("messages", "sharegpt", "alpaca"),
    "kto": ("messages", "sharegpt", "alpaca", "preference"),
    "ppo": ("prompt", "messages", "sharegpt", "alpaca"),
    "grpo": ("prompt", "messages", "sharegpt", "alpaca"),
    **dict.fromkeys(PAIRS, ("preference", "messages", "sharegpt", "alpaca")),
}


def layout(dataset: DatasetSpec, task: str) -> str:
    """The format of a data set's rows, `auto` resolved."""
    return AUTO.get(task, "preference") if dataset.format == "auto" else dataset.format


def training(at: Writing) -> list[str]:
    """Paths and hub ids of the training sets."""
    sets = at.value("data.train")
    return [located(one.path, at.out_to_spec) if one.path else str(one.hub) for one in sets]


def columns(at: Writing) -> Any:
    """Columns of the data by the names that ms-swift has for them; left out where it knows by itself."""
    task = at.value("task")
    made: dict[str, str] = {}
    for one in at.value("data.train"):
        form = layout(one, task)
        if form == "text":
            made["text"] = "response"
        elif form == "prompt":
            made["prompt"] = "query"
        elif form == "preference" and task == "kto":
            made |= {"prompt": "query", "completion": "response"}
        elif form == "preference":
            made |= {"prompt": "query", "chosen": "response", "rejected": "rejected_response"}
    return made or LEFT_OUT


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
