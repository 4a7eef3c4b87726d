"""Vision-language models: what stays frozen, and what images cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.catalog.parameters import count
from mfc.rules.engine import Rather, Value, advise, derive, from_spec, require
from mfc.rules.words import short

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_PIXELS = 768 * 768


@derive("freeze_parts", "the spec language; LLaVA, arXiv:2304.08485: the tower stays frozen")
def freeze_parts(spec: Spec, architecture: Architecture) -> Value:
    """A vision tower and its projector stay frozen unless the spec says what does."""
    parts = spec.train.freeze_parts
    if parts != "auto":
        return from_spec(tuple(parts), "train.freeze_parts")
    if architecture.vision is None:
        return Value((), "the model has no vision tower")
    size = short(count(architecture).vision)
    return Value(
        ("vision", "projector"),
        f"the language model learns the task; the tower's {size} parameters stay, and its projector",
    )


@require("a part must exist to be frozen")
def frozen_parts_exist(freeze_parts: tuple[str, ...], architecture: Architecture) -> str | None:
    """Vision and projector can be frozen only where the model has them."""
    wrong = [part for part in freeze_parts if part != "language"]
    if architecture.vision is not None or not wrong:
        return None
    return f"{architecture.family} has no vision tower, so train.freeze_parts cannot name {' and '.join(wrong)}"


@require("arithmetic: nothing would train")
def something_trains(freeze_parts: tuple[str, ...], architecture: Architecture) -> str | None:
    """Not every part of a model is frozen."""
    parts = {"language"} if architecture.vision is None else {"language", "vision", "projector"}
    return (
        "train.freeze_parts names every part of the model: nothing would train" if parts <= set(freeze_parts) else None
    )


@derive("image_max_pixels", "the spec language; 768 x 768 pixels are 752 tokens of 28 x 28")
def image_max_pixels(spec: Spec, architecture: Architecture) -> Value:
    """Images are scaled down to 768 x 768 pixels unless the spec says otherwise."""
    vision, asked = architecture.vision, spec.data.image.max_pixels
    if vision is None:
        return Value(None, "the model takes no images")
    if asked != "auto":
        size = f"an image has at most {_image_tokens(architecture, asked)} tokens"
        return Value(asked, f"set in the spec: data.image.max_pixels; {size}", pinned=True)
    return Value(_PIXELS, f"768 x 768: an image has at most {_image_tokens(architecture, _PIXELS)} tokens")


@advise("the model's own image processor: one token per merged patch")
def images_fit_the_length(
    spec: Spec, architecture: Architecture, max_length: int, image_max_pixels: int | None
) -> str | None:
    """The images of a sample leave room for its text."""
    if architecture.vision is None or image_max_pixels is None:
        return None
    asked = spec.data.image.per_sample
    images = 1 if asked == "auto" else asked
    tokens = images * _image_tokens(architecture, image_max_pixels)
    if tokens < max_length / 2:
        return None
    return (
        f"{images} images of {image_max_pixels} pixels are {tokens} of {max_length} tokens: lower data.image.max_pixels"
    )


@advise("LLaVA-OneVision, arXiv:2408.03326: the tower learns at a fifth of the rate or less")
def trained_towers_want_low_rates(
    strategy: Strategy, architecture: Architecture, learning_rate: float
) -> Rather | None:
    """A vision tower that trains wants a low learning rate."""
    if architecture.vision is None or "vision" in strategy.freeze_parts or strategy.lora is not None:
        return None
    if learning_rate <= 2e-6:
        return None
    return Rather(
        f"the vision tower trains at {learning_rate:g}",
        "towers are usually trained at 2e-6 or kept frozen",
        {"learning_rate": 2e-6},
    )


def _image_tokens(architecture: Architecture, pixels: int) -> int:
    vision = architecture.vision
    if vision is None:
        return 0
    return vision.image_tokens or pixels // (vision.patch_size * vision.merge) ** 2


RULES = (
    freeze_parts,
    frozen_parts_exist,
    something_trains,
    image_max_pixels,
    images_fit_the_length,
    trained_towers_want_low_rates,
)
