"""Trace few layers, know many: every moment of a step is affine in the number of layers; their maximum is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHALLOW = 3  # layers of the smaller trace at least: both ends and one between
LAYER_KEYS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")


@dataclass(frozen=True, slots=True)
class Depths:
    """Two depths to trace, one period of kinds of layers apart; the whole model is `steps` periods deeper than `low`.

    The first `prefix` layers are of kinds that do not come again.
    """

    low: int
    high: int
    steps: int
    prefix: int


def depths(groups: Sequence[int]) -> Depths | None:
    """Which depths stand for a whole model, given the kind of each layer; None when tracing it whole is as quick."""
    whole = len(groups)
    prefix, period = _rhythm(groups)
    low = max(SHALLOW, prefix + 2 * period)
    low += (whole - low) % period
    high = low + period
    return Depths(low, high, (whole - low) // period, prefix) if high < whole else None


def _rhythm(groups: Sequence[int]) -> tuple[int, int]:
    """(p, n): from layer p on, kinds repeat every n layers; the pair that needs fewest layers."""
    best = (0, len(groups))
    for period in range(1, len(groups) + 1):
        prefix = len(groups) - period
        while prefix > 0 and groups[prefix - 1] == groups[prefix - 1 + period]:
            prefix -= 1
        best = min(best, (prefix, period), key=lambda pair: (sum(pair), pair[1]))
    return best


def cut(config: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """The same config with fewer layers: lists that say something of each layer are cut as well."""
    text = next((config[name] for name in ("text_config", "llm_config") if name in config), config)
    whole = next(text[key] for key in LAYER_KEYS if key in text)
    made: dict[str, Any] = {}
    for key, value in config.items():
        if value is text:
            made[key] = cut(text, layers)
        elif key in LAYER_KEYS:
            made[key] = layers
        elif isinstance(value, list) and len(value) == whole:
            made[key] = value[:layers]
        elif isinstance(value, list) and key.endswith("layers"):  # indices of layers
            made[key] = [index for index in value if not isinstance(index, int) or index < layers]
        elif key == "max_window_layers" and isinstance(value, int):
            made[key] = min(value, layers)
        else:
            made[key] = value
    return made


def moments(peaks: Mapping[str, int], depth: int, prefix: int = 0) -> dict[str, int]:
    """The peaks of a trace by names that mean the same at any depth: layers are counted from both ends."""
    found = {name: size for name, size in peaks.items() if not name.startswith("layer ")}
    for index in range(depth):
        size = peaks.get(f"layer {index}")
        if size is not None:
            if index < depth - 1:  # the top layer begins with the final norm
                found[f"layer {index} from the bottom"] = size
            if index > 0 and index >= prefix:
                found[f"layer {depth - 1 - index} from the top"] = size
    return found


def extrapolate(low: Mapping[str, int], high: Mapping[str, int], steps: int) -> dict[str, int]:
    """The moments at full depth: those of the smaller trace and `steps` times the difference of both."""
    return {name: size + steps * (high[name] - size) for name, size in low.items() if name in high}
