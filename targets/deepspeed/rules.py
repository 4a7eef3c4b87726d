"""What a bare DeepSpeed JSON leaves to the script that it is given to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import advise, require
from mfc.target.versions import before

if TYPE_CHECKING:
    from mfc.profile import Profile

# Plan fields that no DeepSpeed key can say: the launcher lists them, for the script has to do them.
SCRIPT = (
    "hub",
    "method",
    "lora",
    "quantization",
    "freeze_parts",
    "trainable_layers",
    "reference_model",
    "preference_loss",
    "preference_beta",
    "preference_gamma",
    "system",
    "max_length",
    "overlong",
    "packing",
    "attention",
    "loss",
    "gradient_checkpointing",
    "schedule",
    "warmup",
    "min_learning_rate",
    "decay",
    "epochs",
    "max_steps",
    "seed",
    "image_max_pixels",
    "image_frames",
    "image_share",
    "pictures",
    "whole_parts",
    "vision_learning_rate",
    "projector_learning_rate",
    "eval_every",
    "eval_micro_batch",
    "dataloader_workers",
    "preprocessing_workers",
    "save_every",
    "keep",
    "report_to",
    "output_dir",
    "existing",
)

# Plan fields that are neither keys of the JSON nor the script's, and where they are instead.
ELSEWHERE = {
    **dict.fromkeys(SCRIPT, "the training script's: launch.sh lists it"),
    **dict.fromkeys(
        ("model.adapter", "model.revision", "data.eval", "train.preference.reference"), "the training script's own"
    ),
    "allocator": "the environment that launch.sh sets",
    "timeout_seconds": "the environment that launch.sh sets",
    "cpu_threads": "the environment that launch.sh sets",
    **dict.fromkeys(
        ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "lora_variant", "modules_to_save"), "part of lora"
    ),
}


@require("DeepSpeed runtime/zero/config.py of 0.18: zero_optimization.leaf_module")
def version_is_supported(profile: Profile) -> str | None:
    """The JSON is written for DeepSpeed 0.18 and newer."""
    if not before(profile.version, "0.18"):
        return None
    return f"version {profile.version} is older than 0.18, the oldest that mfc writes for"


@advise("DeepSpeed runtime/lr_schedules.py: schedules need the number of steps")
def schedule_is_the_scripts(schedule: str, max_steps: int | None) -> str | None:
    """Without a number of steps, or with a schedule that DeepSpeed lacks, the script has to bring the schedule."""
    if schedule not in ("cosine", "linear", "constant", "cosine_with_min_lr"):
        return f"DeepSpeed has no {schedule} schedule: the script has to build it"
    if max_steps is None:
        return (
            f"the number of steps is not known, so the script builds the {schedule} schedule (or give train.max_steps)"
        )
    return None


RULES = (version_is_supported, schedule_is_the_scripts)
