"""Names that XTuner's own configs use as variables, and that nothing reads: under `extra` they would do nothing.

Source: xtuner/configs, tools/train.py and mmengine's runners; XTuner 0.2.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mfc.target.clashes import Clash, Data

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

_SOURCE = "xtuner/tools/train.py"
_HOOK = "custom_hooks, which mfc writes"
# Where XTuner reads what such a variable holds in its configs, and what says it here.
_READ: dict[str, tuple[str, str]] = {
    "SYSTEM": (_HOOK, "data.system"),
    "bot_name": (_HOOK, ""),
    "evaluation_freq": (_HOOK, "run.eval_every"),
    "evaluation_images": (_HOOK, ""),
    "label_smoothing": ("model.label_smoothing", "targets.xtuner.extra.model.label_smoothing"),
    "log_interval": ("default_hooks.logger.interval", "run.log_every"),
    "loss_type": ("model.loss_type", "train.task"),
    "optim_type": ("optim_wrapper.optimizer.type", "strategy.optimizer"),
    "penalty_type": ("model.penalty_type, which mfc writes", ""),
    "sampler": ("train_dataloader.sampler", "strategy.sequence_parallel"),
    "dpo_loss_type": ("model.loss_type in DPO", "train.task"),
    "loss_beta": ("model.beta in DPO and ORPO", "train.task"),
    "warm_up_ratio": ("param_scheduler", "train.optim.warmup"),
    "warmup_ratio": ("param_scheduler", "train.optim.warmup"),
    **dict.fromkeys(
        ("data_config_name", "data_path", "data_root", "dataset_folder", "path"), ("train_dataset", "data.train")
    ),
    **dict.fromkeys(
        (
            *("alpaca_en", "alpaca_en_path", "alpaca_zh", "alpaca_zh_path", "crime_kg_assitant"),
            *("crime_kg_assitant_path", "law_reference_data", "law_reference_data_path", "moss_sft_no_plugins"),
            *("moss_sft_no_plugins_path", "moss_sft_plugins", "moss_sft_plugins_path", "oasst1", "oasst1_path"),
        ),
        ("train_dataset", "data.train"),
    ),
    **dict.fromkeys(("image_folder", "image_processor", "llava_dataset"), ("the data set of LLaVA's configs", "")),
    **dict.fromkeys(
        ("llm_name_or_path", "pretrained_pth", "visual_encoder_name_or_path"), ("the model of LLaVA's configs", "")
    ),
}


def _compares_nothing(plan: Plan, _: Data) -> bool:
    return plan.strategy.task not in ("dpo", "orpo")  # where mfc writes what it means


def _answers_nothing(plan: Plan, _: Data) -> bool:
    return not plan.values["samples"]  # where mfc writes them


def _always(*_: object) -> bool:
    return True


_WHEN: dict[str, Callable[[Plan, Data], bool]] = {
    **dict.fromkeys(("dpo_loss_type", "loss_beta"), _compares_nothing),
    **dict.fromkeys(("SYSTEM", "evaluation_freq"), _answers_nothing),
}
CLASHES: tuple[Clash, ...] = tuple(
    Clash(
        name,
        _WHEN.get(name, _always),
        f"XTuner reads no setting of this name, but {where}",
        _SOURCE,
        instead,
    )
    for name, (where, instead) in _READ.items()
)
