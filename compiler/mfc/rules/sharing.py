"""How generation and training share cards and hosts: tensor parallelism, vLLM's share, and whether all of it fits."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from mfc.memory import rollout as memory
from mfc.memory.engine import engine
from mfc.rules.engine import Value, advise, derive, require
from mfc.rules.words import gib, gpus, listed

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.memory.costs import Between
    from mfc.problem import Problem
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Quantization

_VLLM = "vLLM gpu_worker.py: gpu_memory_utilization is a share of the whole card, weights and KV cache included"
NONE = Value(None, "the task generates nothing")
_SHARED = ("gpu_memory_utilization", "tensor_parallel", "sleep")  # parts of a share that the spec may set


@require("vLLM: tensor parallelism splits attention heads, over GPUs of one group of processes")
def engines_divide(problem: Problem) -> str | None:
    """A pinned tensor parallelism divides the GPUs that generate, a server's those of a node, and the model's heads."""
    asked, split = problem.spec.train.rollout.tensor_parallel, problem.split
    if split is None or asked == "auto" or not split.gpus:
        return None
    within = split.gpus // split.nodes
    if within % asked:
        return f"train.rollout.tensor_parallel: {asked} does not divide {gpus(within)} that generate"
    for _, block in problem.model.architecture.blocks:
        if block.attention.heads % asked:
            return f"{block.attention.heads} attention heads do not divide over {gpus(asked)}"
    return None


@derive("rollout_share", _VLLM)
def rollout_share(
    problem: Problem,
    profile: Profile,
    batch_size: int,
    max_length: int,
    max_prompt_length: int | None,
    quantization: Quantization | None,
    upper_bytes: float,
    between: Between,
    host_bytes: float,
    budget_bytes: int,
) -> Value:
    """Generation takes the share that holds most answers at once and leaves training what it needs."""
    if problem.split is None:
        return NONE
    share = share_of(
        problem,
        profile,
        batch_size,
        max_length,
        max_prompt_length,
        quantization,
        upper_bytes,
        between,
        host_bytes,
        budget_bytes,
    )
    sent = f"{gib(share.gathered_bytes)} of whole weights at most on each GPU while they are handed over"
    if problem.split.outside:
        return Value(share, f"vLLM is on hardware that this spec does not describe; {sent}")
    if problem.split.mode == "native":
        said = f"each GPU generates its {share.sequences} answers at once without vLLM"
        return Value(share, f"{said}: up to {gib(share.generating_bytes)} of {gib(budget_bytes)}")
    card = problem.hardware.gpu.usable_bytes
    said = f"{share.utilization:g} of {gib(card)} = {gib(share.utilization * card)} for weights and KV cache: "
    said += f"{share.concurrency} of an engine's {share.sequences} answers at once, each at its longest"
    if pins := [name for name in _SHARED if getattr(problem.spec.train.rollout, name) != "auto"]:
        said += f"; the spec says {listed(pins, 'and')}"
    if problem.split.mode == "server":
        return Value(share, f"{said}; these GPUs do nothing else; {sent}")
    moments = f"{gib(share.generating_bytes)} generating, {gib(share.stepping_bytes)} in a training step"
    moments += f", {gib(share.handing_bytes)} while weights are handed over"
    return Value(share, f"{said}; {_arrangement(share)}; {moments}, of {gib(budget_bytes)}")


def _arrangement(share: memory.Share) -> str:
    way = "vLLM stays on the card while training steps"
    if share.sleep_level == 1:
        way = f"vLLM sleeps while training steps, its weights in host memory ({gib(share.host_bytes)} a node)"
    elif share.sleep_level == 2:
        way = "vLLM sleeps while training steps and gets its weights anew"
    if share.offload:
        way += "; training's weights and optimizer wait on the host while vLLM generates"
    return way


@require(_VLLM, limits="rollout")
def rollouts_fit(
    problem: Problem,
    profile: Profile,
    batch_size: int,
    max_length: int,
    max_prompt_length: int | None,
    quantization: Quantization | None,
    upper_bytes: float,
    between: Between,
    host_bytes: float,
    budget_bytes: int,
) -> str | None:
    """Generation fits beside what training keeps, so do weights on their way, and a step beside what vLLM keeps."""
    if problem.split is None:
        return None
    share = share_of(
        problem,
        profile,
        batch_size,
        max_length,
        max_prompt_length,
        quantization,
        upper_bytes,
        between,
        host_bytes,
        budget_bytes,
    )
    room = problem.hardware.usable_host_bytes
    if room and host_bytes + share.host_bytes > room:
        return (
            f"beside training's {gib(host_bytes)}, {gib(share.host_bytes)} of weights wait in each node's RAM, of "
            f"which {gib(room)} may be used"
        )
    card = problem.hardware.gpu.usable_bytes
    taken = f"vLLM's {share.utilization:g} of the whole card is {gib(share.utilization * card)}"
    if share.starved:
        made = engine(
            problem.model.architecture, max_length, share.sequences, share.tensor_parallel, _served_in(quantization)
        )
        return (
            f"{taken}, and it needs {gib(made.least)} to start: weights over {gpus(share.tensor_parallel)}, working "
            f"space and the KV cache of one sequence of {max_length} tokens"
        )
    if share.handing_bytes > max(budget_bytes, share.generating_bytes):
        vllm = share.handing_bytes - share.gathered_bytes - between.idle
        beside = f", vLLM {gib(vllm)}" if problem.split.mode == "colocate" else ""
        return (
            f"while weights are handed to vLLM, training keeps {gib(between.idle)}{beside} and "
            f"{gib(share.gathered_bytes)} are gathered: {gib(share.handing_bytes)}, above {gib(budget_bytes)}"
        )
    if share.generating_bytes > budget_bytes:
        if problem.split.mode == "native":
            return f"generating takes {gib(share.generating_bytes)} on a GPU, above {gib(budget_bytes)}"
        kept = between.parked if share.offload else between.idle
        beside = "" if problem.split.mode == "server" else f", training keeps {gib(kept)} there between steps"
        return (
            f"{taken}{beside} and CUDA graphs take {gib(memory.GRAPHS)}: {gib(share.generating_bytes)} "
            f"while answers are generated, above {gib(budget_bytes)}"
        )
    if share.stepping_bytes > budget_bytes:
        twice = between.twice if share.offload else 0.0
        left = "sleeping, it keeps" if share.sleep_level else f"{taken}; with graphs it keeps"
        again = f" ({gib(twice)} of weights are there twice after they came back)" if twice else ""
        return (
            f"a training step takes up to {gib(upper_bytes + twice)}{again} and vLLM, {left} "
            f"{gib(share.stepping_bytes - upper_bytes - twice)} beside it: "
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
        f"task {spec.train.task} may generate in {rounds} rounds; a lower "
        "train.rollout.max_completion_length needs fewer"
    )


@advise("vLLM docs, parallelism and scaling: tensor parallelism exchanges activations in every layer")
def engines_cross_nodes(problem: Problem, rollout_share: memory.Share | None) -> str | None:
    """An engine over several nodes sends every layer's activations over the network."""
    width, within = rollout_share.tensor_parallel if rollout_share else 1, problem.hardware.gpus_per_node
    if problem.split is None or problem.split.mode != "colocate" or within % width == 0:
        return None
    return (
        f"train.rollout.tensor_parallel: {width} puts one engine on several nodes of {gpus(within)}: every token goes "
        "over the network twice a layer, which is slow"
    )


