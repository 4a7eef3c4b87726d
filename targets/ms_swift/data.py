"""Data sets: the words of `--dataset`, and what ms-swift has to be told about columns.

ms-swift recognises messages, sharegpt and alpaca rows by themselves (swift/dataset/preprocessor/core.py); of others it
needs to know which column is what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
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


def training(plan: Plan) -> list[str]:
    """Paths and hub ids of the training sets."""
    return [str(one.path or one.hub) for one in plan.problem.spec.data.train]


def columns(plan: Plan) -> dict[str, str]:
    """Columns of the data by the names that ms-swift has for them; empty where it knows by itself."""
    task = plan.strategy.task
    made: dict[str, str] = {}
    for one in plan.problem.spec.data.train:
        form = layout(one, task)
        if form == "text":
            made["text"] = "response"
        elif form == "prompt":
            made["prompt"] = "query"
        elif form == "preference" and task == "kto":
            made |= {"prompt": "query", "completion": "response"}
        elif form == "preference":
            made |= {"prompt": "query", "chosen": "response", "rejected": "rejected_response"}
    return made


def weights_differ(plan: Plan) -> bool:
    """Whether the training sets are mixed in other shares than their sizes."""
    return len({one.weight for one in plan.problem.spec.data.train}) > 1


def shares(plan: Plan) -> list[float]:
    """The share of each training set in the mix."""
    weights = [one.weight for one in plan.problem.spec.data.train]
    return [float(f"{weight / sum(weights):.6g}") for weight in weights]


def evaluation_file(plan: Plan) -> str | None:
    """The file to evaluate on, when the spec names one."""
    asked = plan.problem.spec.data.eval
    return asked if isinstance(asked, str) and asked != "none" else None


def evaluation_share(plan: Plan) -> float:
    """The share of the training data to evaluate on; 0 = none."""
    asked = plan.problem.spec.data.eval
    return float(asked) if isinstance(asked, int | float) else 0.0


def evaluates(plan: Plan) -> bool:
    """Whether the run evaluates."""
    return evaluation_file(plan) is not None or evaluation_share(plan) > 0
