"""Seconds per optimizer step, by roofline: what the chip computes, what it moves, what the links carry.

Everything that does not depend on the micro-batch is worked out once by `prepare`; `Model.at` is a few multiplications.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.catalog.gpu import Gpu, Link
from mfc.catalog.parameters import count, trainable_count
from mfc.speed import constants as c
from mfc.speed.work import AdapterWork, Work, adapter_work, work
from mfc.strategy import Strategy


class Machines(NamedTuple):
    """The hardware of one run, as far as time goes."""

    gpu: Gpu
    gpus_per_node: int = 1
    nodes: int = 1
    intra: Link | None = None  # between the GPUs of a node; None = the GPU's own
    inter: Link | None = None  # one node to the others, in all; needed for nodes > 1


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
    "optimizer": "memory",
    "launch": "launch",
    "communication": "communication",
    "gradients": "communication",
    "paging": "offload",
    "offload": "offload",
}


class Model(NamedTuple):
    """The time of one strategy as a function of micro-batch and accumulation. All figures are seconds on one GPU."""

    strategy: Strategy
    mean_tokens: float
    token: Mapping[str, float]  # per token of a micro-batch
    context: float  # per token and per token of its sequence: attention
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
        tokens, length = self._tokens(micro_batch)
        chip = self.micro_total + tokens * (self.token_total + self.context * length)
        busy: float = (chip**c.BLEND + self.launch**c.BLEND) ** (1 / c.BLEND)
        links = self.communication + self.paging
        micro: float = busy + links - c.OVERLAP * min(busy, links)
        return gradient_accumulation * micro + self.step_total

    def speed(self) -> Speed:
        """The whole answer for the strategy's own micro-batch and accumulation."""
        strategy, accumulation = self.strategy, self.strategy.gradient_accumulation
        seconds = self.at(strategy.micro_batch, accumulation)
        tokens, length = self._tokens(strategy.micro_batch)
        parts = {name: accumulation * tokens * value for name, value in self.token.items()}
        parts["attention"] = accumulation * tokens * length * self.context
        parts |= {name: accumulation * value for name, value in self.micro.items()}
        parts |= {
            "communication": accumulation * self.communication,
            "paging": accumulation * self.paging,
            "launch": accumulation * self.launch,
        }
        parts |= self.step
        bounds = dict.fromkeys(_BOUND.values(), 0.0)
        for name, value in parts.items():
            bounds[_BOUND[name]] += value
        rows = strategy.sequences * accumulation * strategy.world_size / strategy.sequence_parallel
        return Speed(seconds, rows * self.mean_tokens / seconds, max(bounds, key=bounds.__getitem__), parts)

    def _tokens(self, micro_batch: int) -> tuple[float, float]:
        """Tokens that one GPU handles in a micro-batch, and the length of its sequences, padding included."""
        rows = micro_batch * self.rows
        length: float = self.strategy.max_length
        if self.mean_tokens < length:
            length -= (length - self.mean_tokens) * rows**-c.PADDING_TAIL
        return rows * length / self.strategy.sequence_parallel, length


