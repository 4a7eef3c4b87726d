"""Rollouts: how GRPO and PPO generate answers, and what that takes of cards and hosts.

`planner.layouts` lays generation over the GPUs (`problem.split`); everything here follows from that.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from mfc.memory import rollout as memory
from mfc.rules.batch import generations
from mfc.rules.engine import Value, advise, derive, from_spec, require, said
from mfc.rules.words import gib, gpus, listed
from mfc.strategy import Rollout

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.problem import Problem
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import RolloutMode

_SPEC = "the spec language"
_VLLM = "vLLM gpu_worker.py: gpu_memory_utilization is a share of the whole card, weights and KV cache included"
_KL = {"grpo": (0.04, "GRPO, arXiv:2402.03300"), "ppo": (0.05, "TRL trainer/ppo_config.py: kl_coef")}
_TASKS = ("grpo", "ppo")
NONE = Value(None, "the task generates nothing")
_SHARED = ("gpu_memory_utilization", "tensor_parallel", "sleep")  # parts of a share that the spec may set


@derive("rollout_mode", _SPEC)
def rollout_mode(problem: Problem) -> Value:
    """Answers are generated where the layout of the GPUs says; the layouts are compared as a whole."""
    if problem.split is None:
        return NONE
    mode, asked = problem.split.mode, problem.spec.train.rollout
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
    number = problem.split.gpus
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


@require("vLLM: tensor parallelism splits attention heads, over the GPUs of one node")
def engines_divide(problem: Problem) -> str | None:
    """A pinned tensor parallelism divides the GPUs that generate and the model's heads."""
    asked, split = problem.spec.train.rollout.tensor_parallel, problem.split
    if split is None or asked == "auto":
        return None
    within = split.gpus // split.nodes if split.mode == "server" else problem.hardware.gpus_per_node
    if within % asked:
        return f"train.rollout.tensor_parallel: {asked} does not divide {gpus(within)} of a node that generate"
    for _, block in problem.model.architecture.blocks:
        if block.attention.heads % asked:
            return f"{block.attention.heads} attention heads do not divide over {gpus(asked)}"
    return None


@derive("rollout", "PPO: InstructGPT, arXiv:2203.02155, four models; GRPO, arXiv:2402.03300, drops the critic")
def rollout(
    spec: Spec,
    profile: Profile,
    rollout_mode: RolloutMode | None,
    max_completion_length: int | None,
    rewards: tuple[str, ...],
) -> Value:
    """PPO holds a reward model and trains a critic; GRPO holds the reward models that are no functions."""
    if rollout_mode is None or max_completion_length is None:
        return NONE
    models = sum(is_model(name) for name in rewards)
    if spec.train.task == "grpo":
        said = f"{models} reward model{'s' * (models > 1)} beside the policy"
        if not models:
            said = "functions score the answers, no model does" if rewards else "the spec names no rewards"
        return Value(
            Rollout(mode=rollout_mode, max_completion_length=max_completion_length, frozen_models=models), said
        )
    # A framework may put the critic's head on the policy itself.
    critic = profile.can("critic")[0] == "model"
    said = "policy, reference, reward model" + (" and a critic that trains" if critic else "; the critic is a head")
    return Value(Rollout(rollout_mode, max_completion_length, max(models, 1), critic), said)


@derive("steps_per_generation", "TRL trainer/grpo_config.py: generation_batch_size = micro-batch x GPUs x this")
def steps_per_generation(task: str, gradient_accumulation: int) -> Value:
    """Answers are generated once for each optimizer step, so training stays on policy."""
    if task != "grpo":
        return Value(None, f"task {task} has no generation batch")
    return Value(
        gradient_accumulation, f"all {gradient_accumulation} micro-steps of a step use answers of one generation"
    )


@derive("rollout_share", _VLLM)
def rollout_share(
    problem: Problem,
    batch_size: int,
    max_length: int,
    sharding: str,
    upper_bytes: float,
    idle_bytes: float,
    parked_bytes: float,
    host_bytes: float,
    budget_bytes: int,
) -> Value:
    """Generation takes the share that holds most answers at once and leaves training what it needs."""
    if problem.split is None:
        return NONE
    share = share_of(
        problem, batch_size, max_length, sharding, upper_bytes, idle_bytes, parked_bytes, host_bytes, budget_bytes
    )
    card = problem.hardware.gpu.usable_bytes
    pins = [name for name in _SHARED if getattr(problem.spec.train.rollout, name) != "auto"]
    at_once = f"{share.concurrency} of an engine's {share.sequences} answers at once, each at its longest"
    if pins:
        at_once += f"; the spec says {listed(pins, 'and')}"
    if problem.split.mode == "native":
        said = f"each GPU generates its {share.sequences} answers at once without vLLM"
        return Value(share, f"{said}: up to {gib(share.generating_bytes)} of {gib(budget_bytes)}")
    said = f"{share.utilization:g} of {gib(card)} = {gib(share.utilization * card)} for weights and KV cache: {at_once}"
    if problem.split.mode == "server":
        return Value(share, f"{said}; these GPUs do nothing else")
    way = "vLLM stays on the card while training steps"
    if share.sleep_level == 1:
        way = f"vLLM sleeps while training steps, its weights in host memory ({gib(share.host_bytes)} a node)"
    elif share.sleep_level == 2:
        way = "vLLM sleeps while training steps and gets its weights anew"
    if share.offload:
        way += "; training's weights and optimizer wait on the host while vLLM generates"
    moments = f"{gib(share.generating_bytes)} generating, {gib(share.stepping_bytes)} in a training step"
    return Value(share, f"{said}; {way}; {moments}, of {gib(budget_bytes)}")


