"""A training program on DeepSpeed: hands the JSON that mfc compiled to deepspeed.initialize and trains a few steps.

Started by the compiled launch.sh, as `launch.sh -m benchmarks.measure.run_deepspeed --deepspeed ds_config.json`. What
the JSON cannot say (adapters, attention, checkpointing, fused loss) is done here as the case has it.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from benchmarks.measure import models
from benchmarks.measure.grid import Case
from benchmarks.measure.meter import Meter, answer, asked


def model_of(made: Case, config: dict[str, Any], device: str) -> Any:
    """The model with random weights on the device, ready for an engine."""
    model = models.build(made, config, device)
    model.config.use_cache = False
    if made["checkpointing"]:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if made["fused_loss"]:
        liger = importlib.import_module("liger_kernel.transformers")
        liger._apply_liger_kernel_to_instance(model=model.get_base_model() if made["method"] == "lora" else model)
    return model.train()


def train(made: Case, config: dict[str, Any], file: str) -> None:
    """Train as the JSON says, and answer."""
    meter = Meter()
    import deepspeed
    import torch

    device = "cuda" if meter.cuda else "cpu"
    deepspeed.init_distributed()
    model = model_of(made, config, device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    engine, *_ = deepspeed.initialize(model=model, model_parameters=trained, config=file)
    meter.loaded(forget=True)
    rows = iter(models.data(made, config["vocab_size"]))
    for _ in range(made["steps"]):
        meter.begin()
        for _ in range(made["accumulation"]):
            batch = [next(rows) for _ in range(made["micro_batch"])]
            given = {name: torch.stack([row[name] for row in batch]).to(device) for name in batch[0]}
            loss = engine(**given).loss
            engine.backward(loss)
            engine.step()
            del loss
        meter.end()
    if engine.global_steps != made["steps"]:
        raise SystemExit(f"the engine made {engine.global_steps} steps, not {made['steps']}")
    answer(meter.found(made, made["length"]))


if __name__ == "__main__":
    payload = asked()
    train(payload["case"], payload["config"], sys.argv[sys.argv.index("--deepspeed") + 1])
