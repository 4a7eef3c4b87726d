"""Mini-Gemini's two towers: CLIP's, and a ConvNeXt whose map its tokens mine.

Its config.json names both by their folders, of which the sizes below are those. Source: MGM (commit 769820c)
mgm/model/mgm_arch.py and multimodal_encoder/, open_clip model_configs/convnext_*.json, timm models/convnext.py.
"""

from __future__ import annotations

from typing import NamedTuple

from mfc.catalog.architecture import Mining
from mfc.catalog.keys import Keys
from mfc.catalog.towers import Site, Tower, clip, into, square
from mfc.errors import SpecError

_CLIP = {
    "clip-vit-large-patch14-336": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "patch_size": 14,
        "image_size": 336,
    }
}
_STEM = 4  # pixels along one side of a position of the first stage


class _ConvNext(NamedTuple):
    """Stages of a ConvNeXt; its stem and its stages are all that is built."""

    channels: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def parameters(self) -> int:
        first, *_ = self.channels
        total = (3 * _STEM**2 + 1) * first + 2 * first  # the stem and its norm
        for width, depth in zip(self.channels, self.depths, strict=True):
            total += depth * (8 * width**2 + 58 * width)  # 7 x 7 by channel, norm, 4 x wide MLP, layer scale
        for narrow, wide in zip(self.channels, self.channels[1:], strict=False):
            total += 2 * narrow + (4 * narrow + 1) * wide  # a norm and 2 x 2 between stages
        return total


# By words of the folder's name, as load_model of openclip_encoder.py tells them apart.
_CONVNEXT = {
    ("large", "d-320"): _ConvNext((192, 384, 768, 1536), (3, 3, 27, 3)),
    ("base", "w-320"): _ConvNext((128, 256, 512, 1024), (3, 3, 27, 3)),
    ("xxlarge",): _ConvNext((384, 768, 1536, 3072), (3, 4, 30, 3)),
}


def mined(at: Site) -> Tower:
    """Both towers, the attention of one to the other, and the projector. Raises SpecError for towers of other names."""
    name, aux = (at.top.text(key) for key in ("mm_vision_tower", "mm_vision_tower_aux"))
    known = next((keys for folder, keys in _CLIP.items() if folder in name), None)
    second = next((each for words, each in _CONVNEXT.items() if all(word in aux for word in words)), None)
    if known is None or second is None:
        raise SpecError(f"{at.top.where}: the tower {aux if known else name} is not known, so it cannot be counted")
    s, linears, rest = clip(Keys(known, at.top.where))
    side = s.patch and known["image_size"] // s.patch
    grid, size = at.top.optional("image_grid") or 1, at.top.optional("image_size_aux") or 320
    cut = square(Keys(known, at.top.where), side**2, class_token=True)
    cut = cut._replace(tiles=grid**2, fixed=True, overview=at.top.flag("image_global"))
    mining = Mining(second.channels, _STEM, s.hidden, side, grid, size**2)
    joined = sum(second.channels)
    attention = 2 * s.hidden + (s.hidden + 1) * s.hidden + 2 * (2 * joined + (joined + 1) * s.hidden)
    projector = into(("0", s.hidden, at.hidden), ("2", at.hidden, at.hidden))
    return Tower(s._replace(pictures=cut, mining=mining), linears, projector, rest + second.parameters, attention)
