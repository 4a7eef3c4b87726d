"""What MGM's own functions do, as JSON: `python mgm_code.py CHECKOUT`.

`linears`: names of the linears that get adapters, of a tiny model of each kind. `kept`: bytes that patch attention and
the projector keep for backward in bf16, by saved-tensor hooks on encode_images, for "GRID SIDE". `refused`: sides of
pictures that it cannot reshape.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, sys.argv[1])
import torch
from mgm.model.mgm_arch import MGMMetaForCausalLM  # type: ignore[import-not-found]
from mgm.train.train import find_all_linear_names  # type: ignore[import-not-found]
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

WIDTH, JOINED, HIDDEN = 1024, 2880, 2048
SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 16}
KEPT, REFUSED = ("1 768", "1 384", "2 768"), ("1 320", "1 512", "2 864")


class Eye(nn.Module):  # type: ignore[misc]
    """Stands in for both towers, which run without gradients: random tokens and a random map."""

    def __init__(self) -> None:
        super().__init__()

        def projection(width: int) -> nn.Sequential:
            return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, WIDTH))

        self.vlm_uni_query_projector = projection(WIDTH)
        self.vlm_uni_aux_projector = projection(JOINED)
        self.vlm_uni_val_projector = projection(JOINED)
        self.mm_projector = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN))
        self.to(torch.bfloat16)

    def get_vision_tower(self) -> Any:
        return lambda images: torch.randn(len(images), 576, WIDTH, dtype=torch.bfloat16)

    def get_vision_tower_aux(self) -> Any:
        return lambda images: torch.randn(len(images), JOINED, *(side // 4 for side in images.shape[2:])).bfloat16()


class Model(MGMMetaForCausalLM):  # type: ignore[misc]
    """The code that sees, without a language model."""

    def __init__(self, grid: int) -> None:
        self.eye = Eye()
        self.config = SimpleNamespace(image_grid=grid, image_global=grid > 1)

    def get_model(self) -> Eye:
        return self.eye


def kept(grid: int, side: int) -> int:
    """Bytes of all storages that autograd saves, parameters left out."""
    model, found, alive = Model(grid), {}, []
    own = {each.untyped_storage().data_ptr() for each in model.eye.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or another would take its place
        return tensor

    tiles = (grid**2 + 1,) if grid > 1 else ()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.encode_images(torch.zeros(1, *tiles, 3, 336, 336), torch.zeros(1, 3, side, side))
    return sum(found.values())


def refuses(grid: int, side: int) -> bool:
    try:
        with torch.no_grad():
            kept(grid, side)
    except RuntimeError as error:
        return "shape" in str(error)
    return False


if __name__ == "__main__":
    models = {
        "llama": LlamaForCausalLM(LlamaConfig(**SIZES)),
        "mixtral": MixtralForCausalLM(MixtralConfig(**SIZES, num_key_value_heads=2, num_local_experts=2)),
    }
    told = {
        "linears": {name: sorted(find_all_linear_names(model)) for name, model in models.items()},
        "kept": {case: kept(*map(int, case.split())) for case in KEPT},
        "refused": {case: refuses(*map(int, case.split())) for case in REFUSED},
    }
    print(json.dumps(told))
