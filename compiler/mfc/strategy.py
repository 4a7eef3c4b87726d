"""A strategy: every choice about one training run that memory, time or the result depends on, in neutral terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Task = Literal["pretrain", "sft", "reward", "dpo", "kto", "orpo", "simpo", "ppo", "grpo", "distill"]
Method = Literal["full", "lora", "qlora", "freeze"]
Precision = Literal["bf16", "pure_bf16", "fp16", "fp32"]
Sharding = Literal["ddp", "zero1", "zero2", "zero3", "fsdp", "fsdp2"]
Offload = Literal["none", "cpu", "nvme"]
AttentionKernel = Literal["flash", "flash3", "sdpa", "eager"]
Loss = Literal["plain", "fused"]
Tiling = Literal["whole", "tiled"]
# The last ones; spread evenly over the model (LLaMA Pro); with method full, drawn anew now and then, besides embedding
# and head (LISA).
TrainedBlocks = Literal["last", "spread", "drawn"]
FSDP: tuple[Sharding, ...] = ("fsdp", "fsdp2")  # torch's first, with flat parameters, and its second, with DTensors
FULLY: tuple[Sharding, ...] = ("zero3", *FSDP)  # weights are split too, and gathered layer by layer
ZERO_STAGES: Mapping[Sharding, int] = {"ddp": 0, "zero1": 1, "zero2": 2, "zero3": 3, "fsdp": 3, "fsdp2": 3}
RolloutMode = Literal["colocate", "server", "native"]  # vLLM on the training GPUs, on its own, or the trainer generates


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters. `targets` is all-linear, attention, mlp, or module names separated by commas."""

    rank: int
    alpha: float
    dropout: float = 0.0
    targets: str = "all-linear"
    variant: Literal["lora", "rslora", "dora"] = "lora"
    modules_to_save: tuple[str, ...] = ()  # trained whole beside the adapters: embed_tokens, lm_head


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the frozen base is stored. `pre` = the checkpoint is already quantised (gptq, awq, ...)."""

    bits: int
    kind: str = "nf4"  # nf4, fp4, int8, gptq, awq, aqlm, hqq, ...
    double: bool = True
    pre: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """How GRPO and PPO generate, as far as training memory depends on it. Lengths are tokens."""

    mode: RolloutMode
    max_completion_length: int
    scoring: tuple[int, ...] = ()  # numbers of each model in 16 bit that scores answers
    critic: float = 0.0  # PPO: a second model trains beside the policy, with this many times its numbers


class Strategy(NamedTuple):
    """Immutable; the planner's answer. Lengths are tokens, micro_batch is sequences (pairs in DPO) per GPU."""

    task: Task
    method: Method
    precision: Precision
    sharding: Sharding
    world_size: int
    max_length: int
    micro_batch: int
    gradient_accumulation: int
    gradient_checkpointing: bool
    attention: AttentionKernel
    loss: Loss
    optimizer: str  # adamw, adamw_8bit, paged_adamw_8bit, paged_adamw, adafactor, sgd, lion, galore, apollo, badam, ...
    offload_optimizer: Offload = "none"
    offload_parameters: Offload = "none"
    sequence_parallel: int = 1
    packing: bool = False
    lora: Lora | None = None
    quantization: Quantization | None = None
    freeze_parts: tuple[str, ...] = ()  # vision, projector, language: parts of a multimodal model kept frozen
    whole_parts: tuple[str, ...] = ()  # vision, projector: parts that train whole beside adapters
    image_max_pixels: int | None = None  # of one picture, at most; None = the model takes none
    pictures: int = 0  # in one sequence, at most
    trainable_layers: int = 0  # method freeze: how many blocks train
    reference_model: bool = False  # a second, frozen copy of the model is held (preference tasks, GRPO, PPO)
    rollout: Rollout | None = None
    teacher_parameters: int = 0  # task distill: of a frozen model that predicts the same tokens
    offload_activations: Offload = "none"  # none or cpu: where the layer inputs that checkpointing keeps wait
    pin_memory: bool = True  # what DeepSpeed keeps in host memory is pinned
    mlp: Tiling = "whole"  # tiled: dense MLPs run in `tiles` along the sequence, and once more in the backward pass
    # Which of the blocks train; what is not "last" has no field in a spec, so this one stays the last.
    trained_blocks: TrainedBlocks = "last"

    @property
    def zero_stage(self) -> int:
        """The DeepSpeed stage; full sharding counts as 3, plain data parallel as 0."""
        return ZERO_STAGES[self.sharding]

    @property
    def deepspeed(self) -> bool:
        """DeepSpeed runs the optimizer."""
        return self.sharding.startswith("zero")

    @property
    def unadapted(self) -> tuple[str, ...]:
        """Parts of the model that get no adapters."""
        return (*self.freeze_parts, *self.whole_parts)

    def learns(self, part: str) -> Literal["whole", "adapters", "frozen"]:
        """How vision, projector or language train."""
        if part in self.freeze_parts or (self.method == "freeze" and part != "language"):
            return "frozen"
        return "adapters" if self.method in ("lora", "qlora") and part not in self.whole_parts else "whole"

    @property
    def fills_rows(self) -> bool:
        """Samples fill whole rows. Answers that are still to be generated only lie end to end, without padding."""
        return self.packing and self.task not in ("ppo", "grpo")

    @property
    def sequences(self) -> int:
        """Sequences that one micro-batch holds on the GPU: preference tasks run chosen and rejected together."""
        return self.micro_batch * (2 if self.task in ("dpo", "orpo", "simpo", "reward") else 1)
