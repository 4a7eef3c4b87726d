"""Seconds per optimizer step, by roofline: what the chip computes, what it moves, what the links carry.

Everything that does not depend on the micro-batch is worked out once by `prepare`; `StepTime.at` multiplies a little.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot
from typing import NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.catalog.gpu import Gpu
from mfc.memory.formats import Formats, formats
from mfc.memory.optimizers import reach
from mfc.memory.stack import Stack
from mfc.speed import constants as c
from mfc.speed.lengths import padded
from mfc.speed.links import Machines, links, step_seconds
from mfc.speed.work import AdapterWork, Work, adapter_work, trained, work
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
        length, square = (limit, limit) if self.mean_tokens >= limit else padded(self.mean_tokens, limit, rows)
        context = self.context if rows == 1 else self.masked
        return rows * length / self.strategy.sequence_parallel, square * context


def prepare(
    architecture: Architecture,
    strategy: Strategy,
    machines: Machines,
    *,
    mean_tokens: float | None = None,
    stack: Stack | None = None,
) -> StepTime:
    """What `StepTime.at` needs. `strategy`'s own micro-batch and accumulation are not read here.

    `mean_tokens` is the mean length of a sequence, None = all are `max_length` long (packed, or not known). `stack`
    says how the framework runs the model, None = as a current Trainer does.
    """
    stack = stack or Stack()
    form = formats(strategy, stack)
    once, gpu, lora = work(architecture, stack.fused_experts), machines.gpu, strategy.lora
    adapted = adapter_work(architecture, lora, stack.fused_experts, stack.expert_adapters) if lora else None
    passes = _Passes.of(strategy, once.layers)
    stream = c.STREAM * gpu.memory_bandwidth
    chip = _Chip(strategy, gpu, form, stack, passes, stream)
    dora = lora is not None and lora.variant == "dora"
    token = chip.token_seconds(once, adapted)
    micro = {"dequantise": chip.dequantise(once)} if strategy.quantization else {}
    if adapted and dora:
        token["adapters"] += 2 * adapted.base * passes.launches / chip.rate
        micro["merge"] = adapted.base * c.DORA_BYTES * passes.forward / stream
    if adapted and adapted.merged:
        micro["merge"] = micro.get("merge", 0.0) + adapted.merged * c.MERGE_BYTES * passes.moves / stream
    trains = passes.trained * trained(
        architecture,
        strategy.method,
        lora,
        strategy.freeze_parts,
        strategy.trainable_layers,
        stack.fused_experts,
        stack.expert_adapters,
    )
    carried = links(architecture, strategy, machines, trains)
    step = step_seconds(strategy, machines, form, stack, trains, stream) | {"gradients": carried.gradients}
    products = once.active * passes.products
    if adapted and adapted.merged:  # the gradient of the sums, which backward hands on to the adapters
        products += adapted.merged_active * passes.inputs
    context, masked = chip.attention(once)
    padded_rows = mean_tokens is not None and mean_tokens < strategy.max_length and stack.padding_mask
    return StepTime(
        strategy=strategy,
        mean_tokens=min(mean_tokens or strategy.max_length, strategy.max_length),
        token=token,
        matmul=2 * products / chip.rate,
        context=context,
        masked=masked if padded_rows else context,
        weights=(once.stored + once.head) * chip.weight_bytes * passes.products / stream,
        micro=micro,
        communication=carried.communication,
        paging=carried.paging,
        launch=passes.launches * chip.launch(once, adapted),
        step=step,
        token_total=sum(token.values()),
        micro_total=sum(micro.values()),
        step_total=sum(step.values()),
        rows=strategy.sequences // strategy.micro_batch,
    )


class _Passes(NamedTuple):
    """How often each kind of pass runs over the blocks in one micro-batch. Freezing early blocks shortens some."""

    forward: float  # recomputation and a reference model's pass included
    inputs: float  # backward through the blocks to their inputs
    weights: float  # backward to the blocks' weights
    trained: float  # share of what trains in all that one step trains

    @classmethod
    def of(cls, strategy: Strategy, layers: int) -> _Passes:
        trains = reach(strategy, layers)
        reached = min(trains.layers / layers, 1.0)
        reference = strategy.task in ("dpo", "kto")
        frozen = "language" in strategy.freeze_parts or strategy.method in ("lora", "qlora")
        return cls(
            forward=1.0 + reference + reached * strategy.gradient_checkpointing,
            inputs=reached,
            weights=0.0 if frozen else reached * trains.share,
            trained=trains.share,
        )

    @property
    def products(self) -> float:
        return self.forward + self.inputs + self.weights

    @property
    def launches(self) -> float:
        return self.forward + self.inputs

    @property
    def moves(self) -> float:
        return self.forward + c.BACKWARD * self.inputs


def matmul_rate(gpu: Gpu, precision: str) -> float:
    """FLOPs per second that large matrix products reach."""
    peak = gpu.tflops.get("bf16" if precision == "pure_bf16" else precision, gpu.tflops["fp32"]) * 1e12
    return peak * min(c.MATMUL[gpu.generation] / (1 + c.BALANCE * peak / gpu.memory_bandwidth), c.BEST)


class _Chip:
    """What one GPU does under a strategy."""

    def __init__(
        self, strategy: Strategy, gpu: Gpu, formats: Formats, stack: Stack, passes: _Passes, stream: float
    ) -> None:
        self.strategy, self.gpu, self.formats, self.stack, self.passes = strategy, gpu, formats, stack, passes
        self.stream = stream
        self.rate = matmul_rate(gpu, strategy.precision)
        self.weight_bytes = 4.0 if strategy.precision == "fp32" else 2.0
        self.wide = formats.element == 4  # activations in fp32: attention and head compute in it too
        self.active_rate = matmul_rate(gpu, "fp32") if self.wide else self.rate

    def token_seconds(self, once: Work, adapted: AdapterWork | None) -> dict[str, float]:
        """Seconds per token, matrix products of the base left out."""
        strategy, passes, stream, stack = self.strategy, self.passes, self.stream, self.stack
        fused = stack.fused_blocks == "always" or (stack.fused_blocks == "with_loss" and strategy.loss == "fused")
        widths = c.WIDE if self.wide and strategy.precision != "fp32" else 1.0
        seconds = {"elementwise": once.elementwise * (c.FUSED if fused else widths) * passes.moves / stream}
        if strategy.task != "reward":  # a reward head has no vocabulary
            once_more = strategy.task in ("dpo", "kto")
            products = 2 + (strategy.method == "full") + once_more
            logit = c.FUSED_LOGIT_BYTES if strategy.loss == "fused" and stack.fused_loss == "linear" else c.LOGIT_BYTES
            moved = once.vocab * logit * (1 + 0.5 * once_more)
            seconds["loss"] = 2 * once.head * products / self.active_rate + moved / stream
        if adapted:
            moved = c.ADAPTER_IN_BYTES * adapted.in_features + c.ADAPTER_OUT_BYTES * adapted.out_features
            if self.formats.trained == 2:
                moved /= 2  # adapters in 16 bit: no fp32 copies
            if stack.fused_blocks == "always":  # a compiler's kernels, or a library's own, hold the adapters too
                moved *= c.FUSED
            flops = 2 * adapted.numbers * (passes.forward + 2 * passes.inputs)
            seconds["adapters"] = moved * passes.moves / stream + flops / self.rate
        return seconds

    def attention(self, once: Work) -> tuple[float, float]:
        """Seconds per token and key, without and with a padding mask."""
        strategy, passes = self.strategy, self.passes
        flops = 2 * once.score_width
        if strategy.attention == "eager" or self.wide:
            products = flops * (passes.forward + 2 * passes.inputs) / self.active_rate
            seconds = products + once.heads * c.EAGER_SCORE_BYTES * passes.moves / self.stream
            return seconds, seconds
        flops *= passes.forward + c.FLASH_BACKWARD * passes.inputs
        masked = flops / (self.rate * c.EFFICIENT)
        plain = flops * c.CAUSAL / (self.rate * (c.FLASH if self.gpu.flash_attention else c.EFFICIENT))
        return plain, (masked if strategy.attention == "sdpa" else plain)

    def dequantise(self, once: Work) -> float:
        """Seconds per micro-batch: quantised weights are unpacked in each pass."""
        quantization = self.strategy.quantization
        assert quantization is not None
        moved = quantization.bits / 8 + 2 + c.CAST_BYTES * self.stack.kbit_everything
        operations = c.UNPACK_OPERATIONS.get(quantization.kind, c.OTHER_UNPACK_OPERATIONS)
        each = moved / self.stream + operations / (self.gpu.tflops["fp32"] * 1e12)
        return once.stored * each * self.passes.launches

    def launch(self, once: Work, adapted: AdapterWork | None) -> float:
        """Seconds that the CPU needs to launch one pass."""
        strategy, lora = self.strategy, self.strategy.lora
        seconds = once.layers * c.BLOCK_LAUNCH
        if strategy.zero_stage == 3:
            seconds += once.layers * c.SHARDED_LAUNCH
        if strategy.quantization:
            seconds += once.modules * c.QUANTISED_LAUNCH
        if adapted and lora:
            seconds += adapted.modules * (c.ADAPTER_LAUNCH + (lora.variant == "dora") * c.DORA_LAUNCH)
        if once.experts:
            looped = not once.routed or (0, 0) < self.gpu.capability < (8, 0)
            seconds += once.experts * c.EXPERT_LAUNCH if looped else once.routed * c.ROUTED_LAUNCH
        return seconds
