"""When two runs mean the same by a field, however each of them says it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mfc.target.values import adapted, equal

if TYPE_CHECKING:
    from mfc.diff.side import Side


def alike(field: str, a: Side, b: Side) -> bool:
    """Whether a field that both have is the same of both."""
    one, other = (_plain(_form(field, side, side.values[field].value)) for side in (a, b))
    return equal(one, other)


def _form(field: str, side: Side, value: Any) -> Any:
    return _FORMS[field](side, value) if field in _FORMS else value


def _plain(value: Any) -> Any:
    """A list of names as the text that others say it by; None for all that says nothing."""
    if value in ("none", "", (), []):
        return None
    return ",".join(value) if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value) else value


def _steps(side: Side, value: Any) -> Any:
    """A share of the steps as their number, where it is known; a whole number is one already."""
    steps = side.values.get("max_steps")
    return round(value * steps.value) if isinstance(value, float) and value < 1 and steps and steps.value else value


def _share(_: Side, value: Any) -> Any:
    """Nothing held back is a share of nothing."""
    return None if not isinstance(value, str) and not value else value


def _layers(side: Side, value: Any) -> Any:
    """The names of the layers that get adapters, where the model is known."""
    if side.plan is None or side.plan.strategy.lora is None:
        return ",".join(sorted(value.split(","))) if isinstance(value, str) else value
    return sorted(adapted(side.plan))


def _rewards(side: Side, value: Any) -> Any:
    """Rewards, or their weights, in the order of the rewards' names."""
    names = side.values["rewards"].value if "rewards" in side.values else ()
    if not isinstance(value, list | tuple) or len(names) != len(value):
        return value
    return [_path(side, one) for _, one in sorted(zip((_path(side, name) for name in names), value, strict=True))]


def _path(side: Side, value: Any) -> Any:
    """A file or a folder by its whole path; any other name as it is."""
    if not isinstance(value, str) or not (value.startswith((".", "/")) or os.path.exists(side.folder / value)):
        return value
    return os.path.realpath(side.folder / value)


_FORMS: Mapping[str, Callable[[Side, Any], Any]] = {
    "model.id": _path,
    "model.adapter": _path,
    "warmup": _steps,
    "decay": _steps,
    "data.eval": _share,
    "lora_targets": _layers,
    "rewards": _rewards,
    "reward_weights": _rewards,
}
