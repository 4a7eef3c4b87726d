"""Count parameters and adapters of the real transformers classes on the meta device.

    python driver.py < cases.json > counts.json

A case is {"name", "config", "adapters": {label: {"target_modules", "exclude_modules"}}}; its answer
{"name", "total", "adapters": {label: count}}. One process counts all cases, since the
imports take longer than the counting.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

RANK = 8


def _model(config: dict[str, Any]) -> torch.nn.Module:
    kind = config["model_type"]
    made = AutoConfig.for_model(**{key: value for key, value in config.items() if key != "quantization_config"})
    assert made.model_type == kind
    maker = AutoModelForImageTextToText if "vision_config" in config else AutoModelForCausalLM
    with torch.device("meta"):
        model: torch.nn.Module = maker.from_config(made)
        model.tie_weights()
    return model


def _total(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _adapters(config: dict[str, Any], asked: dict[str, Any]) -> int:
    lora = LoraConfig(r=RANK, lora_alpha=16, lora_dropout=0.0, task_type="CAUSAL_LM", **asked)
    try:
        with torch.device("meta"):
            adapted = get_peft_model(_model(config), lora, low_cpu_mem_usage=True)
    except ValueError as error:
        if "target" in str(error).lower():  # it found nothing to adapt
            return 0
        raise
    return sum(p.numel() for name, p in adapted.named_parameters() if "lora_" in name)


def count(case: dict[str, Any]) -> dict[str, Any]:
    print(f"case {case['name']}", file=sys.stderr)  # what to look at when a class refuses
    config = case["config"]
    return {
        "name": case["name"],
        "total": _total(_model(config)),
        "adapters": {label: _adapters(config, asked) for label, asked in case["adapters"].items()},
    }


if __name__ == "__main__":
    json.dump([count(case) for case in json.load(sys.stdin)], sys.stdout)
