"""The schedule of the learning rate as transformers says it: a name, numbers that go with it, and the warm-up.

Source: transformers optimization.py and training_args.py, 4.48 to 5.19.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mfc.spec.quantities import whole_steps
from mfc.target.codecs import Codec, Reader, Reading, Unwritten, Writing
from mfc.target.when import When, counted, is_

FLOORED = is_("schedule", "cosine_with_min_lr", "warmup_stable_decay")
WARMUP_STEPS, WARMUP_SHARE = counted("warmup"), When(lambda plan: isinstance(plan.values["warmup"], float))


def _scheduler(at: Writing) -> str:
    name: str = at.value("schedule")
    return "constant_with_warmup" if name == "constant" and at.value("warmup") else name


def _read_scheduler(name: Any, reader: Reader) -> Reading:
    schedule = "constant" if name == "constant_with_warmup" else name
    if schedule not in reader.domain("schedule"):
        raise Unwritten(f"{name!r} is none of {', '.join(reader.domain('schedule'))}")
    return {"schedule": (schedule,)}


# A constant one that warms up has a name of its own.
SCHEDULER = Codec(("schedule",), _scheduler, _read_scheduler)


def scheduler_numbers(stable: bool) -> Codec:
    """`lr_scheduler_kwargs`: where a schedule ends and when its decay starts.

    `stable`: the steps before the decay are written too, for a framework that would else have its own; they follow from
    the number of steps.
    """

    def write(at: Writing) -> dict[str, Any]:
        least: float = at.value("min_learning_rate")
        if at.value("schedule") == "cosine_with_min_lr":
            return {"min_lr": least}
        total = at.value("max_steps")
        falls = whole_steps(at.value("decay"), total or 0)
        made = {
            "num_decay_steps": falls,
            "decay_type": "cosine",
            "min_lr_ratio": ratio(least, at.value("learning_rate")),
        }
        if stable:
            made["num_stable_steps"] = total - whole_steps(at.value("warmup"), total) - falls
        return made

    def read(value: Any, reader: Reader) -> Reading:
        if not isinstance(value, Mapping):
            raise Unwritten(f"{value!r} is no mapping")
        if "min_lr" in value:
            return {"schedule": ("cosine_with_min_lr",), "min_learning_rate": (value["min_lr"],)}
        told: dict[str, tuple[Any, ...]] = {"schedule": ("warmup_stable_decay",)}
        falls, total = value["num_decay_steps"], reader.data.get("max_steps") or 0
        told["decay"] = (falls, *(part / 100 for part in range(1, 100) if whole_steps(part / 100, total) == falls))
        return {**told, **least_rate(value["min_lr_ratio"], reader.data["learning_rate"])}

    return Codec(("min_learning_rate", "decay", "schedule"), write, read).citing("min_learning_rate", "decay")


def as_json(codec: Codec) -> Codec:
    """The same as one text of JSON, as flags have it."""

    def write(at: Writing) -> str:
        return json.dumps(codec.write(at))

    def read(value: Any, reader: Reader) -> Reading:
        return codec.read(json.loads(value) if isinstance(value, str) else value, reader)

    return codec._replace(write=write, read=read)


def ratio(least: float, peak: float) -> float:
    """The least rate as a part of the peak, without the digits that only a division adds."""
    return _plain(least / peak)


def least_rate(part: float, peak: float) -> Reading:
    """The least rate from its part of the peak."""
    return {"min_learning_rate": (part * peak, _plain(part * peak))}


def _plain(number: float) -> float:
    return float(f"{number:.12g}")
