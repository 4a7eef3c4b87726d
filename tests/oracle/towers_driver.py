"""Count what one layer of a real vision tower keeps for its backward pass, in an environment that has transformers.

    python towers_driver.py < cases.json > answers.json

A case is {"model", "trains", "attention"}; its answer {"kept", "predicted"}: bytes of one layer, for one picture.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

import torch
import transformers
from mfc.catalog import hf_config, models
from mfc.memory import Stack
from mfc.memory.formats import formats
from mfc.memory.sight import look
from mfc.memory.tower import seen
from mfc.simulate.source import stripped
from mfc.strategy import Lora, Strategy

SIDE = 16  # patches
DEPTH = ("depth", "num_hidden_layers")


def strategy(trains: bool, attention: str, pixels: int) -> Strategy:
    return Strategy(
        task="sft",
        method="full" if trains else "lora",
        precision="pure_bf16",
        sharding="ddp",
        world_size=1,
        max_length=2048,
        micro_batch=1,
        gradient_accumulation=1,
        gradient_checkpointing=not trains,  # adapters hook a frozen tower only where checkpointing is on
        attention=attention,  # type: ignore[arg-type]
        loss="plain",
        optimizer="adamw",
        lora=None if trains else Lora(8, 16),
        freeze_parts=() if trains else ("vision", "projector"),
        image_max_pixels=pixels,
        pictures=1,
    )


def tower(config: dict[str, Any], layers: int, attention: str) -> Any:
    made = transformers.AutoConfig.for_model(**stripped(config)).vision_config
    for name in DEPTH:
        if hasattr(made, name):
            setattr(made, name, layers)
    if hasattr(made, "fullatt_block_indexes"):
        made.fullatt_block_indexes = list(range(layers))
    if hasattr(made, "deepstack_visual_indexes"):
        made.deepstack_visual_indexes = []
    made._attn_implementation = attention
    if made.model_type == "qwen2_vl_vision":  # no auto class knows it
        from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel as Tower

        return Tower._from_config(made, dtype=torch.bfloat16)
    return transformers.AutoModel.from_config(made, dtype=torch.bfloat16, attn_implementation=attention)


def kept(config: dict[str, Any], layers: int, trains: bool, attention: str) -> int:
    """Bytes that autograd saves in a tower of so many layers, parameters apart, each storage once."""
    model = tower(config, layers, attention).train()
    if not trains:
        model.requires_grad_(False)
        model.get_input_embeddings().register_forward_hook(lambda _module, _input, output: output.requires_grad_(True))
    vision = model.config
    patch, dtype = vision.patch_size, torch.bfloat16
    if hasattr(vision, "spatial_merge_size"):
        pixels = torch.zeros(SIDE**2, 3 * vision.temporal_patch_size * patch**2, dtype=dtype)
        given: dict[str, Any] = {"hidden_states": pixels, "grid_thw": torch.tensor([[1, SIDE, SIDE]])}
    else:
        side = SIDE * patch if vision.model_type == "pixtral" else vision.image_size
        given = {"pixel_values": torch.zeros(1, 3, side, side, dtype=dtype)}
        if vision.model_type == "pixtral":
            given["image_sizes"] = torch.tensor([[side, side]])
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(**given)
        return sum(storage.nbytes() for storage in saved.values())


def answer(case: dict[str, Any]) -> dict[str, float]:
    config = next(row["config"] for row in models.rows() if case["model"] in models.ids(row))
    trains, attention = case["trains"], case["attention"]
    architecture = hf_config.read(config).architecture
    assert architecture.vision is not None
    asked, stack = strategy(trains, attention, (SIDE * architecture.vision.patch_size) ** 2), Stack()
    sight = look(architecture, asked, stack, formats(asked, stack))
    assert sight is not None
    group, _ = seen(sight).groups[-1]
    real = kept(config, 3, trains, attention) - kept(config, 2, trains, attention)
    return {"kept": real, "predicted": group.kept.sequence}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    stdout = os.dup(1)  # libraries chat on standard output; it is kept for the answers
    os.dup2(2, 1)
    answers = {name: answer(case) for name, case in json.load(sys.stdin).items()}
    with os.fdopen(stdout, "w", encoding="utf-8") as out:
        json.dump(answers, out)