def prepare(
    architecture: Architecture,
    strategy: Strategy,
    machines: Machines,
    *,
    mean_tokens: float | None = None,
    fused_blocks: bool | None = None,
) -> Model:
    """What `Model.at` needs. `strategy`'s own micro-batch and accumulation are not read here.

    `mean_tokens` is the mean length of a sequence, None = all are `max_length` long (packed, or not known).
    `fused_blocks` says whether norms and MLPs run in fused kernels, None = as the loss does.
    """
    once, gpu = work(architecture), machines.gpu
    adapted = adapter_work(architecture, strategy.lora) if strategy.lora else None
    passes = _Passes.of(strategy, once.layers)
    stream = c.STREAM * gpu.memory_bandwidth
    fused = strategy.loss == "fused" if fused_blocks is None else fused_blocks
    token = _token_seconds(once, adapted, strategy, gpu, passes, stream, c.FUSED if fused else 1.0)
    micro = _micro_seconds(once, strategy, passes, stream)
    dora = strategy.lora is not None and strategy.lora.variant == "dora"
    if adapted and dora:
        token["adapters"] += 2 * adapted.base * passes.launches / _rate(strategy, gpu)
        micro["weights"] += adapted.base * c.DORA_BYTES * passes.forward / stream
    trained = trainable_count(
        architecture,
        strategy.method,
        lora=strategy.lora,
        freeze_parts=strategy.freeze_parts,
        trainable_layers=strategy.trainable_layers,
    )
    links = _links(architecture, strategy, machines, trained)
    step = _step_seconds(strategy, machines, trained, stream) | {"gradients": links.gradients}
    modules = adapted.modules if adapted else 0.0
    sharded = strategy.zero_stage == 3
    launch = passes.launches * (
        once.layers * (c.BLOCK_LAUNCH + sharded * c.SHARDED_LAUNCH)
        + modules * (c.ADAPTER_LAUNCH + dora * c.DORA_LAUNCH)
        + (once.modules * c.QUANTISED_LAUNCH if _quantised(strategy) else 0.0)
    )
    return Model(
        strategy=strategy,
        mean_tokens=min(mean_tokens or strategy.max_length, strategy.max_length),
        token=token,
        context=_attention(once, strategy, gpu, passes, stream),
        micro=micro,
        communication=links.communication,
        paging=links.paging,
        launch=launch,
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

    @classmethod
    def of(cls, strategy: Strategy, layers: int) -> _Passes:
        reached = min(strategy.trainable_layers / layers, 1.0) if strategy.method == "freeze" else 1.0
        reference = strategy.task in ("dpo", "kto")
        frozen = "language" in strategy.freeze_parts
        return cls(
            forward=1.0 + reference + reached * strategy.gradient_checkpointing,
            inputs=reached,
            weights=reached if strategy.method in ("full", "freeze") and not frozen else 0.0,
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


def _peak(strategy: Strategy, gpu: Gpu) -> float:
    """Dense FLOPs per second of the chip in the strategy's precision."""
    kind = "bf16" if strategy.precision == "pure_bf16" else strategy.precision
    return gpu.tflops.get(kind, gpu.tflops["fp32"]) * 1e12


def _rate(strategy: Strategy, gpu: Gpu) -> float:
    """FLOPs per second that large matrix products reach."""
    peak = _peak(strategy, gpu)
    return peak * c.MATMUL[gpu.generation] / (1 + c.BALANCE * peak / gpu.memory_bandwidth)


def _quantised(strategy: Strategy) -> bool:
    return strategy.quantization is not None


def _weight_bytes(strategy: Strategy) -> float:
    return 4.0 if strategy.precision == "fp32" else 2.0


def _token_seconds(
    once: Work, adapted: AdapterWork | None, strategy: Strategy, gpu: Gpu, passes: _Passes, stream: float, fused: float
) -> dict[str, float]:
    rate = _rate(strategy, gpu)
    seconds = {
        "matmul": 2 * once.active * passes.products / rate,
        "elementwise": once.elementwise * fused * passes.moves / stream,
        "loss": 0.0,
    }
    if strategy.task != "reward":  # a reward head has no vocabulary
        once_more = strategy.task in ("dpo", "kto")
        products = 2 + (strategy.method == "full") + once_more
        logit = c.FUSED_LOGIT_BYTES if strategy.loss == "fused" else c.LOGIT_BYTES
        seconds["loss"] = 2 * once.head * products / rate + once.vocab * logit * (1 + 0.5 * once_more) / stream
    if adapted:
        moved = c.ADAPTER_IN_BYTES * adapted.in_features + c.ADAPTER_OUT_BYTES * adapted.out_features
        if strategy.precision == "pure_bf16" or strategy.deepspeed:
            moved /= 2  # adapters in 16 bit: no fp32 copies
        flops = 2 * adapted.numbers * (passes.forward + 2 * passes.inputs)
        seconds["adapters"] = moved * passes.moves / stream + flops / rate
    return seconds


def _attention(once: Work, strategy: Strategy, gpu: Gpu, passes: _Passes, stream: float) -> float:
    """Seconds per token and key."""
    flops = 2 * once.score_width
    if strategy.attention == "eager":
        products = flops * (passes.forward + 2 * passes.inputs) / _rate(strategy, gpu)
        return products + once.heads * c.EAGER_SCORE_BYTES * passes.moves / stream
    share = c.FLASH if gpu.flash_attention else c.NO_FLASH
    return flops * c.CAUSAL * (passes.forward + c.FLASH_BACKWARD * passes.inputs) / (_peak(strategy, gpu) * share)


def _micro_seconds(once: Work, strategy: Strategy, passes: _Passes, stream: float) -> dict[str, float]:
    """Weights pass through the chip once per pass, whatever the batch; quantised ones are unpacked each time."""
    seconds = {"weights": (once.stored + once.head) * _weight_bytes(strategy) * passes.products / stream}
    if _quantised(strategy):
        seconds["dequantise"] = once.stored * c.DEQUANTISE_BYTES * passes.launches / stream
    return seconds


def _collective(machines: Machines, ranks: int, size: float) -> float:
    """Seconds of one all-gather or reduce-scatter of `size` bytes: a ring, its slowest link decides."""
    if ranks <= 1:
        return 0.0
    slowest = _link_rate(machines.intra or machines.gpu.link) if machines.gpus_per_node > 1 else float("inf")
    if machines.nodes > 1 and machines.inter:
        slowest = min(slowest, _link_rate(machines.inter))
    return size * (ranks - 1) / ranks / slowest


def _link_rate(link: Link) -> float:
    return link.bytes_per_second * c.LINK.get(link.kind, c.OTHER_LINK)


class _Links(NamedTuple):
    """Time on the links, by when it is spent."""

    communication: float  # seconds per micro-batch
    paging: float  # seconds per micro-batch
    gradients: float  # seconds per step that backward does not hide


def _links(architecture: Architecture, strategy: Strategy, machines: Machines, trained: int) -> _Links:
    """What the collectives of the sharding stage take."""
    ranks, stage = strategy.world_size, strategy.zero_stage
    gradients = _collective(machines, ranks, trained * _weight_bytes(strategy))
    if stage == 0:  # all-reduce = reduce-scatter and all-gather, in the last micro-batch only
        return _Links(0.0, 0.0, 2 * gradients * (1 - c.OVERLAP))
    if stage == 1:  # reduce-scatter in the last micro-batch, all-gather of the updated weights after it
        return _Links(0.0, 0.0, gradients * (2 - c.OVERLAP))
    if stage == 2:  # reduce-scatter in every micro-batch
        return _Links(gradients, 0.0, gradients)
    weights = count(architecture).total * (
        strategy.quantization.bits / 8 if strategy.quantization else _weight_bytes(strategy)
    )
    paging = 0.0
    if strategy.offload_parameters != "none":
        paging = 2 * weights / ranks / _host_rate(machines, strategy.offload_parameters)
    return _Links(2 * _collective(machines, ranks, weights) + gradients, paging, 0.0)


def _host_rate(machines: Machines, where: str) -> float:
    """Bytes per second between one GPU and where its states lie."""
    rate = _link_rate(machines.gpu.host_link)
    return min(rate, c.NVME_BANDWIDTH / machines.gpus_per_node) if where == "nvme" else rate


def _step_seconds(strategy: Strategy, machines: Machines, trained: int, stream: float) -> dict[str, float]:
    ranks = strategy.world_size
    share = trained / (ranks if strategy.zero_stage else 1)
    if strategy.offload_optimizer == "none":
        moved = c.OPTIMIZER_BYTES.get(strategy.optimizer, c.OTHER_OPTIMIZER_BYTES)
        return {"optimizer": share * moved / stream}
    # Gradients go down and weights come back over the host link; the CPU updates all the node's shards.
    link = 2 * share * _weight_bytes(strategy) / _host_rate(machines, "cpu")
    node = share * machines.gpus_per_node
    seconds = link + node * c.CPU_ADAM_BYTES / c.HOST_BANDWIDTH
    if strategy.offload_optimizer == "nvme":
        seconds += node * c.CPU_ADAM_BYTES / c.NVME_BANDWIDTH
    return {"offload": seconds}
