"""Seconds per optimizer step, by roofline: what the chip computes, what it moves, what the links carry.

`Clock` works out once what strategies share and what the micro-batch does not change; `StepTime.at` does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum, hypot
from typing import Any, NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.catalog.parameters import count, trainable_count
from mfc.lengths import Lengths
from mfc.lengths import padded as longest_of
from mfc.memory.formats import Formats, formats
from mfc.memory.stack import Stack
from mfc.memory.static import group, mask_bytes
from mfc.speed import constants as c
from mfc.speed.chip import Chip, Passes
from mfc.speed.lengths import padded
from mfc.speed.links import Machines, activation_seconds, links, step_seconds
from mfc.speed.work import adapter_work, work
from mfc.strategy import Strategy


class Speed(NamedTuple):
    """A predicted step. `parts` are seconds per step before overlap, so they add up to more than the step."""

    seconds_per_step: float
    tokens_per_second: float  # all GPUs together, padding not counted
    bound_by: str  # compute, memory, launch, communication, offload
    parts: Mapping[str, float]


_BOUND = {
    "matmul": "compute",
    "attention": "compute",
    "weights": "memory",
    "elementwise": "memory",
    "adapters": "memory",
    "loss": "memory",
    "dequantise": "memory",
    "merge": "memory",
    "optimizer": "memory",
    "launch": "launch",
    "communication": "communication",
    "gradients": "communication",
    "paging": "offload",
    "activations": "offload",
    "offload": "offload",
}


class StepTime(NamedTuple):
    """The time of one strategy as a function of micro-batch and accumulation. All figures are seconds on one GPU."""

    strategy: Strategy
    mean_tokens: float
    token: Mapping[str, float]  # per token of a micro-batch, matmul apart
    matmul: float  # per token: products with the base's matrices
    context: float  # per token and per token of its sequence: attention
    masked: float  # the same in a micro-batch with padding
    weights: float  # per micro-batch: the matrices' own way through the chip, side by side with matmul
    micro: Mapping[str, float]  # per micro-batch, whatever its size
    communication: float  # per micro-batch
    paging: float  # per micro-batch: offloaded weights on their way from the host
    launch: float  # per micro-batch
    step: Mapping[str, float]  # per optimizer step
    token_total: float
    micro_total: float
    step_total: float
    rows: int  # sequences per unit of micro-batch
    lengths: Lengths | None = None  # as measured; None: all that is known is their mean

    def at(self, micro_batch: int, gradient_accumulation: int) -> float:
        """Seconds per optimizer step."""
        tokens, context = self._tokens(micro_batch)
        products = hypot(tokens * self.matmul, self.weights)
        chip = products + self.micro_total + tokens * (self.token_total + context)
        busy = hypot(chip, self.launch)
        links = self.communication + self.paging
        micro: float = busy + links - c.OVERLAP * min(busy, links)
        return gradient_accumulation * micro + self.step_total

    def speed(self) -> Speed:
        """The whole answer for the strategy's own micro-batch and accumulation."""
        strategy, accumulation = self.strategy, self.strategy.gradient_accumulation
        seconds = self.at(strategy.micro_batch, accumulation)
        tokens, context = self._tokens(strategy.micro_batch)
        per_micro = {name: tokens * value for name, value in self.token.items()}
        per_micro |= {"matmul": tokens * self.matmul, "attention": tokens * context, "weights": self.weights}
        per_micro |= self.micro
        per_micro |= {"communication": self.communication, "paging": self.paging, "launch": self.launch}
        parts = {name: accumulation * value for name, value in per_micro.items()} | dict(self.step)
        bounds = dict.fromkeys(_BOUND.values(), 0.0)
        for name, value in parts.items():
            bounds[_BOUND[name]] += value
        rows = strategy.sequences * accumulation * strategy.world_size / strategy.sequence_parallel
        return Speed(seconds, rows * self.mean_tokens / seconds, max(bounds, key=bounds.__getitem__), parts)

    def _tokens(self, micro_batch: int) -> tuple[float, float]:
        """Tokens that one GPU handles in a micro-batch, padding included, and the attention of one in seconds."""
        rows = micro_batch * self.rows
        limit = self.strategy.max_length
        if self.lengths is not None:
            length, square = longest_of(self.lengths, limit, rows)
        else:
            length, square = (limit, limit) if self.mean_tokens >= limit else padded(self.mean_tokens, limit, rows)
        context = self.context if rows == 1 else self.masked
        return rows * length / self.strategy.sequence_parallel, square * context


class _Computed(NamedTuple):
    """What a GPU computes under a strategy, wherever its states lie. Figures as in `StepTime`."""

    form: Formats
    chip: Chip
    trains: float  # numbers that one step trains
    token: Mapping[str, float]
    matmul: float
    context: float
    masked: float
    weights: float
    micro: Mapping[str, float]
    launch: float
    token_total: float
    micro_total: float
    mean: float | None
    lengths: Lengths | None

    def beside(self, critic: _Computed, size: float) -> _Computed:
        """The same with PPO's critic, which trains in the same step and makes no logits."""

        def added(ours: Mapping[str, float], its: Mapping[str, float]) -> dict[str, float]:
            return {name: seconds + size * its.get(name, 0.0) for name, seconds in ours.items()}

        token = added(self.token, {**critic.token, "loss": 0.0})
        micro = added(self.micro, critic.micro)
        return self._replace(
            trains=self.trains + size * critic.trains,
            token=token,
            matmul=self.matmul + size * critic.matmul,
            context=self.context + size * critic.context,
            masked=self.masked + size * critic.masked,
            weights=self.weights + size * critic.weights,
            micro=micro,
            launch=self.launch + size * critic.launch,
            token_total=fsum(token.values()),
            micro_total=fsum(micro.values()),
        )


