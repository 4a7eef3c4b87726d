"""How ms-swift is told of pictures: the environment that its templates read, and which modules get adapters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mfc.catalog.parameters import target_names
from mfc.target.codecs import Codec, Reader, Reading, Unwritten, Writing, one_way, text
from mfc.target.keys import Key
from mfc.target.when import When, both, given

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

# What trains whole beside adapters in the language model: tower and projector together (tuner_plugin/lora_llm.py).
BESIDE = (("vision", "projector"), ("projector", "vision"))
# Families whose processors take the size of images from a variable, in pixels or in tokens of 32 x 32 pixels.
PIXELS = ("qwen2_vl", "qwen2_5_vl", "qwen2_5_omni")
TOKENS = ("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "qwen3_omni_moe")
_TOKEN = 32**2
_TILES, _SLICES = ("internvl_chat",), ("minicpmv",)
VIDEOS = (*PIXELS, *TOKENS, *_TILES, *_SLICES)

# Rows of text alone get a black picture, whose features are added times zero: always where the template does it
# (template/base.py, _get_inputs_embeds_hf, of 32 x 32 pixels) or the model's own code, which MiniCPM-V's template calls
# (get_vllm_embedding in modeling_minicpmv.py of openbmb/MiniCPM-V-2_6, of 224 x 224, in training); under DeepSpeed only
# in the rest (templates/internvl.py; models/qwen.py, where 3.12 does it in all training).
BLANK = {
    "4.6.0": ("qwen2_vl", "qwen2_5_vl", "qwen3_5", "qwen3_5_moe", "glm4v", "minicpmv"),
    "3.12.6": ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "glm4v", "minicpmv"),
}
BLANK_DEEPSPEED = ("internvl_chat", "qwen3_vl", "qwen3_vl_moe")

# Names of modules by part, wherever they stand in a module's path (model_arch.py). A projector that lies within the
# tower (visual.merger) is not the tower's.
_WITHIN = r"merger|deepstack_merger_list"
_PARTS = {
    "vision": rf"visual\.(?!({_WITHIN})\b)|vision_tower\.|vision_model\.|vpm\.",
    "projector": rf"\b({_WITHIN})\b|multi_modal_projector\.|mlp1\.|resampler\.",
    "language": r"language_model\.|\bllm\.|^model\.layers\.",
}


def _family(*names: str) -> When:
    """The model is of one of these families, and takes images of a known size."""
    return both(given("image_max_pixels"), When(lambda plan: plan.problem.model.architecture.family in names))


def _videos(*names: str) -> When:
    return both(given("image_frames"), _family(*names))


def _tokens(at: Writing) -> str:
    return str(max(at.value("image_max_pixels") // _TOKEN, 1))


def _read_tokens(value: Any, _: Reader) -> Reading:
    """Pixels up to the next whole token."""
    first = int(value) * _TOKEN if int(value) > 1 else 1
    return {"image_max_pixels": tuple(range(first, (int(value) + 1) * _TOKEN))}


def _most_tiles(at: Writing) -> str:
    """InternVL cuts pictures by their shape alone, up to twelve tiles, so their size limits it by this only."""
    vision = at.plan.problem.model.architecture.vision
    assert vision is not None
    tiles = vision.pictures._replace(overview=False).count(at.value("image_max_pixels"))
    return str(tiles)


_SIZE = Codec(("image_max_pixels",), _tokens, _read_tokens)
ENVIRONMENT: tuple[Key, ...] = (
    Key("MAX_PIXELS", text("image_max_pixels"), _family(*PIXELS)),
    Key("IMAGE_MAX_TOKEN_NUM", _SIZE, _family(*TOKENS)),
    Key("MAX_NUM", one_way(_most_tiles, "image_max_pixels", because="tiles, not pixels"), _family(*_TILES)),
    Key("FPS_MAX_FRAMES", text("image_frames"), _videos(*PIXELS, *TOKENS)),
    Key("VIDEO_MAX_PIXELS", text("image_max_pixels"), _videos(*PIXELS)),
    Key("VIDEO_MAX_TOKEN_NUM", _SIZE, _videos(*TOKENS)),
    Key("MAX_NUM_FRAMES", text("image_frames"), _videos(*_SLICES)),
    Key("VIDEO_SEGMENTS", text("image_frames"), _videos(*_TILES)),
)


def _named(plan: Plan) -> bool:
    lora = plan.strategy.lora
    return plan.problem.model.architecture.vision is not None and lora is not None and lora.targets != "all-linear"


NAMED = When(_named)


def pattern(at: Writing) -> str:
    """Names of linears outside frozen parts. ms-swift leaves frozen parts out of all-linear only, and towers use the
    language model's names (q_proj, gate_proj) too.
    """
    lora = at.plan.strategy.lora
    assert lora is not None
    names = target_names(at.plan.problem.model.architecture, lora.targets)
    outside = "|".join(_PARTS[part] for part in _PARTS if part in at.value("freeze_parts"))
    kept_out = rf"(?!.*({outside}))" if outside else ""
    return rf"^{kept_out}.*\.({'|'.join(map(re.escape, names))})$"


def read_pattern(value: Any, _: Reader) -> Reading:
    """The names that a pattern ends with; whether they are all of attention or mlp, only the model could tell."""
    found = re.search(r"\\\.\(?([\w|]+)\)?\$\Z", value)
    if found is None:
        raise Unwritten(f"{value!r} is a pattern, and mfc says names")
    return {"lora_targets": (",".join(found[1].split("|")), "attention", "mlp")}
