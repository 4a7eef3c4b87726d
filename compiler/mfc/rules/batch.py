"""The global batch: held exactly, whatever the GPUs; and the learning rate that goes with it."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from mfc.rules.engine import Rather, Value, advise, derive, require
from mfc.rules.words import gpus, listed, short

if TYPE_CHECKING:
    from mfc.problem import Model, Problem
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_ARITHMETIC = "arithmetic: batch_size = micro_batch x GPUs / sequence_parallel x gradient_accumulation"
_USUAL = 64
_GENERATIONS = 8  # answers per prompt when the spec leaves it open

# Learning rates of full training by task; adapters take ten times as much, as in LoRA Without Regret (2025).
_RATES = {
    "pretrain": (1e-5, "continued pretraining"),
    "sft": (1e-5, "fine-tuning (LIMA, arXiv:2305.11206)"),
    "reward": (1e-5, "reward models"),
    "dpo": (5e-7, "DPO (Zephyr, arXiv:2310.16944)"),
    "kto": (5e-7, "KTO (arXiv:2402.01306)"),
    "orpo": (8e-6, "ORPO (arXiv:2403.07691)"),
    "simpo": (5e-7, "SimPO (arXiv:2405.14734)"),
    "ppo": (1e-6, "PPO"),
    "grpo": (1e-6, "GRPO (arXiv:2402.03300)"),
    "distill": (1e-5, "distillation, as for fine-tuning"),
}
_FULL_RATE_BATCH = 16  # sequences from which the table's rates hold
_QLORA_SMALL = 13.5e9  # parameters: QLoRA's 7B and 13B runs used 2e-4, its 33B and 65B runs 1e-4


@derive("batch_size", "LIMA, arXiv:2305.11206: 64 sequences a step; otherwise arithmetic")
def batch_size(problem: Problem, world_size: int, spec: Spec) -> Value:
    """Left open, the global batch is the multiple of the GPUs nearest to 64; in a range, the largest in it."""
    unit, parts = world_size, gpus(world_size)
    if "micro_batch" in problem.pins:
        unit *= problem.pins["micro_batch"]
        parts += f" x micro-batch {problem.pins['micro_batch']}"
    if spec.train.task == "grpo":
        unit = math.lcm(unit, generations(spec))
        parts += f" and of {generations(spec)} answers a prompt"
    if "batch_size" in problem.ranges:
        low, high = problem.ranges["batch_size"]
        size = high // unit * unit
        if size >= low:
            return Value(size, f"the largest multiple of {parts} from {low} to {high}")
        return Value(high, f"no number from {low} to {high} divides over {parts}")
    size = max(1, round(_USUAL / unit)) * unit
    return Value(size, f"the multiple of {parts} nearest to {_USUAL} sequences a step")


@require(_ARITHMETIC)
def batch_divides_over_gpus(batch_size: int, world_size: int, sequence_parallel: int) -> str | None:
    """The global batch is a multiple of the data-parallel GPUs."""
    ranks = max(world_size // sequence_parallel, 1)
    if batch_size % ranks == 0:
        return None
    split = gpus(world_size) + (f" in groups of {sequence_parallel}" if sequence_parallel > 1 else "")
    below, above = batch_size // ranks * ranks, -(-batch_size // ranks) * ranks
    near = listed([number for number in (below, above) if number], "and")
    return f"{batch_size} sequences a step do not divide over {split}; multiples of {ranks} do: {near}"


@lru_cache(maxsize=64)
def divisors(number: int) -> tuple[int, ...]:
    """All divisors, in order."""
    small = [size for size in range(1, math.isqrt(number) + 1) if number % size == 0]
    return tuple(sorted({*small, *(number // size for size in small)}))


@require(_ARITHMETIC)
def micro_batch_divides(batch_size: int, micro_batch: int, world_size: int, sequence_parallel: int) -> str | None:
    """The global batch is reached in whole micro-batches."""
    ranks = max(world_size // sequence_parallel, 1)
    if batch_size % (micro_batch * ranks) == 0:
        return None
    share = batch_size // ranks
    fitting = divisors(share)
    return (
        f"{batch_size} sequences a step are {share} for each of {ranks} data-parallel ranks, which micro-batches of "
        f"{listed(fitting, 'and')} divide and {micro_batch} does not; with {micro_batch}, a multiple of "
        f"{micro_batch * ranks} would"
    )


@derive("gradient_accumulation", _ARITHMETIC)
def gradient_accumulation(batch_size: int, micro_batch: int, world_size: int, sequence_parallel: int) -> Value:
    """Micro-batches are accumulated until the global batch is reached, exactly."""
    steps = batch_size * sequence_parallel // (micro_batch * world_size)
    split = f" x {sequence_parallel} (sequence parallel)" if sequence_parallel > 1 else ""
    return Value(steps, f"{batch_size}{split} / (micro-batch {micro_batch} x {gpus(world_size)}) = {steps}")


@require("trl trainer/grpo_config.py: the generation batch is a multiple of num_generations")
def batch_holds_whole_groups(spec: Spec, batch_size: int) -> str | None:
    """In GRPO, a step holds all answers to each of its prompts."""
    if spec.train.task != "grpo" or batch_size % generations(spec) == 0:
        return None
    number = generations(spec)
    near = batch_size // number * number or number
    return f"{batch_size} answers a step are no multiple of {number} answers a prompt; {near} is"


@advise("arithmetic: a packed row is one item of a batch")
def packed_rows_hold_many_samples(spec: Spec, strategy: Strategy, batch_size: int) -> str | Rather | None:
    """With packing, a step counts rows, each of several samples, also where the spec counts samples."""
    if not strategy.fills_rows or strategy.task == "pretrain" or spec.train.batch_unit == "row":
        return None
    mean = spec.data.mean_length
    if mean == "auto":
        return f"{batch_size} are packed rows, not samples; data.mean_length would tell how many samples they hold"
    pairs = strategy.sequences // strategy.micro_batch  # of which a row has both answers
    room = strategy.max_length * pairs
    mean *= 2 if strategy.task == "kto" else pairs  # KTO: each sample with the one that estimates the KL
    samples = batch_size * room / mean
    rows = max(round(batch_size * mean / room), 1)
    return Rather(
        f"{batch_size} packed rows of {room} tokens hold about {samples:.0f} samples of {mean}",
        f"for {batch_size} samples a step, train.batch_size: {rows}",
        {"batch_size": rows},
    )


@derive(
    "learning_rate",
    "full: the papers that it names; adapters: QLoRA arXiv:2305.14314 table 9, LoRA Without Regret (2025); square-root "
    "scaling of Adam: arXiv:2205.10287; Lion arXiv:2302.06675: a third to a tenth of Adam's",
)
def learning_rate(task: str, method: str, batch_size: int, model: Model, optimizer: str) -> Value:
    """The learning rate follows task and method; below 16 sequences a step it falls with the root of the batch."""
    rate, which = _RATES[task]
    why = f"{rate:g} for {which}"
    if method == "qlora" and task in ("sft", "pretrain"):
        rate = 2e-4 if model.total_parameters <= _QLORA_SMALL else 1e-4
        why = f"{rate:g} for QLoRA at {short(model.total_parameters)} parameters (arXiv:2305.14314)"
    elif method in ("lora", "qlora"):
        why += f", and {10 * rate:g} for adapters"
        rate = 10 * rate
    if batch_size < _FULL_RATE_BATCH:
        rate *= math.sqrt(batch_size / _FULL_RATE_BATCH)
        why += f"; times sqrt({batch_size} / {_FULL_RATE_BATCH}) at {batch_size} sequences a step"
    if optimizer == "lion":
        rate /= 5
        why += "; a fifth of it for Lion"
    return Value(float(f"{rate:.1e}"), why)


@advise("Smith et al. 2018, arXiv:1711.00489: noise grows as the batch shrinks")
def small_batch_is_noisy(batch_size: int, task: str) -> str | None:
    """A very small global batch makes noisy steps."""
    if batch_size >= 8 or task in ("grpo", "ppo"):
        return None
    return f"{batch_size} sequences a step are few: steps are noisy; accumulation makes more at no memory"


def generations(spec: Spec) -> int:
    """Answers per prompt of GRPO."""
    asked = spec.train.rollout.num_generations
    return _GENERATIONS if asked == "auto" else asked


RULES = (
    batch_size,
    batch_holds_whole_groups,
    batch_divides_over_gpus,
    micro_batch_divides,
    gradient_accumulation,
    packed_rows_hold_many_samples,
    learning_rate,
    small_batch_is_noisy,
)
