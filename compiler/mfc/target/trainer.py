"""What the arguments of the Hugging Face Trainer mean beside each other, for reading files that people wrote.

Source: transformers training_args.py, 4.40 to 5.19: old names, and which of two keys has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "fp16_backend": "half_precision_backend",
}


def read(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The arguments with new names for old ones, and for those that tell nothing beside the others, why."""
    plain = {key.replace("-", "_"): value for key, value in data.items()}  # HfArgumentParser takes both
    off = {key.removeprefix("no_"): False for key, value in plain.items() if key.startswith("no_") and value is True}
    plain = {**{key: value for key, value in plain.items() if key.removeprefix("no_") not in off}, **off}
    made = {RENAMED.get(key, key) if RENAMED.get(key) not in plain else key: value for key, value in plain.items()}
    for key in ("report_to",):
        if isinstance(made.get(key), list) and len(made[key]) == 1:
            made[key] = made[key][0]
    idle = {}
    if _number(made.get("warmup_steps")) > 0 and "warmup_ratio" in made:
        idle["warmup_ratio"] = "warmup_steps has the last word"
    elif "warmup_steps" in made and "warmup_ratio" in made:
        idle["warmup_steps"] = "0 steps leave the word to warmup_ratio"
    if _number(made.get("max_steps")) > 0:
        idle["num_train_epochs"] = "max_steps has the last word"
    elif "max_steps" in made:
        idle["max_steps"] = "no number of steps: epochs count"
    if made.get("eval_strategy") == "no":
        idle["eval_steps"] = "nothing is evaluated"
    if made.get("save_strategy") in ("no", "epoch"):
        idle["save_steps"] = "save_strategy has the last word"
    if made.get("eval_strategy", "no") == "steps" and made.get("eval_steps") is None:
        made["eval_steps"] = made.get("logging_steps", 500)
    return made, {key: why for key, why in idle.items() if key in made}


def sharded(said: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What the Trainer's own `fsdp` says of the fields of a plan; nothing where it splits otherwise than whole."""
    asked = said.get("fsdp")
    words = str(asked).split() if isinstance(asked, str) else [str(one) for one in asked or ()]
    if "full_shard" not in words:
        return {}
    config = said.get("fsdp_config")
    second = isinstance(config, Mapping) and str(config.get("version", config.get("fsdp_version"))) == "2"
    offload = ("cpu" if "offload" in words else "none",)
    return {
        "sharding": ("fsdp2" if second else "fsdp",),
        "offload_optimizer": offload,
        "offload_parameters": offload,
    }


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