@require(_VLLM, limits="rollout")
def rollouts_fit(
    problem: Problem,
    batch_size: int,
    max_length: int,
    sharding: str,
    upper_bytes: float,
    idle_bytes: float,
    parked_bytes: float,
    host_bytes: float,
    budget_bytes: int,
) -> str | None:
    """Generation fits beside what training keeps, and a training step beside what vLLM keeps."""
    if problem.split is None:
        return None
    share = share_of(
        problem, batch_size, max_length, sharding, upper_bytes, idle_bytes, parked_bytes, host_bytes, budget_bytes
    )
    card = problem.hardware.gpu.usable_bytes
    taken = f"vLLM's {share.utilization:g} of the whole card is {gib(share.utilization * card)}"
    if share.starved:
        least = memory.engine(problem.model.architecture, max_length, share.sequences, share.tensor_parallel).least
        return (
            f"{taken}, and it needs {gib(least)} to start: weights over {gpus(share.tensor_parallel)}, working space "
            f"and the KV cache of one sequence of {max_length} tokens"
        )
    if share.generating_bytes > budget_bytes:
        if problem.split.mode == "native":
            return f"generating takes {gib(share.generating_bytes)} on a GPU, above {gib(budget_bytes)}"
        kept = parked_bytes if share.offload else idle_bytes
        beside = "" if problem.split.mode == "server" else f", training keeps {gib(kept)} there between steps"
        return (
            f"{taken}{beside} and CUDA graphs take {gib(memory.GRAPHS)}: {gib(share.generating_bytes)} "
            f"while answers are generated, above {gib(budget_bytes)}"
        )
    if share.stepping_bytes > budget_bytes:
        left = "sleeping, it keeps" if share.sleep_level else f"{taken}; with graphs it keeps"
        kept = share.stepping_bytes - upper_bytes
        return (
            f"a training step takes up to {gib(upper_bytes)} and vLLM, {left} {gib(kept)} beside it: "
            f"{gib(share.stepping_bytes)}, above {gib(budget_bytes)}"
        )
    return None


@advise("vLLM docs: preempted or waiting sequences lengthen a generation")
def answers_wait(spec: Spec, rollout_share: memory.Share | None) -> str | None:
    """Where the KV cache holds few of the answers at once, generation takes several rounds."""
    if rollout_share is None or rollout_share.concurrency >= rollout_share.sequences:
        return None
    rounds = -(-rollout_share.sequences // max(rollout_share.concurrency, 1))
    return (
        f"vLLM's KV cache holds {rollout_share.concurrency} of {rollout_share.sequences} answers at their longest, so "
        f"task {spec.train.task} may generate in {rounds} rounds"
    )


def is_model(reward: str) -> bool:
    """Whether a reward is a model (a path or a hub id) and not the name of a function."""
    return "/" in reward


def share_of(
    problem: Problem,
    batch_size: int,
    max_length: int,
    sharding: str,
    upper_bytes: float,
    idle_bytes: float,
    parked_bytes: float,
    host_bytes: float,
    budget_bytes: int,
) -> memory.Share:
    """How generation and training share the cards, in a problem that is laid out for both."""
    split, hardware, asked = problem.split, problem.hardware, problem.spec.train.rollout
    assert split is not None
    room = hardware.usable_host_bytes or None
    training = memory.Training(
        upper=upper_bytes,
        idle=idle_bytes,
        parked=parked_bytes,
        gpus_per_node=hardware.gpus_per_node,
        budget=budget_bytes,
        card=hardware.gpu.usable_bytes,
        host=None if room is None else max(room - host_bytes, 0.0),
    )
    architecture = problem.model.architecture
    if split.mode == "native":
        alone = memory.engine(architecture, max_length, max(batch_size // hardware.world_size, 1), 1)
        return memory.native(alone, training, gathers=sharding in ("zero3", "fsdp2"))
    pinned = None if asked.gpu_memory_utilization == "auto" else asked.gpu_memory_utilization
    sleeps = (False, True) if asked.sleep == "auto" else (asked.sleep,)
    shares = []
    for width in widths(problem):
        sequences = -(-batch_size * width // split.gpus)
        made = memory.engine(architecture, max_length, sequences, width)
        shares.append(
            memory.served(made, training.card, pinned)
            if split.mode == "server"
            else memory.colocated(made, training, pinned, sleeps)
        )
    return memory.best(shares, budget_bytes)


def widths(problem: Problem) -> tuple[int, ...]:
    """Over how many GPUs one engine may split the model: of one node, and each gets whole attention heads."""
    split, asked = problem.split, problem.spec.train.rollout.tensor_parallel
    if split is None or asked != "auto":
        return (1,) if asked == "auto" else (asked,)
    within = split.gpus // split.nodes if split.mode == "server" else problem.hardware.gpus_per_node
    return _dividing(problem.model.architecture, within)


@lru_cache(maxsize=64)
def _dividing(architecture: Architecture, within: int) -> tuple[int, ...]:
    heads = [block.attention.heads for _, block in architecture.blocks]
    return tuple(n for n in (1, 2, 4, 8) if within % n == 0 and all(number % n == 0 for number in heads))


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
    engines_divide,
    rollout,
    steps_per_generation,
    rollout_share,
    rollouts_fit,
    answers_wait,
)
