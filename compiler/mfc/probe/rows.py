"""What the rows of a probe look like: the layout of the run's own, with words instead of what it would learn."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

from mfc import rows
from mfc.errors import Refused
from mfc.probe.plan import data_file, evaluated, trained

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.spec.models import Spec

# Tokens that a chat template puts around the words, where nothing cuts a row that is too long. An assumption.
AROUND = 64
_WHO = {"prompt": "user", "chosen": "assistant", "rejected": "assistant", "response": "assistant"}


def recipe(spec: Spec, plan: Plan, seen: str) -> dict[str, Any]:
    """How to make the rows: `runner.make_rows` takes it.

    `spec` is the run's own, `plan` the probe's, `seen` leads from the probe's folder to that of the spec. Raises
    Refused for rows that cannot be made.
    """
    if plan.values.get("image_frames"):
        raise Refused("run.probe", "a probe makes pictures, and no videos", "leave it out")
    from mfc.target.paths import located

    [one] = plan.problem.spec.data.train
    task, pictures = plan.strategy.task, plan.strategy.pictures if plan.values.get("image_share") else 0
    columns = rows.columns(one, task, "images" if pictures else "")
    made = _rows(plan, columns, pictures)
    evaluates = plan.problem.spec.data.eval
    share = isinstance(evaluates, float) and evaluates > 0
    files = {data_file(spec, "rows"): trained(plan) + (evaluated(plan) if share else 0)}
    if isinstance(evaluates, str) and evaluates != "none":
        files[data_file(spec, "eval")] = evaluated(plan)
    first = spec.data.train[0].path
    return {
        "files": files,
        "rows": made,
        "turns": {columns[name]: role for name, role in _WHO.items() if name in columns},
        "like": located(first, seen) if first else "",
        "side": isqrt(plan.strategy.image_max_pixels or 0) if pictures else 0,
    }


def words(plan: Plan, pictures: int) -> int:
    """Words of a row, each a token at least.

    As many as tokens in the longest row where more are cut off; a little less where they are not, or where a cut could
    go through a picture.
    """
    strategy, vision = plan.strategy, plan.problem.model.architecture.vision
    longest = plan.values.get("max_prompt_length") or strategy.max_length
    shown = pictures * vision.tokens(strategy.image_max_pixels or 0) if vision and not vision.pictures.cross else 0
    if shown or plan.values["overlong"] == "drop" or strategy.rollout is not None:
        return max(longest - shown - AROUND, longest // 8)
    return int(longest)


def _rows(plan: Plan, columns: dict[str, str], pictures: int) -> list[dict[str, Any]]:
    """One row, or two that take turns where labels differ."""
    [one] = plan.problem.spec.data.train
    form = rows.layout(one, plan.strategy.task)
    said = rows.roles(one, form)
    long, generates = f"<<{words(plan, pictures)} words>>", plan.strategy.rollout is not None
    ask = "<image>" * pictures + (long if generates else "Say the letters.")

    def turn(who: str, text: str) -> dict[str, str]:
        return {said.get("key", "role"): said.get(who, who), said.get("content", "content"): text}

    def answer() -> Any:
        return turn("assistant", long) if form in rows.CHATS else long

    made: dict[str, Any] = {}
    if "text" in columns:
        made[columns["text"]] = long
    if "prompt" in columns:
        made[columns["prompt"]] = ask
    if "query" in columns:
        made[columns["query"]] = ""
    if "messages" in columns:
        ends = generates or "chosen" in columns
        made[columns["messages"]] = [turn("user", ask), *([] if ends else [turn("assistant", long)])]
    if "response" in columns:
        made[columns["response"]] = long
    for name in ("chosen", "rejected"):
        if name in columns:
            made[columns[name]] = answer()
    if pictures:
        made[columns["images"]] = ["<<picture>>"] * pictures
    if "label" in columns:
        return [{**made, columns["label"]: label} for label in (True, False)]
    return [made]
