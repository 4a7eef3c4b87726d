"""Vision-language models: which parts train and how, what images cost, and rows that hold none."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from mfc.catalog.parameters import count
from mfc.rules.engine import Rather, Value, advise, derive, from_spec, require
from mfc.rules.words import short
from mfc.strategy import FULLY

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_PIXELS = 768 * 768
_BLANK = 224 * 224  # pixels of a blank image: MiniCPM-V's own code makes the largest that frameworks give to text
_ALIKE = (None, 0.0, 1.0)  # shares of rows with images with which every batch runs the same modules
_PROCESSOR = "the model's own image processor: mfc.catalog.vision"
_HANGS = "DeepSpeed and torch.distributed: collectives wait for every process to call the same ones in the same order"


@derive("freeze_parts", "the spec language; LLaVA, arXiv:2304.08485: the tower stays frozen")
def freeze_parts(spec: Spec, architecture: Architecture) -> Value:
    """A vision tower and its projector stay frozen unless the spec says what does."""
    parts = spec.train.freeze_parts
    if parts != "auto":
        return from_spec(tuple(parts), "train.freeze_parts")
    if architecture.vision is None:
        return Value((), "the model has no vision tower")
    size = short(count(architecture).vision)
    frozen = tuple(part for part in ("vision", "projector") if part not in spec.train.whole_parts)
    told = f"the language model learns the task; the tower's {size} parameters stay, and its projector"
    return Value(frozen, told if len(frozen) == 2 else "what the spec does not name in train.whole_parts stays")


@derive("whole_parts", "the spec language")
def whole_parts(spec: Spec) -> Value:
    """Beside adapters, parts of the model train whole where the spec says so."""
    parts = spec.train.whole_parts
    return from_spec(tuple(parts), "train.whole_parts") if parts else Value((), "every part trains by the same method")


@derive("vision_learning_rate", "the spec language")
def vision_learning_rate(spec: Spec) -> Value:
    """The tower has the learning rate of the rest unless the spec gives it one."""
    asked = spec.train.vision_learning_rate
    return from_spec(asked, "train.vision_learning_rate") if asked else Value(None, "that of the language model")


@derive("projector_learning_rate", "the spec language")
def projector_learning_rate(spec: Spec) -> Value:
    """The projector has the learning rate of the rest unless the spec gives it one."""
    asked = spec.train.projector_learning_rate
    return from_spec(asked, "train.projector_learning_rate") if asked else Value(None, "that of the language model")


@require("a part must exist to be frozen, and to have a method or a learning rate")
def parts_exist(freeze_parts: tuple[str, ...], architecture: Architecture, spec: Spec) -> str | None:
    """Vision and projector can be named only where the model has them."""
    if architecture.vision is not None:
        return None
    named = {"train.freeze_parts": freeze_parts, "train.whole_parts": spec.train.whole_parts}
    for path, parts in named.items():
        if wrong := [part for part in parts if part != "language"]:
            return f"{architecture.family} has no vision tower, so {path} cannot name {' and '.join(wrong)}"
    rates = [part for part in ("vision", "projector") if getattr(spec.train, f"{part}_learning_rate")]
    return (
        f"{architecture.family} has no vision tower, so train.{rates[0]}_learning_rate means nothing" if rates else None
    )


@require("arithmetic: a part trains in one way")
def parts_train_in_one_way(freeze_parts: tuple[str, ...], spec: Spec, method: str) -> str | None:
    """A part is frozen, trains whole or has adapters; only what trains has a learning rate."""
    train = spec.train
    if both := [part for part in train.whole_parts if part in freeze_parts]:
        return f"train.freeze_parts and train.whole_parts both name {' and '.join(both)}"
    if train.whole_parts and method not in ("lora", "qlora"):
        return f"method {method} trains every part whole that is not frozen: train.whole_parts is for lora and qlora"
    for part in ("vision", "projector"):
        if part in freeze_parts and getattr(train, f"{part}_learning_rate"):
            return f"the {part} is frozen, so train.{part}_learning_rate means nothing"
    return None


@require("arithmetic: nothing would train")
def something_trains(freeze_parts: tuple[str, ...], architecture: Architecture) -> str | None:
    """Not every part of a model is frozen."""
    parts = {"language"} if architecture.vision is None else {"language", "vision", "projector"}
    return (
        "train.freeze_parts names every part of the model: nothing would train" if parts <= set(freeze_parts) else None
    )


@require("arithmetic: the loss does not hang on a tower that sees nothing")
def towers_learn_from_images(image_share: float | None, freeze_parts: tuple[str, ...]) -> str | None:
    """A tower and its projector train only where some rows hold images."""
    learning = [part for part in ("vision", "projector") if part not in freeze_parts]
    if image_share != 0.0 or not learning:
        return None
    return (
        f"no row holds an image (data.image.share: 0), so {' and '.join(learning)} would learn nothing: "
        "freeze them (train.freeze_parts: auto)"
    )


@derive("image_frames", "the spec language")
def image_frames(spec: Spec, architecture: Architecture) -> Value:
    """Samples hold images, unless the spec says how many frames of a video they hold."""
    frames = spec.data.image.frames
    if architecture.vision is None or frames is None:
        return Value(None, "samples hold images, no videos")
    return from_spec(frames, "data.image.frames")


@derive("image_share", "the spec language")
def image_share(spec: Spec, architecture: Architecture) -> Value:
    """Every sample holds an image unless the spec says otherwise."""
    share = spec.data.image.share
    if architecture.vision is None:
        return Value(None, "the model takes no images")
    return (
        Value(1.0, "assumed: every sample holds an image") if share == "auto" else from_spec(share, "data.image.share")
    )


@derive("image_max_pixels", "the spec language; 768 x 768 pixels are 752 tokens of 28 x 28")
def image_max_pixels(spec: Spec, architecture: Architecture, max_length: int) -> Value:
    """Images are scaled down to 768 x 768 pixels, or to half of the length, unless the spec says otherwise."""
    vision, asked = architecture.vision, spec.data.image.max_pixels
    if vision is None:
        return Value(None, "the model takes no images")
    if vision.mining and asked == "auto":
        side = isqrt(vision.mining.pixels)
        return Value(side**2, f"{side} x {side}, as the model was made for; {vision.tokens(side**2)} tokens a picture")
    if spec.data.image.share == 0 and not vision.mining:
        return Value(_BLANK, "no row holds an image, and a blank one has no more than 224 x 224")
    if asked != "auto":
        size = f"an image has at most {vision.tokens(asked)} tokens"
        return Value(asked, f"set in the spec: data.image.max_pixels; {size}", pinned=True)
    room = max_length // (2 * _of_a_sample(spec, architecture)) * (vision.patch_size * vision.merge) ** 2
    if vision.pictures.tile or room >= _PIXELS:
        return Value(_PIXELS, f"768 x 768: an image has at most {vision.tokens(_PIXELS)} tokens")
    return Value(room, f"an image has at most {vision.tokens(room)} tokens, half of the length for those of a sample")


@require("Mini-Gemini mgm/model/mgm_arch.py, unified_resampler: the map is reshaped into equal patches")
def maps_have_whole_patches(architecture: Architecture, image_max_pixels: int | None) -> str | None:
    """Pictures of which each token mines a patch are squares that give it whole positions."""
    vision = architecture.vision
    if vision is None or vision.mining is None or image_max_pixels is None:
        return None
    mining, side = vision.mining, isqrt(image_max_pixels)
    if side**2 == image_max_pixels and side % mining.step == 0:
        return None
    most = max(side // mining.step, 1) * mining.step
    return (
        f"a picture of {image_max_pixels} pixels gives {mining.queries} x {mining.queries} tokens no whole positions "
        f"of the second tower's map: its side is a multiple of {mining.step}; set data.image.max_pixels: {most**2} "
        f"({most} x {most})"
    )


@derive("pictures", "mfc's memory model: a packed row holds as many images as its length allows")
def pictures(
    spec: Spec,
    architecture: Architecture,
    packing: bool,
    max_length: int,
    image_max_pixels: int | None,
    profile: Profile,
    sharding: str,
) -> Value:
    """A sequence holds one image unless the spec says otherwise; a packed row is full of samples."""
    vision = architecture.vision
    if vision is None or image_max_pixels is None:
        return Value(0, "the model takes no images")
    if spec.data.image.share == 0:
        if _blank(profile, architecture, sharding):
            return Value(1, f"no row holds an image, and {profile.target} gives a batch of text a blank one")
        return Value(0, "no row holds an image")
    asked, frames = spec.data.image.per_sample, spec.data.image.frames
    images = _of_a_sample(spec, architecture)
    if packing and not vision.pictures.cross:
        most = max(images, max_length // vision.tokens(image_max_pixels))
        return Value(most, f"a packed row of {max_length} tokens has room for {most} images")
    if frames:
        told = (
            f"{frames} frames, {vision.pictures.frames} to a patch"
            if vision.pictures.frames > 1
            else f"{frames} frames"
        )
        return Value(images, told)
    return Value(1, "assumed: one image in a sample") if asked == "auto" else from_spec(asked, "data.image.per_sample")


@require(_PROCESSOR)
def images_fit_the_length(
    spec: Spec, architecture: Architecture, max_length: int, image_max_pixels: int | None, overlong: str
) -> str | None:
    """The images of a sample fit into the length: they cannot be cut."""
    vision = architecture.vision
    if vision is None or image_max_pixels is None or spec.data.image.share == 0:
        return None
    images = _of_a_sample(spec, architecture)
    tokens = images * vision.tokens(image_max_pixels)
    if tokens < max_length:
        return None
    then = "a row that is cut within an image has fewer places than features"
    if overlong == "drop":
        then = "overlong: drop would drop every row with such images"
    return (
        f"{_counted(images, image_max_pixels)} {tokens} tokens, data.max_length is {max_length}: {then}; "
        f"{_cure(architecture, images, max_length)}"
    )


@advise(_PROCESSOR)
def images_leave_room(
    spec: Spec, architecture: Architecture, max_length: int, image_max_pixels: int | None
) -> str | None:
    """The images of a sample leave room for its text."""
    vision = architecture.vision
    if vision is None or image_max_pixels is None or spec.data.image.max_pixels == "auto":
        return None
    images = _of_a_sample(spec, architecture)
    tokens = images * vision.tokens(image_max_pixels)
    if tokens < max_length / 2 or spec.data.image.share == 0:
        return None
    return f"{_counted(images, image_max_pixels)} {tokens} of {max_length} tokens: lower data.image.max_pixels"


@require(_HANGS)
def rows_without_images_hang(
    profile: Profile,
    architecture: Architecture,
    image_share: float | None,
    sharding: str,
    world_size: int,
    freeze_parts: tuple[str, ...],
    gradient_checkpointing: bool,
) -> str | None:
    """Where some rows hold no image, every process runs the tower all the same, or nothing waits for it."""
    if image_share in _ALIKE or world_size == 1 or _blank(profile, architecture, sharding):
        return None
    gathers = sharding in FULLY
    trains = not {"vision", "projector"} <= set(freeze_parts)
    if not gathers and (not trains or (sharding == "ddp" and not gradient_checkpointing)):
        return None  # without checkpointing the Trainer lets DDP look for parameters that a batch does not use
    why = f"{sharding} gathers the tower's weights" if gathers else f"{sharding} waits for the tower's gradients"
    return (
        f"hangs: a batch without images skips the vision tower while {why} on the other GPUs, and {profile.target} "
        f"gives {architecture.family} no blank image then; freeze vision and projector under zero2, or let every row "
        "hold an image (data.image.share: 1)"
    )


@advise(_HANGS)
def mixed_rows_are_fragile(
    profile: Profile, architecture: Architecture, image_share: float | None, sharding: str, world_size: int
) -> str | None:
    """Where weights are gathered, blank images keep processes in step only while all run the same modules."""
    if image_share in _ALIKE or world_size == 1 or sharding not in FULLY:
        return None
    if not _blank(profile, architecture, sharding):
        return None
    return (
        f"{profile.target} gives rows without images a blank one so that all GPUs gather the tower's weights; hangs of "
        f"such mixtures under {sharding} were reported all the same: try a few steps, or take zero2 with a frozen tower"
    )


@advise("LLaVA-OneVision, arXiv:2408.03326: the tower learns at a fifth of the rate or less")
def trained_towers_want_low_rates(
    strategy: Strategy, architecture: Architecture, learning_rate: float, vision_learning_rate: float | None
) -> Rather | None:
    """A vision tower that trains wants a low learning rate."""
    rate = vision_learning_rate or learning_rate
    if architecture.vision is None or strategy.learns("vision") != "whole" or rate <= 2e-6:
        return None
    if vision_learning_rate and vision_learning_rate <= learning_rate / 5:
        return None
    field = "vision_learning_rate" if vision_learning_rate else "learning_rate"
    return Rather(
        f"the vision tower trains at {rate:g}", "towers are usually trained at 2e-6 or kept frozen", {field: 2e-6}
    )


def _of_a_sample(spec: Spec, architecture: Architecture) -> int:
    """Images of one sample, frames of a video counted by how many one patch covers."""
    image = spec.data.image
    images = 1 if image.per_sample == "auto" else image.per_sample
    if image.frames and architecture.vision:
        return images * -(-image.frames // architecture.vision.pictures.frames)
    return images


def _counted(images: int, pixels: int) -> str:
    return f"an image of {pixels} pixels is" if images == 1 else f"{images} images of {pixels} pixels are"


def _cure(architecture: Architecture, images: int, max_length: int) -> str:
    vision = architecture.vision
    assert vision is not None
    if vision.pictures.tile:
        least = images * vision.tokens(1)
        longer = f"raise data.max_length above {least}" if least >= max_length else "lower data.image.max_pixels"
        return f"{longer}, or take fewer images"
    most = max_length // (2 * images) * (vision.patch_size * vision.merge) ** 2
    return f"lower data.image.max_pixels (to {most} for half of the length) or raise data.max_length"


def _blank(profile: Profile, architecture: Architecture, sharding: str) -> bool:
    """Whether the framework gives a row of text alone an empty image."""
    known = profile.can("blank_pictures")
    under = profile.can("blank_pictures_deepspeed") if sharding.startswith("zero") else ()
    return architecture.family in known or architecture.family in under


RULES = (
    freeze_parts,
    whole_parts,
    vision_learning_rate,
    projector_learning_rate,
    parts_exist,
    parts_train_in_one_way,
    something_trains,
    towers_learn_from_images,
    image_frames,
    image_share,
    image_max_pixels,
    maps_have_whole_patches,
    pictures,
    images_fit_the_length,
    images_leave_room,
    rows_without_images_hang,
    mixed_rows_are_fragile,
    trained_towers_want_low_rates,
)
