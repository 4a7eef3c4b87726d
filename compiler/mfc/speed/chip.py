"""What one GPU does in one micro-batch: seconds of products, of traffic and of launches, by their rates."""

from __future__ import annotations

from typing import NamedTuple

from mfc.catalog.gpu import Gpu
from mfc.memory.formats import Formats
from mfc.memory.optimizers import reach
from mfc.memory.stack import Stack
from mfc.speed import constants as c
from mfc.speed.work import AdapterWork, Work
from mfc.strategy import Quantization, Strategy


class Passes(NamedTuple):
    """How often each kind of pass runs over the blocks in one micro-batch. Freezing early blocks shortens some."""

    forward: float  # recomputation and a reference model's pass included
    inputs: float  # backward through the blocks to their inputs
    weights: float  # backward to the blocks' weights
    trained: float  # share of what trains in all that one step trains

    @classmethod
    def of(cls, strategy: Strategy, layers: int, parameters: int) -> Passes:
        """The passes of a model of `layers` blocks; a teacher's counts by its numbers against `parameters`."""
        trains = reach(strategy, layers)
        reached = min(trains.layers / layers, 1.0)
        reference = strategy.task in ("dpo", "kto") or strategy.teacher_parameters / parameters
        frozen = "language" in strategy.freeze_parts or strategy.method in ("lora", "qlora")
        return cls(
            forward=1.0 + reference + reached * strategy.gradient_checkpointing,
            inputs=reached,
            weights=0.0 if frozen else reached * trains.share,
            trained=trains.share,
        )

    @property
    def products(self) -> float:
        """Products with each matrix."""
        return self.forward + self.inputs + self.weights

    @property
    def launches(self) -> float:
        """Passes that the CPU launches."""
        return self.forward + self.inputs

    @property
    def moves(self) -> float:
        """Passes as traffic counts them: backward moves more than forward."""
        return self.forward + c.BACKWARD * self.inputs


def matmul_rate(gpu: Gpu, precision: str) -> float:
    """FLOPs per second that large matrix products reach."""
    peak = gpu.tflops.get("bf16" if precision == "pure_bf16" else precision, gpu.tflops["fp32"]) * 1e12
    return peak * min(c.MATMUL[gpu.generation] / (1 + c.BALANCE * peak / gpu.memory_bandwidth), c.BEST)


class Chip:
    """What one GPU does under a strategy."""

    def __init__(self, strategy: Strategy, gpu: Gpu, formats: Formats, stack: Stack, passes: Passes) -> None:
        self.strategy, self.gpu, self.formats, self.stack, self.passes = strategy, gpu, formats, stack, passes
        self.dora = strategy.lora is not None and strategy.lora.variant == "dora"
        self.stream = c.STREAM * gpu.memory_bandwidth  # bytes per second
        self.rate = matmul_rate(gpu, strategy.precision)
        self.tiles = passes.inputs if strategy.mlp == "tiled" else 0.0  # tiled MLPs run forward once more, backward
        self.weight_bytes = 4.0 if strategy.precision == "fp32" else 2.0
        self.wide = formats.element == 4  # activations in fp32: attention and head compute in it too
        self.active_rate = matmul_rate(gpu, "fp32") if self.wide else self.rate

    def matmul(self, once: Work, adapted: AdapterWork | None) -> float:
        """Seconds per token of products with the base's matrices."""
        products = once.active * self.passes.products + once.mlp * self.tiles
        if adapted and adapted.merged:  # the gradient of the sums, which backward hands on to the adapters
            products += adapted.merged_active * self.passes.inputs
        return 2 * products / self.rate

    def token_seconds(self, once: Work, adapted: AdapterWork | None) -> dict[str, float]:
        """Seconds per token, matrix products of the base left out."""
        strategy, passes, stream, stack = self.strategy, self.passes, self.stream, self.stack
        fused = stack.fused_blocks == "always" or (stack.fused_blocks == "with_loss" and strategy.loss == "fused")
        widths = c.WIDE if self.wide and strategy.precision != "fp32" else 1.0
        moved = once.elementwise * passes.moves + once.mlp_elementwise * self.tiles
        seconds = {"elementwise": moved * (c.FUSED if fused else widths) / stream}
        if strategy.task != "reward":  # a reward head has no vocabulary
            once_more = strategy.task in ("dpo", "kto", "distill")
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
            if self.dora:  # the adapted matrices run once more
                seconds["adapters"] += 2 * adapted.base * passes.launches / self.rate
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

    def micro_seconds(self, once: Work, adapted: AdapterWork | None) -> dict[str, float]:
        """Seconds per micro-batch, whatever its size: weights that are unpacked, or merged with their adapters."""
        seconds = {}
        if self.strategy.quantization is not None:
            seconds["dequantise"] = self._dequantise(once, self.strategy.quantization)
        if adapted and self.dora:
            seconds["merge"] = adapted.base * c.DORA_BYTES * self.passes.forward / self.stream
        if adapted and adapted.merged:
            merged = adapted.merged * c.MERGE_BYTES * self.passes.moves / self.stream
            seconds["merge"] = seconds.get("merge", 0.0) + merged
        return seconds

    def _dequantise(self, once: Work, quantization: Quantization) -> float:
        """Quantised weights are unpacked in each pass."""
        moved = quantization.bits / 8 + 2 + c.CAST_BYTES * self.stack.kbit_everything
        operations = c.UNPACK_OPERATIONS.get(quantization.kind, c.OTHER_UNPACK_OPERATIONS)
        each = moved / self.stream + operations / (self.gpu.tflops["fp32"] * 1e12)
        return once.stored * each * self.passes.launches

    def launch(self, once: Work, adapted: AdapterWork | None) -> float:
        """Seconds that the CPU needs to launch one pass."""
        strategy = self.strategy
        seconds = once.layers * c.BLOCK_LAUNCH
        if strategy.zero_stage == 3:
            seconds += once.layers * c.SHARDED_LAUNCH
        if strategy.quantization:
            seconds += once.modules * c.QUANTISED_LAUNCH
        if adapted:
            seconds += adapted.modules * (c.ADAPTER_LAUNCH + self.dora * c.DORA_LAUNCH)
        if once.experts:
            looped = not once.routed or (0, 0) < self.gpu.capability < (8, 0)
            seconds += once.experts * c.EXPERT_LAUNCH if looped else once.routed * c.ROUTED_LAUNCH
        return seconds