class Clock:
    """Times the steps of one model on the same machines, by strategy: what strategies share is computed once.

    `mean_tokens` is the mean length of a sequence, None = all are `max_length` long (packed, or not known); `lengths`,
    where they were measured, go before it. `stack` says how the framework runs the model, None = as a current Trainer
    does.
    """

    def __init__(
        self,
        architecture: Architecture,
        machines: Machines,
        mean_tokens: float | None = None,
        lengths: Lengths | None = None,
        stack: Stack | None = None,
    ) -> None:
        self._architecture, self._machines = architecture, machines
        self._mean, self._lengths, self._stack = mean_tokens, lengths, stack or Stack()
        self._computed: dict[tuple[Any, ...], _Computed] = {}

    def prepare(self, strategy: Strategy) -> StepTime:
        """What `StepTime.at` needs. The strategy's own micro-batch and accumulation are not read here."""
        alike = group(strategy)
        made = self._computed.get(alike)
        if made is None:
            made = self._compute(strategy)
            if strategy.rollout is not None and strategy.rollout.critic:
                precision = "fp32" if self._stack.critic_fp32 else strategy.precision
                critic = self._compute(strategy._replace(precision=precision))
                made = made.beside(critic, strategy.rollout.critic)
            self._computed[alike] = made
        carried = links(self._architecture, strategy, self._machines, made.trains)
        step = step_seconds(strategy, self._machines, made.form, self._stack, made.trains, made.chip.stream)
        step["gradients"] = carried.gradients
        return StepTime(
            strategy=strategy,
            mean_tokens=min(made.mean or strategy.max_length, strategy.max_length),
            token=made.token,
            matmul=made.matmul,
            context=made.context,
            masked=made.masked,
            weights=made.weights,
            micro=made.micro,
            communication=carried.communication,
            paging=carried.paging,
            launch=made.launch,
            step=step,
            token_total=made.token_total,
            micro_total=made.micro_total,
            step_total=fsum(step.values()),
            rows=strategy.sequences // strategy.micro_batch,
            lengths=made.lengths,
        )

    def _rows(self, strategy: Strategy) -> tuple[float | None, Lengths | None]:
        """The mean length of a row and those measured, as far as they are known and no sample fills a row with others.

        Of answers that are still to be generated nothing was measured.
        """
        if strategy.fills_rows:
            return None, None
        if self._lengths is None or strategy.task in ("ppo", "grpo"):
            return self._mean, None
        return self._lengths.mean(strategy.max_length), self._lengths

    def _compute(self, strategy: Strategy) -> _Computed:
        architecture, machines, stack = self._architecture, self._machines, self._stack
        form = formats(strategy, stack)
        once, lora = work(architecture, stack.fused_experts), strategy.lora
        adapted = adapter_work(architecture, lora, stack.fused_experts, stack.expert_adapters) if lora else None
        passes = Passes.of(strategy, once.layers, count(architecture).total)
        waiting = activation_seconds(architecture, strategy, machines, form)
        chip = Chip(strategy, machines.gpu, form, stack, passes)
        token, micro = chip.token_seconds(once, adapted), chip.micro_seconds(once, adapted)
        trains = passes.trained * trainable_count(
            architecture,
            strategy.method,
            lora=lora,
            freeze_parts=strategy.freeze_parts,
            trainable_layers=strategy.trainable_layers,
            fused_experts=stack.fused_experts,
            expert_adapters=stack.expert_adapters,
        )
        context, masked = chip.attention(once)
        if mask_bytes(strategy, stack):  # packed rows with a mask, whatever their lengths
            context = masked
        mean, lengths = self._rows(strategy)
        padded_rows = mean is not None and mean < strategy.max_length and stack.padding_mask
        return _Computed(
            form,
            chip,
            trains,
            token=token | {"activations": waiting},
            matmul=chip.matmul(once, adapted),
            context=context,
            masked=masked if padded_rows else context,
            weights=(once.stored + once.head) * chip.weight_bytes * passes.products / chip.stream,
            micro=micro,
            launch=passes.launches * chip.launch(once, adapted),
            token_total=fsum(token.values()) + waiting,
            micro_total=fsum(micro.values()),
            mean=mean,
            lengths=lengths,
        )


def prepare(
    architecture: Architecture,
    strategy: Strategy,
    machines: Machines,
    *,
    mean_tokens: float | None = None,
    lengths: Lengths | None = None,
    stack: Stack | None = None,
) -> StepTime:
    """The step time of one strategy; see `Clock`."""
    return Clock(architecture, machines, mean_tokens, lengths, stack).prepare(strategy)
