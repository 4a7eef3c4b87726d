"""The rest of the recipe. Every target is told all of it, so one spec is the same experiment everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import Value, advise, derive, from_spec, require, said

if TYPE_CHECKING:
    from mfc.problem import Model
    from mfc.spec.models import Spec

_SPEC = "the spec language"


@derive("weight_decay", _SPEC)
def weight_decay(spec: Spec) -> Value:
    """Weights do not decay unless the spec says so."""
    return said(spec.train.optim, "weight_decay", "train.optim", "none unless the spec asks for it")


@derive("max_grad_norm", _SPEC)
def max_grad_norm(spec: Spec) -> Value:
    """Gradients are clipped to norm 1 unless the spec says otherwise."""
    return said(
        spec.train.optim, "max_grad_norm", "train.optim", "clipped to 1, the default of the Hugging Face Trainer"
    )


@derive("adam_beta1", _SPEC + "; Adam: arXiv:1412.6980")
def adam_beta1(spec: Spec) -> Value:
    """Adam's first decay rate is 0.9 unless the spec says otherwise."""
    betas = said(spec.train.optim, "betas", "train.optim", "Adam's own default")
    return betas._replace(value=betas.value[0])


@derive("adam_beta2", _SPEC + "; Adam: arXiv:1412.6980")
def adam_beta2(spec: Spec) -> Value:
    """Adam's second decay rate is 0.999 unless the spec says otherwise."""
    betas = said(spec.train.optim, "betas", "train.optim", "Adam's own default")
    return betas._replace(value=betas.value[1])


@derive("adam_epsilon", _SPEC + "; Adam: arXiv:1412.6980")
def adam_epsilon(spec: Spec) -> Value:
    """Adam's epsilon is 1e-8 unless the spec says otherwise."""
    return said(spec.train.optim, "epsilon", "train.optim", "Adam's own default")


@derive("seed", _SPEC)
def seed(spec: Spec) -> Value:
    """The seed is 42 unless the spec says otherwise."""
    return said(spec.train.optim, "seed", "train.optim", "fixed, so that a run can be repeated")


@derive("epochs", _SPEC)
def epochs(spec: Spec) -> Value:
    """Training passes three times over the data unless the spec says otherwise."""
    if spec.train.epochs is None:
        return Value(None, "train.max_steps ends the run")
    return said(spec.train, "epochs", "train", "three passes over the data")


@derive("max_steps", _SPEC)
def max_steps(spec: Spec) -> Value:
    """The number of steps is limited only where the spec says so."""
    return said(spec.train, "max_steps", "train", "epochs end the run")


@derive("preference_loss", "DPO arXiv:2305.18290, KTO 2402.01306, ORPO 2403.07691, SimPO 2405.14734")
def preference_loss(task: str) -> Value:
    """The loss on preferences is the one of the task."""
    losses = {"dpo": "sigmoid", "kto": "kto", "orpo": "orpo", "simpo": "simpo"}
    if task not in losses:
        return Value(None, f"task {task} compares no preferences")
    return Value(losses[task], f"the loss of the {task.upper()} paper")


@derive("preference_beta", "DPO arXiv:2305.18290, KTO 2402.01306, ORPO 2403.07691: 0.1; SimPO 2405.14734: 2.0")
def preference_beta(spec: Spec) -> Value:
    """The strength of preferences is the paper's unless the spec says otherwise."""
    task, asked = spec.train.task, spec.train.preference.beta
    papers = {"dpo": 0.1, "kto": 0.1, "orpo": 0.1, "simpo": 2.0}
    if task not in papers:
        return Value(None, f"task {task} compares no preferences")
    if asked != "auto":
        return from_spec(asked, "train.preference.beta")
    return Value(papers[task], f"{papers[task]:g}, as in the {task.upper()} paper")


@derive("preference_gamma", "SimPO arXiv:2405.14734: a margin of half of beta to start from")
def preference_gamma(spec: Spec, preference_beta: float | None) -> Value:
    """SimPO's margin is half of beta unless the spec says otherwise."""
    if spec.train.task != "simpo" or preference_beta is None:
        return Value(None, f"task {spec.train.task} has no margin")
    asked = spec.train.preference.gamma
    if asked != "auto":
        return from_spec(asked, "train.preference.gamma")
    return Value(preference_beta / 2, f"half of beta {preference_beta:g}")


@derive("reference_model", "DPO arXiv:2305.18290, GRPO 2402.03300; TRL null_ref_context switches adapters off")
def reference_model(spec: Spec, method: str, kl_beta: float | None) -> Value:
    """A task with a reference holds a frozen copy of the model, unless switching the adapters off gives the same."""
    task = spec.train.task
    if task not in ("dpo", "kto", "grpo", "ppo"):
        return Value(False, f"task {task} has no reference model")
    if task == "grpo" and kl_beta == 0:
        return Value(False, "train.rollout.beta is 0, so nothing is compared with a reference")
    if spec.train.preference.reference != "auto":
        return from_spec(True, "train.preference.reference")
    if method in ("lora", "qlora"):
        return Value(False, "the model with its adapters switched off is the reference")
    return Value(True, f"{task} with method {method} compares with a frozen copy of the model")


@require("DPO arXiv:2305.18290 starts from a model that has been fine-tuned")
def continued_adapters_are_no_reference(spec: Spec, reference_model: bool) -> str | None:
    """A continued adapter cannot be switched off to give the reference."""
    adapter = spec.model.adapter is not None and spec.model.adapter_mode == "continue"
    if not adapter or spec.train.task not in ("dpo", "kto") or reference_model:
        return None
    return (
        "with the given adapter switched off, the reference would be the model before it: set adapter_mode: merge, or "
        "train.preference.reference"
    )


@advise("DPO arXiv:2305.18290, section 4: the reference is the fine-tuned model")
def preferences_want_a_tuned_model(spec: Spec, model: Model) -> str | None:
    """Preference training starts from a model that already answers."""
    if spec.train.task not in ("dpo", "kto", "simpo") or model.instruct is not False or spec.model.adapter:
        return None
    return (
        f"{model.name} is a base model; {spec.train.task} is made for one that has been fine-tuned to answer: take "
        "such a one, or run task sft first"
    )


RULES = (
    weight_decay,
    max_grad_norm,
    adam_beta1,
    adam_beta2,
    adam_epsilon,
    seed,
    epochs,
    max_steps,
    preference_loss,
    preference_beta,
    preference_gamma,
    reference_model,
    continued_adapters_are_no_reference,
    preferences_want_a_tuned_model,
)
