"""What MGM's code has built in: which class a path stands for, its chat templates, where its towers lie.

Source: github.com/dvlab-research/MGM (once MiniGemini), mgm/train/train.py, mgm/conversation.py, scripts/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture

# A state of the code is called after its month; there are no releases, and this is the last one.
COMMITS = {"2024.05": "769820cb71afc7c2b9a2166ca3ce92db1636215c"}
VERSIONS = tuple(COMMITS)
# What its pyproject.toml pins. Gemma came with transformers 4.38, `set_z3_leaf_modules` with DeepSpeed 0.13.
PACKAGES = {"transformers": "4.36.2", "torch": "2.0.1", "deepspeed": "0.11.1"}
FLASH = "2.5.8"  # its installation asks for the newest, which then was this
GEMMA_SINCE, LEAVES_SINCE, SEGMENTS_SINCE, SDPA_SINCE = "4.38", "0.13", "2.1", "2.1.1"

# Towers as its scripts name them, seen from the checkout.
_ZOO = "model_zoo/OpenAI/"
TOWERS: Mapping[str, str] = {
    "vision_tower": f"{_ZOO}clip-vit-large-patch14-336",
    "vision_tower_aux": f"{_ZOO}openclip-convnext-large-d-320-laion2B-s29B-b131K-ft-soup",
}

# Words of a path in lower case, in the order in which the code looks for them; the class of any other path is Llama's.
WORDS = ("mistral", "mixtral", "gemma")

# Conversations by name (mgm/conversation.py, conv_templates); any other name is vicuna_v1 in silence.
TEMPLATES = (
    *("default", "v0", "v1", "vicuna_v1", "phi_2", "gemma", "llama_2", "llama_3", "imgsp_v1", "mistral_instruct"),
    *("chatml_direct", "mistral_direct", "plain", "v0_plain", "llava_v0", "v0_mmtag", "llava_v1", "v1_mmtag"),
    *("llava_llama_2", "mpt"),
)
_LLAMA_3, _YI = 128_256, 64_000  # words of a vocabulary


def built(path: str) -> str:
    """The language model whose class the code builds for a path."""
    return next((word for word in WORDS if word in path.lower()), "llama")


def conversation(architecture: Architecture, aligns: bool) -> str:
    """The conversation that its scripts have for a language model; `aligns`: only the projector learns."""
    language = architecture.language
    if language == "gemma":
        return "gemma"
    if aligns:
        return "plain"
    if language in ("mistral", "mixtral"):
        return "mistral_instruct"
    return {_LLAMA_3: "llama_3", _YI: "chatml_direct"}.get(architecture.vocab, "v1")
