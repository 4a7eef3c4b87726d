"""Rollouts: what GRPO and PPO generate and how it is scored. What that takes of the cards is in `rules.sharing`.

`planner.layouts` lays generation over the GPUs (`problem.split`); everything here follows from that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.catalog import models
from mfc.catalog.parameters import count
from mfc.rules.batch import generations
from mfc.rules.engine import Value, advise, derive, from_spec, require, said
from mfc.rules.words import gpus, listed, short
from mfc.strategy import Rollout

if TYPE_CHECKING:
    from mfc.problem import Model, Problem
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import RolloutMode

_SPEC = "the spec language"
_KL = {"grpo": (0.04, "GRPO, arXiv:2402.03300"), "ppo": (0.05, "TRL trainer/ppo_config.py: kl_coef")}
_TASKS = ("grpo", "ppo")
NONE = Value(None, "the task generates nothing")


@derive("rollout_mode", _SPEC)
def rollout_mode(problem: Problem) -> Value:
    """Answers are generated where the layout of the GPUs says; the layouts are compared as a whole."""
    if problem.split is None:
        return NONE
    mode, asked = problem.split.mode, problem.spec.train.rollout
    if problem.split.outside:
        return from_spec(mode, "train.rollout.server")
    pins = {"mode": asked.mode == mode, "engine": asked.engine == mode, "gpus": asked.gpus != "auto"}
    for name, pinned in pins.items():
        if pinned:
            return from_spec(mode, f"train.rollout.{name}")
    return Value(mode, "the layout at hand")


@derive("rollout_gpus", _SPEC)
def rollout_gpus(problem: Problem) -> Value:
    """How many GPUs generate."""
    if problem.split is None:
        return NONE
    number, server = problem.split.gpus, problem.spec.train.rollout.server
    if problem.split.outside:
        return Value(0, f"none of these: vLLM is at {server.host}:{server.port}")
    if problem.spec.train.rollout.gpus == number:
        return from_spec(number, "train.rollout.gpus")
    if problem.split.mode == "server":
        return Value(number, f"{gpus(number)} that {'does' if number == 1 else 'do'} not train")
    return Value(number, f"{gpus(number)}, the same that train")


@derive("num_generations", "GRPO, arXiv:2402.03300: answers to one prompt are compared with each other")
def num_generations(spec: Spec) -> Value:
    """GRPO compares 8 answers per prompt unless the spec says how many."""
    if spec.train.task != "grpo":
        return Value(None, f"task {spec.train.task} compares no answers of one prompt")
    asked = spec.train.rollout.num_generations
    if asked != "auto":
        return from_spec(asked, "train.rollout.num_generations")
    return Value(generations(spec), "8 answers to each prompt, as TRL has it")


@derive("max_completion_length", "arithmetic: a prompt and its answer make one sequence of max_length")
def max_completion_length(spec: Spec, max_length: int) -> Value:
    """Left open, an answer has what the prompt leaves of the sequence, or half of it."""
    if spec.train.task not in _TASKS:
        return NONE
    asked, prompt = spec.train.rollout.max_completion_length, spec.train.rollout.max_prompt_length
    if asked != "auto":
        return from_spec(asked, "train.rollout.max_completion_length")
    if prompt != "auto":
        return Value(max(max_length - prompt, 0), f"{max_length} tokens less {prompt} of the prompt")
    return Value(max_length // 2, f"half of {max_length} tokens")


@derive("max_prompt_length", "arithmetic: a prompt and its answer make one sequence of max_length")
def max_prompt_length(spec: Spec, max_length: int, max_completion_length: int | None) -> Value:
    """A prompt has what the answer leaves of the sequence."""
    if max_completion_length is None:
        return NONE
    asked = spec.train.rollout.max_prompt_length
    if asked != "auto":
        return from_spec(asked, "train.rollout.max_prompt_length")
    left = max_length - max_completion_length
    return Value(left, f"{max_length} tokens less {max_completion_length} of the answer")


@require("arithmetic: a prompt and its answer make one sequence of max_length")
def prompt_and_answer_fit(
    max_length: int, max_prompt_length: int | None, max_completion_length: int | None
) -> str | None:
    """The longest prompt and the longest answer fit into a sequence."""
    if max_prompt_length is None or max_completion_length is None:
        return None
    if max_prompt_length > 0 and max_completion_length > 0 and max_prompt_length + max_completion_length <= max_length:
        return None
    if max_prompt_length <= 0 or max_completion_length <= 0:
        return (
            f"of {max_length} tokens, an answer of {max_completion_length} leaves {max_prompt_length} for the prompt: "
            "set data.max_length to the longest of both together"
        )
    return (
        f"{max_prompt_length} tokens of prompt and {max_completion_length} of answer are more than {max_length}: "
        f"set data.max_length: {max_prompt_length + max_completion_length}"
    )


@require("GRPO, arXiv:2402.03300: the advantage of an answer is relative to its group")
def groups_compare_answers(num_generations: int | None) -> str | None:
    """A group has at least two answers."""
    if num_generations is None or num_generations >= 2:
        return None
    return "one answer a prompt has nothing to be compared with: train.rollout.num_generations is at least 2"


@derive("kl_beta", "GRPO arXiv:2402.03300: 0.04; TRL trainer/ppo_config.py: 0.05")
def kl_beta(spec: Spec) -> Value:
    """The pull to the reference is the paper's unless the spec says otherwise."""
    if spec.train.task not in _TASKS:
        return Value(None, f"task {spec.train.task} has no KL penalty of this kind")
    asked = spec.train.rollout.beta
    if asked != "auto":
        return from_spec(asked, "train.rollout.beta")
    rate, source = _KL[spec.train.task]
    way = "; 0 needs no reference model" if spec.train.task == "grpo" else ""
    return Value(rate, f"{rate:g}, as in {source.partition(',')[0].partition(':')[0]}{way}")


