"""Patch attention to a second tower's map, against saved-tensor hooks on Mini-Gemini's own function.

Measured with torch 2.13 in bf16 on encode_images of MGM (commit 769820c), without what the projector keeps. The
projections are the model's own; the map and the tokens, which no gradient reaches, are random.
"""

from __future__ import annotations

from math import isqrt

import pytest
from mfc.catalog.architecture import Vision
from mfc.catalog.models import find
from mfc.catalog.parameters import count
from mfc.memory.formats import formats
from mfc.memory.mining import Mined, mined
from mfc.memory.sight import look
from mfc.memory.stack import Stack
from mfc.memory.tower import seen
from mfc.strategy import Strategy

MIB = 2**20
STRATEGY = Strategy(
    task="sft",
    method="full",
    precision="bf16",
    sharding="zero2",
    world_size=4,
    max_length=2048,
    micro_batch=1,
    gradient_accumulation=1,
    gradient_checkpointing=True,
    attention="flash",
    loss="plain",
    optimizer="adamw",
    freeze_parts=("vision",),
    image_max_pixels=768**2,
    pictures=1,
)


def vision(model: str) -> Vision:
    found = find(model).architecture.vision
    assert found is not None
    return found


def of(model: str, side: int, pictures: int = 1) -> Mined:
    return mined(vision(model), side**2, pictures, 2.0, 2.0)


@pytest.mark.parametrize(
    ("model", "side", "measured"),
    [("YanweiLi/MGM-2B", 768, 755.3), ("YanweiLi/MGM-2B", 384, 191.4), ("YanweiLi/MGM-2B-HD", 1536, 3776.5)],
)
def test_attention_keeps_what_hooks_see(model: str, side: int, measured: float) -> None:
    assert of(model, side).kept / MIB == pytest.approx(measured, rel=0.001)


def test_most_of_it_is_three_copies_of_the_map_and_two_of_its_projections() -> None:
    positions = (768 // 4) ** 2
    assert int(of("YanweiLi/MGM-2B", 768).kept / MIB) == 755
    assert of("YanweiLi/MGM-2B", 768).kept == pytest.approx(2 * positions * (3 * 2880 + 2 * 1024), rel=0.01)


def test_hd_is_four_tiles_and_an_overview() -> None:
    normal, high = of("YanweiLi/MGM-2B", 768), of("YanweiLi/MGM-2B-HD", 1536)
    assert high.kept == pytest.approx(5 * normal.kept)
    assert of("YanweiLi/MGM-2B", 768, pictures=3).kept == pytest.approx(3 * normal.kept)


def test_the_map_passes_through_fp32() -> None:
    """HD: the joined map of 2880 channels, all of it in fp32 and made small: 810 MiB, 1620 MiB and 405 of 607 MiB."""
    assert of("YanweiLi/MGM-2B-HD", 1536).passing / MIB == pytest.approx(810 + 1620 + 405 + 202.5)
    # 768: the last stage is resized in fp32 beside the others
    wide, others = 1536 * (4 + 2) * 192**2, (192 + 384 + 768) * 2 * 192**2
    assert of("YanweiLi/MGM-2B", 768).passing == pytest.approx(wide + others, rel=0.03)


@pytest.mark.parametrize("model", ["YanweiLi/MGM-2B", "YanweiLi/MGM-2B-HD"])
def test_a_step_holds_it_whatever_the_language_model(model: str) -> None:
    architecture, stack = find(model).architecture, Stack()
    side = isqrt(vision(model).mining.pixels)  # type: ignore[union-attr]
    strategy = STRATEGY._replace(image_max_pixels=side**2)
    sight = look(architecture, strategy, stack, formats(strategy, stack))
    assert sight is not None
    assert seen(sight).kept > of(model, side).kept
    assert seen(sight).passing == of(model, side).passing
    frozen = strategy._replace(freeze_parts=("vision", "projector"))
    sight = look(architecture, frozen, stack, formats(frozen, stack))
    assert sight is not None
    assert seen(sight).kept == 0


def test_tokens_follow_the_tiles_and_not_the_pixels() -> None:
    assert {vision("YanweiLi/MGM-2B").tokens(side**2) for side in (96, 384, 768)} == {576}
    assert {vision("YanweiLi/MGM-2B-HD").tokens(side**2) for side in (192, 384, 1536)} == {5 * 576}


def test_the_parts_are_those_of_the_code() -> None:
    """CLIP ViT-L/14-336; stem and stages of ConvNeXt-L, which are timm's without head and its norm; attention."""
    counted = count(find("YanweiLi/MGM-2B").architecture)
    assert counted.vision == 303_507_456 + 196_227_264
    assert counted.projector == 6_963_456 + 1024 * 2048 + 2048 + 2048**2 + 2048
    assert counted.language == 2_506_172_416
