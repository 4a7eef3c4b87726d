"""What a second tower's map holds (`Mining`): bytes of the pictures of one sequence on one GPU.

Each token attends to the patch of the map that it covers, outside gradient checkpointing. The map comes from a frozen
tower and all projections train, so their inputs are kept, and none of them lets a gradient through to the map. Held to
saved-tensor hooks on the real function (tests/memory/test_mining.py).
"""

from __future__ import annotations

from math import isqrt
from typing import NamedTuple

from mfc.catalog.architecture import Mining, Vision

_FP32 = 4.0


class Mined(NamedTuple):
    """What the second tower and the attention to its map hold."""

    pixels: float  # the pictures that the second tower sees
    passing: float  # at the busiest moment, until attention has looked at the map
    kept: float  # from then until its backward pass
    backward: float  # beside that, while this runs


def mined(vision: Vision, pixels: int, pictures: int, element: float, pixel: float) -> Mined:
    """What `pictures` pictures of so many pixels hold. `element`: bytes of a number, `pixel`: of one of a picture."""
    mining = vision.mining
    assert mining is not None
    side = isqrt(pixels)
    positions = (side // mining.stride) ** 2
    tiles = vision.pictures.count(pixels)
    each = positions / mining.grid**2  # of one tile, and of the overview, which is made as small
    joined = sum(mining.channels)
    tile = each * _position(mining, element) + mining.queries**2 * _query(mining, element)
    backward = element * (joined + 2 * mining.width) * positions
    return Mined(
        pixels=3.0 * side**2 * pixel * pictures,
        passing=_passing(mining, element, tiles > mining.grid**2) * positions * pictures,
        kept=tile * tiles * pictures,
        backward=backward * pictures,
    )


def _position(mining: Mining, element: float) -> float:
    """A position of the map: the map by patches, normalised for keys and for values, scaled keys and values.

    The two norms keep mean and deviation in fp32, attention its scores before and after the softmax.
    """
    return element * (3 * sum(mining.channels) + 2 * mining.width + 2) + 2 * 2 * _FP32


def _query(mining: Mining, element: float) -> float:
    """A token of the first tower: itself, normalised, and as a query."""
    return element * 3 * mining.width + 2 * _FP32


def _passing(mining: Mining, element: float, overview: bool) -> float:
    """Bytes per position of the map while it is made: the last stage is resized in fp32, or all are joined.

    The stages themselves lie there too, each a quarter of the one before. For an overview the whole map is made small
    in fp32.
    """
    *narrow, wide = mining.channels
    joined = sum(mining.channels)
    stages = sum(width / float(4**depth) for depth, width in enumerate(mining.channels) if depth)
    resized = element * (stages + sum(narrow) + wide) + _FP32 * wide
    most = max(resized, element * (stages + 2 * joined))
    if overview:
        most = max(most, (element + _FP32) * joined + (element + _FP32) * joined / mining.grid**2)
    return most
