"""Warm-up and fall of the learning rate, in mmengine's param schedulers.

They count micro-steps where the spec counts steps, and epochs else, which XTuner turns into micro-steps as it starts.
The warm-up reaches the peak in its last step, one step before that of transformers.
Source: mmengine 0.10.6 optim/scheduler/param_scheduler.py and runner/runner.py; XTuner 0.2.0 engine/runner/loops.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

from mfc.spec.quantities import whole_steps
from mfc.target.codecs import Codec, Reader, Reading, Unwritten, Writing

WARMUP_START = 1e-5  # of the peak rate, as XTuner's own configs have it
_COSINE, _LINE = "mmengine.optim:CosineAnnealingLR", "mmengine.optim:LinearLR"
_FALLS = {"cosine": _COSINE, "cosine_with_min_lr": _COSINE, "warmup_stable_decay": _COSINE, "linear": _LINE}
SCHEDULES = (*_FALLS, "constant")
CODE = (_COSINE, _LINE)


class _Turns(NamedTuple):
    """When the warm-up ends, the fall begins and the run ends: in epochs, or in micro-steps."""

    by_epoch: bool
    warm: float
    falls: float
    end: float


def _turns(at: Writing) -> _Turns:
    values = at.plan.values
    steps, warmup, decay = values["max_steps"], values["warmup"], values["decay"] or 0.0
    if steps is None and isinstance(warmup, float):
        end = values["epochs"]
        warm = round(warmup * end, 6)
        return _Turns(True, warm, round((1 - decay) * end, 6) if decay else warm, end)
    micro, total = values["gradient_accumulation"], steps or 0
    warm = micro * whole_steps(warmup, total)
    return _Turns(False, warm, micro * (total - whole_steps(decay, total)) if decay else warm, micro * total)


def _write(at: Writing) -> list[dict[str, Any]]:
    values, turns = at.plan.values, _turns(at)
    name, least = values["schedule"], values["min_learning_rate"] or 0.0
    span = {"by_epoch": turns.by_epoch, **({"convert_to_iter_based": True} if turns.by_epoch else {})}
    made: list[dict[str, Any]] = []
    if turns.warm > (0 if turns.by_epoch else 1):  # a rate that has risen for one micro-step never rises again
        start = WARMUP_START
        if name == "warmup_stable_decay":  # which rises from where it ends
            start = max(start, least / values["learning_rate"])
        made.append({"type": _LINE, "start_factor": start, "begin": 0, "end": turns.warm, **span})
    fall = {"begin": turns.falls, "end": turns.end, **span}
    if _FALLS.get(name) == _COSINE:
        made.append({"type": _COSINE, "eta_min": least, **fall})
    elif name == "linear":
        made.append({"type": _LINE, "start_factor": 1.0, "end_factor": 0.0, **fall})
    return made


def _read(value: Any, _: Reader) -> Reading:
    falls = [one for one in value if one["type"] == _COSINE or "end_factor" in one]
    rises = [one for one in value if one not in falls]
    if len(falls) > 1 or len(rises) > 1 or any(one["type"] != _LINE for one in rises):
        raise Unwritten("it is no warm-up with one cosine or line after it")
    if not falls:
        return {"schedule": ("constant",)}
    (fall,) = falls
    if fall["type"] == _LINE:
        return {"schedule": ("linear",)}
    found = ["cosine"] if not fall["eta_min"] else ["cosine_with_min_lr"]
    stable = fall["begin"] > sum(one["end"] for one in rises) and fall["begin"] != 1  # 1: a warm-up that is left out
    least = (fall["eta_min"],) if fall["eta_min"] else (None, 0.0)
    return {"schedule": ("warmup_stable_decay", *(() if stable else found)), "min_learning_rate": least}


def told(config: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Warm-up and fall as the spec has them: shares of the epochs, or optimizer steps."""
    parts = [one for one in config.get("param_scheduler") or () if isinstance(one, Mapping)]
    falls = [one for one in parts if one.get("type") == _COSINE or "end_factor" in one]
    rises = [one for one in parts if one.get("type") == _LINE and one not in falls]
    warm = rises[0].get("end", 0) if rises else 0
    begin = falls[0].get("begin", warm) if len(falls) == 1 else warm
    if not (_count(warm) and _count(begin)):
        return {}
    if any(one.get("by_epoch", True) for one in parts):
        epochs = config.get("max_epochs")
        if not _count(epochs) or not epochs:
            return {}
        return {"warmup": (round(warm / epochs, 9),), "decay": (round(1 - begin / epochs, 9),)}
    each, end = config.get("accumulative_counts", 1), falls[0].get("end") if falls else None
    if not isinstance(each, int) or each < 1:
        return {}
    steps = round(warm / each) if rises else int(begin == 1 == each)  # one that has risen at once is left out
    return {"warmup": (steps,), **({"decay": (round((end - begin) / each),)} if _count(end) else {})}


def _count(found: Any) -> TypeGuard[float]:
    return isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found < 1e12


# What is read is how it falls: parts that were steps and parts that were shares look alike.
PARTS = Codec(("schedule", "warmup", "min_learning_rate", "decay"), _write, _read)