def share_of(
    problem: Problem,
    profile: Profile,
    batch_size: int,
    max_length: int,
    max_prompt_length: int | None,
    quantization: Quantization | None,
    upper_bytes: float,
    between: Between,
    host_bytes: float,
    budget_bytes: int,
) -> memory.Share:
    """How generation and training share the cards, in a problem that is laid out for both."""
    split, hardware, asked = problem.split, problem.hardware, problem.spec.train.rollout
    assert split is not None
    room = hardware.usable_host_bytes or None
    training = memory.Training(
        upper=upper_bytes,
        between=between,
        gpus_per_node=hardware.gpus_per_node,
        budget=budget_bytes,
        card=hardware.gpu.usable_bytes,
        host=None if room is None else max(room - host_bytes, 0.0),
    )
    architecture, bucket = problem.model.architecture, profile.stack.hand_over.bucket
    if split.outside:
        return memory.elsewhere(training, batch_size, bucket)
    if split.mode == "native":
        sequences = max(batch_size // hardware.world_size, 1)
        # The trainer's own model reads all prompts at once (transformers generation/utils.py, _prefill).
        alone = engine(architecture, max_length, sequences, 1, reads=sequences * (max_prompt_length or max_length))
        ppo = problem.spec.train.task == "ppo"
        return memory.native(
            alone, training, memory.scoring(architecture, profile.stack, max_length, sequences) if ppo else 0.0
        )
    pinned = None if asked.gpu_memory_utilization == "auto" else asked.gpu_memory_utilization
    sleeps = (False, True) if asked.sleep == "auto" else (asked.sleep,)
    shares = []
    for width in widths(problem, profile.stack.hand_over.one_engine):
        sequences = -(-batch_size * width // split.gpus)
        made = engine(architecture, max_length, sequences, width, _served_in(quantization))
        shares.append(
            memory.served(made, training, pinned, bucket)
            if split.mode == "server"
            else memory.colocated(made, training, pinned, sleeps, quantization is None, profile.stack.hand_over)
        )
    return memory.best(shares, budget_bytes)


def _served_in(quantization: Quantization | None) -> Quantization | None:
    """How vLLM stores a base that training quantised as it was loaded; other formats are not handed over at all."""
    return quantization if quantization is not None and not quantization.pre else None


def widths(problem: Problem, one_engine: bool = False) -> tuple[int, ...]:
    """Over how many GPUs one engine may split the model: of one node, unless the spec says, each with whole heads.

    `one_engine`: a server is a single one, over all its GPUs.
    """
    split, asked = problem.split, problem.spec.train.rollout.tensor_parallel
    if split is None or asked != "auto":
        return (1,) if asked == "auto" else (asked,)
    within = split.gpus // split.nodes if split.mode == "server" else problem.hardware.gpus_per_node
    if split.mode == "server" and one_engine:
        return (within,)
    return _dividing(problem.model.architecture, within)


@lru_cache(maxsize=64)
def _dividing(architecture: Architecture, within: int) -> tuple[int, ...]:
    heads = [block.attention.heads for _, block in architecture.blocks]
    return tuple(n for n in (1, 2, 4, 8) if within % n == 0 and all(number % n == 0 for number in heads))


RULES = (engines_divide, rollout_share, rollouts_fit, answers_wait, engines_cross_nodes)
