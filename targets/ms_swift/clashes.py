"""What ms-swift refuses at start of flags that its contract lets through.

Source: swift/arguments/sft_args.py and rlhf_args.py of 4.6.0; trainer.py of transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.target.clashes import Clash, Data

if TYPE_CHECKING:
    from mfc.planner.plan import Plan


def _without_flash(_: Plan, data: Data) -> bool:
    return "attn_impl" in data and not str(data["attn_impl"]).startswith("flash")


def _fused_grpo(_: Plan, data: Data) -> bool:
    return data.get("rlhf_type") == "grpo" and bool(data.get("use_liger_kernel"))


def _endless(_: Plan, data: Data) -> bool:
    return "dataset" in data and data.get("max_steps") is None


def _packs(_: Plan, data: Data) -> bool:
    return bool(data.get("packing"))


def _always(*_: object) -> bool:
    return True


_ARGUMENTS = "transformers training_args.py"
CLASHES: tuple[Clash, ...] = (
    Clash("lazy_tokenize", _packs, "packing needs the length of every sample", "swift/arguments/base_args.py"),
    Clash(
        "per_gpu_train_batch_size",
        _always,
        "it takes the place of per_device_train_batch_size",
        _ARGUMENTS,
        "strategy.micro_batch",
    ),
    Clash("adafactor", _always, "it takes the place of optim", _ARGUMENTS, "strategy.optimizer"),
    Clash("padding_free", _without_flash, "rows without padding need flash attention", "swift/arguments/sft_args.py"),
    Clash("padding_free", _fused_grpo, "in GRPO it does not go with the fused loss", "swift/arguments/rlhf_args.py"),
    Clash("streaming", _endless, "a stream has no end: set train.max_steps", "transformers trainer.py"),
)
