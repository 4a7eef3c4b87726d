"""Which depths stand for a model, how a config is cut, and how moments grow."""

from __future__ import annotations

from typing import Any

import pytest
from mfc.simulate.depth import Depths, cut, depths, extrapolate, moments

GROUPS: list[tuple[str, list[int], Depths | None]] = [
    ("all alike", [0] * 32, Depths(3, 4, 29, 0)),
    ("three dense layers, then experts", [0] * 3 + [1] * 58, Depths(5, 6, 56, 3)),
    ("every fourth layer differs", [0, 0, 0, 1] * 12, Depths(8, 12, 10, 0)),
    ("and the pattern breaks off", ([0, 1] * 9)[:17], Depths(5, 7, 6, 0)),
    ("too shallow", [0] * 4, None),
    ("no pattern at all", [0, 1, 0, 0, 1, 1, 0, 1], None),
]


@pytest.mark.parametrize(("groups", "expected"), [row[1:] for row in GROUPS], ids=[row[0] for row in GROUPS])
def test_depths(groups: list[int], expected: Depths | None) -> None:
    found = depths(groups)
    assert found == expected
    if found:
        assert found.low + found.steps * (found.high - found.low) == len(groups)


@pytest.mark.parametrize(
    ("config", "layers", "expected"),
    [
        ({"num_hidden_layers": 8, "vocab_size": 9}, 3, {"num_hidden_layers": 3, "vocab_size": 9}),
        ({"n_layer": 4, "layer_types": list("abab")}, 2, {"n_layer": 2, "layer_types": ["a", "b"]}),
        ({"num_hidden_layers": 6, "mlp_only_layers": [0, 5]}, 3, {"num_hidden_layers": 3, "mlp_only_layers": [0]}),
        ({"num_hidden_layers": 6, "max_window_layers": 6}, 3, {"num_hidden_layers": 3, "max_window_layers": 3}),
        ({"text_config": {"num_hidden_layers": 6}, "x": 1}, 3, {"text_config": {"num_hidden_layers": 3}, "x": 1}),
    ],
)
def test_cut(config: dict[str, Any], layers: int, expected: dict[str, Any]) -> None:
    assert cut(config, layers) == expected


def step(layers: int) -> dict[str, int]:
    """A step whose layers' peaks are affine in depth and place; the ends differ, as they do."""
    peaks = {f"layer {i}": 100 * layers + 7 * i for i in range(layers)}
    peaks["layer 0"] -= 5
    peaks[f"layer {layers - 1}"] += 11
    return {"loss backward": 10 + 90 * layers, "optimizer": 3 * layers, **peaks}


def test_the_moments_of_a_deep_model_follow_from_two_shallow_ones() -> None:
    plan = depths([0] * 32)
    assert plan is not None
    made = extrapolate(moments(step(plan.low), plan.low), moments(step(plan.high), plan.high), plan.steps)
    real = moments(step(32), 32)
    assert made == {name: real[name] for name in made}
    assert max(made.values()) == max(real.values())
    assert {"layer 0 from the bottom", "layer 0 from the top", "loss backward", "optimizer"} <= made.keys()


def test_layers_of_the_beginning_are_not_taken_for_those_of_the_end() -> None:
    plan = depths([0] * 3 + [1] * 58)
    assert plan is not None
    names = moments(step(plan.low), plan.low, plan.prefix).keys()
    assert "layer 1 from the top" in names  # layer 3, of experts
    assert "layer 2 from the top" not in names  # layer 2, dense