@derive("rewards", _SPEC)
def rewards(spec: Spec) -> Value:
    """Answers are scored as the spec says."""
    if spec.train.task not in _TASKS:
        return Value((), "the task generates nothing")
    return said(spec.train.rollout, "rewards", "train.rollout", "the spec names none")


@derive("rollout", "PPO: InstructGPT, arXiv:2203.02155, four models; GRPO, arXiv:2402.03300, drops the critic")
def rollout(
    spec: Spec,
    model: Model,
    profile: Profile,
    rollout_mode: RolloutMode | None,
    max_completion_length: int | None,
    rewards: tuple[str, ...],
) -> Value:
    """PPO holds a reward model and trains a critic; GRPO holds the reward models that are no functions."""
    if rollout_mode is None or max_completion_length is None:
        return NONE
    grpo = spec.train.task == "grpo"
    scoring = tuple(numbers(name, model) for name in rewards if is_model(name) or not grpo)
    if grpo:
        said = f"{len(scoring)} reward model{'s' * (len(scoring) > 1)} beside the policy"
        if not scoring:
            said = "functions score the answers, no model does" if rewards else "the spec names no rewards"
        return Value(Rollout(rollout_mode, max_completion_length, scoring), said + _sizes(scoring))
    scoring = scoring or (model.total_parameters,)
    # A framework may begin the critic from the policy, or put its head on the policy itself.
    critics = {"model": scoring[0] / model.total_parameters, "policy": 1.0, "head": 0.0}
    critic = critics[profile.can("critic")[0]]
    said = "policy, reference, reward model" + (" and a critic that trains" if critic else "; the critic is a head")
    return Value(Rollout(rollout_mode, max_completion_length, scoring, critic), said + _sizes(scoring))


def _sizes(scoring: tuple[int, ...]) -> str:
    return f", of {listed(map(short, scoring), 'and')} parameters in 16 bit" if scoring else ""


@derive("steps_per_generation", "TRL trainer/grpo_config.py: generation_batch_size = micro-batch x GPUs x this")
def steps_per_generation(task: str, gradient_accumulation: int) -> Value:
    """Answers are generated once for each optimizer step, so training stays on policy."""
    if task != "grpo":
        return Value(None, f"task {task} has no generation batch")
    return Value(
        gradient_accumulation, f"all {gradient_accumulation} micro-steps of a step use answers of one generation"
    )


@advise("mfc's memory model: a reward model outside the catalogue is counted at the policy's size")
def sizes_of_rewards_are_assumed(model: Model, task: str, rewards: tuple[str, ...]) -> str | None:
    """A reward model that the catalogue does not know is taken to be as large as the policy."""
    unknown = [name for name in rewards if (is_model(name) or task == "ppo") and _known(name) is None]
    if not unknown:
        return None
    return (
        f"{listed(unknown, 'and')} {'is' if len(unknown) == 1 else 'are'} not in the catalogue and counted as large as "
        f"the policy ({short(model.total_parameters)} parameters): a larger reward model takes more than is said here"
    )


def is_model(reward: str) -> bool:
    """Whether a reward is a model (a path or a hub id) and not the name of a function."""
    return "/" in reward


def numbers(reward: str, policy: Model) -> int:
    """Parameters of a reward model: the catalogue's, or of one that it does not know, the policy's."""
    return _known(reward) or policy.total_parameters


def _known(reward: str) -> int | None:
    found = models.known(reward, local=True)
    return count(found.architecture).total if found else None


RULES = (
    rollout_mode,
    rollout_gpus,
    num_generations,
    max_completion_length,
    max_prompt_length,
    prompt_and_answer_fit,
    groups_compare_answers,
    kl_beta,
    rewards,
    rollout,
    steps_per_generation,
    sizes_of_rewards_are_assumed,
)
