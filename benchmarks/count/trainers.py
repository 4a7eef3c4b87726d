"""Preference trainers of the frameworks without their constructors: methods run as they are, on fields set here."""

from __future__ import annotations

import contextlib
import importlib
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import peft
import torch

TASKS = ("dpo", "kto", "orpo", "simpo")


def trainer_of(module: str, name: str, task: str, policy: Any, reference: Any, **fields: Any) -> Any:
    """A trainer with what its constructor would have set; `fields` are one framework's own."""
    made = object.__new__(getattr(importlib.import_module(module), name))
    own = {
        "model": policy,
        "ref_model": reference,
        "is_peft_model": isinstance(policy, peft.PeftModel),
        "loss_type": task,
        "accelerator": _accelerator(),
        "args": _arguments(),
    }
    for key, value in {**_settings(), **own, **fields}.items():
        object.__setattr__(made, key, value)
    return made


def _accelerator() -> Any:
    return SimpleNamespace(
        device=torch.device("cpu"),
        is_main_process=True,
        unwrap_model=lambda model, *_args, **_keys: model,
        gather_for_metrics=lambda tensor: tensor,
        gather=lambda tensor: tensor,
    )


def _arguments() -> Any:
    """Training arguments that the methods look at."""
    return SimpleNamespace(
        device=torch.device("cpu"),
        use_logits_to_keep=False,
        use_liger_loss=False,
        use_liger_kernel=False,
        rpo_alpha=None,
        ld_alpha=None,
        max_length=None,
        gradient_accumulation_steps=1,
        gradient_checkpointing_kwargs={"use_reentrant": False},
    )


def _settings() -> dict[str, Any]:
    """Fields of any of the trainers, as their defaults have them."""
    return {
        "beta": 0.1,
        "label_smoothing": 0.0,
        "simpo_gamma": 0.5,
        "alpha": 0.0,
        "cpo_alpha": 0.0,
        "reference_free": False,
        "f_divergence_type": "reverse_kl",
        "f_divergence_params": {},
        "use_weighting": False,
        "aux_loss_enabled": False,
        "is_encoder_decoder": False,
        "is_vision_model": False,
        "label_pad_token_id": -100,
        "padding_value": 0,
        "pad_token_id": 0,
        "precompute_ref_log_probs": False,
        "ref_adapter_name": None,
        "model_adapter_name": None,
        "_peft_has_been_casted_to_bf16": False,
        "_stored_metrics": defaultdict(lambda: defaultdict(list)),
        "calculate_KL": True,
        "desirable_weight": 1.0,
        "undesirable_weight": 1.0,
        "model_accepts_loss_kwargs": False,
    }


def llamafactory(task: str, policy: Any, reference: Any) -> Any:
    """DPO's trainer has ORPO and SimPO as losses."""
    stage = "kto" if task == "kto" else "dpo"
    return trainer_of(
        f"llamafactory.train.{stage}.trainer",
        f"Custom{stage.upper()}Trainer",
        task,
        policy,
        reference,
        finetuning_args=SimpleNamespace(use_ref_model=task == "dpo"),
        loss_type="sigmoid" if task == "dpo" else task,
        ftx_gamma=0.0,
        bco_gemma=0.0,
        ld_alpha=None,
    )


def _stem(task: str) -> str:
    """How TRL names the trainer of a task: SimPO is a loss of CPO's."""
    return "cpo" if task == "simpo" else task


def trl(task: str, policy: Any, reference: Any) -> Any:
    """All but DPO's are experimental."""
    stem = _stem(task)
    only_dpo: dict[str, Any] = {
        "ld_alpha": None,
        "precompute_ref_logps": False,
        "loss_types": ["sigmoid"],
        "loss_weights": [1.0],
        "use_liger_kernel": False,
        "_total_train_tokens": 0,
        "_metrics": defaultdict(lambda: defaultdict(list)),
    }
    return trainer_of(
        "trl" if task == "dpo" else f"trl.experimental.{stem}",
        f"{stem.upper()}Trainer",
        task,
        policy,
        reference,
        **(only_dpo if task == "dpo" else {}),
    )


def swift(task: str, policy: Any, reference: Any) -> Any:
    """Subclasses of TRL's, in another package before 4.0."""
    package = "swift.rlhf_trainers" if version("ms-swift").startswith("4") else "swift.trainers.rlhf_trainer"
    stem = _stem(task)
    return trainer_of(
        f"{package}.{stem}_trainer",
        f"{stem.upper()}Trainer",
        task,
        policy,
        reference,
        loss_type=["sigmoid"] if task == "dpo" else task,
        loss_weights=None,
        template=SimpleNamespace(padding_free=False, packing=False, sequence_parallel_size=1),
    )


class Prepared:
    """What xtuner's models are called through."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def compute_loss(self, _model: Any, batch: dict[str, Any]) -> Any:
        with torch.autocast("cpu", torch.bfloat16) if self.made.amp else contextlib.nullcontext():
            losses = self.made.compute_loss(batch)
        # mmengine BaseModel.parse_losses sums what is called a loss; the rest is logged
        return losses["loss"].mean() if losses["loss"].dim() else losses["loss"]


def xtuner(task: str, policy: Any, reference: Any) -> Any:
    name = {"dpo": "DPO", "orpo": "ORPO"}[task]
    made = object.__new__(getattr(importlib.import_module(f"xtuner.model.{task}"), name))
    torch.nn.Module.__init__(made)
    made.llm, made.ref_llm, made.beta = policy, reference, 0.1
    made.loss_type, made.label_smoothing, made.use_varlen_attn = "sigmoid", 0.0, False
    made.amp = policy.amp
    return Prepared(made)


FRAMEWORKS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "llamafactory": (llamafactory, TASKS),
    "trl": (trl, TASKS),
    "swift": (swift, TASKS),
    "xtuner": (xtuner, ("dpo", "orpo")),
}
