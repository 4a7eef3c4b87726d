"""How answers are sampled, weighed and learnt from: what the spec alone says of GRPO and PPO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import Value, derive, from_spec, require, said

if TYPE_CHECKING:
    from mfc.spec.models import Spec

_SPEC = "the spec language"
_ROLLOUT = "train.rollout"
NONE = Value(None, "the task compares no answers of one prompt")


def _grpo(spec: Spec, field: str, default: str) -> Value:
    return said(spec.train.rollout, field, _ROLLOUT, default) if spec.train.task == "grpo" else NONE


@derive("temperature", _SPEC)
def temperature(spec: Spec) -> Value:
    """Answers are samples of the policy itself, at temperature 1, unless the spec says otherwise."""
    if spec.train.task not in ("grpo", "ppo"):
        return Value(None, "the task generates nothing")
    return said(spec.train.rollout, "temperature", _ROLLOUT, "1: answers are the policy's own samples")


@derive("top_p", _SPEC)
def top_p(spec: Spec) -> Value:
    """No token is left out of sampling for its probability unless the spec says so."""
    return _grpo(spec, "top_p", "1: the whole distribution is sampled from")


@derive("top_k", _SPEC)
def top_k(spec: Spec) -> Value:
    """No token is left out of sampling for its rank unless the spec says so."""
    return _grpo(spec, "top_k", "0: all tokens are sampled from")


@derive("repetition_penalty", _SPEC)
def repetition_penalty(spec: Spec) -> Value:
    """Tokens that were said before are as likely as others unless the spec says otherwise."""
    return _grpo(spec, "repetition_penalty", "1: none")


@derive("iterations", "GRPO, arXiv:2402.03300: mu in algorithm 1; TRL trainer/ppo_config.py: num_ppo_epochs 4")
def iterations(spec: Spec) -> Value:
    """GRPO takes one optimizer step on the answers of one generation and PPO four, unless the spec says how many."""
    if spec.train.task not in ("grpo", "ppo"):
        return Value(None, "the task generates nothing")
    asked = spec.train.rollout.iterations
    if asked != "auto":
        return from_spec(asked, f"{_ROLLOUT}.iterations")
    if spec.train.task == "grpo":
        return Value(1, "1: training is on policy")
    return Value(4, "4 passes over the answers of one generation, as TRL has it")


@derive("loss_type", "bnpo and dr_grpo: arXiv:2503.20783; dapo: arXiv:2503.14476; cispo: arXiv:2506.13585")
def loss_type(spec: Spec) -> Value:
    """Losses of tokens add up as the spec says; left open, as in the paper, which needs no saying."""
    asked = spec.train.rollout.loss_type
    if spec.train.task != "grpo" or asked == "auto":
        return Value(None, "as in the GRPO paper")
    return from_spec(asked, f"{_ROLLOUT}.loss_type")


@derive("reward_weights", _SPEC)
def reward_weights(spec: Spec) -> Value:
    """Rewards count alike unless the spec weighs them."""
    return _grpo(spec, "reward_weights", "all rewards count alike")


@derive("plugins", _SPEC)
def plugins(spec: Spec) -> Value:
    """Reward functions are the trainer's own unless the spec names files with others."""
    return _grpo(spec, "plugins", "no further files")


@require("arithmetic: each reward has one weight")
def weights_are_those_of_rewards(rewards: tuple[str, ...], reward_weights: tuple[float, ...] | None) -> str | None:
    """There are as many weights as rewards."""
    if not reward_weights or len(reward_weights) == len(rewards):
        return None
    return f"train.rollout.reward_weights has {len(reward_weights)} numbers for {len(rewards)} rewards"


RULES = (
    temperature,
    top_p,
    top_k,
    repetition_penalty,
    iterations,
    loss_type,
    reward_weights,
    plugins,
    weights_are_those_of_rewards,
)
