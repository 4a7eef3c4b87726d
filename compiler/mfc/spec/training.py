"""How to train: the recipe, which changes results, and the strategy, which changes only memory and time."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mfc.spec.inputs import Section, section
from mfc.spec.values import (
    BETAS,
    SOME_MODULES,
    Auto,
    AutoCount,
    AutoElements,
    AutoFlag,
    AutoFraction,
    AutoNumber,
    AutoPositive,
    Count,
    CountOrRange,
    Flag,
    Fraction,
    Modules,
    Names,
    Number,
    Numbers,
    Positive,
    Steps,
    Text,
    Whole,
    also,
    refuse,
    words,
)

PREFERENCE_TASKS = ("dpo", "kto", "orpo", "simpo")
ROLLOUT_TASKS = ("ppo", "grpo")


class LoraSpec(Section):
    """Low-rank adapters, for methods lora and qlora."""

    rank: CountOrRange = Field(default="auto", description="Rank of the adapters. A range: the highest that fits.")
    alpha: AutoPositive = Field(default="auto", description="Scale of the adapters. auto: twice the rank.")
    dropout: Fraction = Field(default=0.0, description="Dropout before the adapters: 0.05.")
    targets: Annotated[str | tuple[str, ...], also(SOME_MODULES, "all-linear", "attention", "mlp")] = Field(
        default="all-linear", description="Layers that get adapters: all-linear, attention, mlp, or a list of names."
    )
    variant: Literal["lora", "rslora", "dora"] = Field(default="lora", description="Kind of adapter.")
    modules_to_save: Modules = Field(default=(), description="Modules trained whole beside the adapters: [lm_head].")


class QuantizationSpec(Section):
    """How the frozen base is stored, for method qlora."""

    bits: Literal[4, 8] = Field(default=4, description="Bits per weight.")
    kind: Literal["auto", "nf4", "fp4", "int8", "hqq", "eetq"] = Field(
        default="auto", description="Number format. auto: nf4 for 4 bits, int8 for 8."
    )
    double: Flag = Field(default=True, description="Whether the scales of nf4 and fp4 are quantised as well.")

    @model_validator(mode="after")
    def _agree(self) -> "QuantizationSpec":
        widths = {"nf4": (4,), "fp4": (4,), "int8": (8,), "eetq": (8,)}.get(self.kind, (4, 8))
        if self.bits not in widths:
            raise refuse(f"kind {self.kind} has {widths[0]} bits, not {self.bits}", at="kind")
        return self


class OptimSpec(Section):
    """The rest of the recipe; every target is told all of it."""

    schedule: Literal[
        "cosine", "linear", "constant", "polynomial", "inverse_sqrt", "cosine_with_min_lr", "warmup_stable_decay"
    ] = Field(default="cosine", description="How the learning rate falls after the warm-up.")
    warmup: Steps = Field(
        default=0.03, description="Steps in which the learning rate rises: a share of all (3%), or their number (100)."
    )
    min_learning_rate: Number | None = Field(
        default=None,
        description="Where the learning rate ends: cosine_with_min_lr needs it, warmup_stable_decay ends at 0 without.",
    )
    decay: Steps = Field(
        default=0.1,
        description="Steps in which warmup_stable_decay falls at the end: a share of all (10%), or their number.",
    )
    weight_decay: Number = Field(default=0.0, description="Decoupled weight decay.")
    max_grad_norm: Number = Field(default=1.0, description="Norm to which gradients are clipped; 0: not clipped.")
    betas: Annotated[tuple[float, float], BETAS] = Field(default=(0.9, 0.999), description="Adam's decay rates.")
    epsilon: Positive = Field(default=1e-8, description="Adam's epsilon.")
    seed: Whole = Field(default=42, description="Seed of data order, adapters and dropout.")

    @model_validator(mode="after")
    def _agree(self) -> "OptimSpec":
        ends, falls = self.schedule == "cosine_with_min_lr", self.schedule == "warmup_stable_decay"
        if ends and not self.min_learning_rate:
            raise refuse("schedule cosine_with_min_lr ends at min_learning_rate: give it, such as 1e-6", at="schedule")
        if self.min_learning_rate is not None and not (ends or falls):
            raise refuse(
                f"min_learning_rate is for schedules cosine_with_min_lr and warmup_stable_decay, not {self.schedule}",
                at="min_learning_rate",
            )
        if "decay" in self.model_fields_set and not falls:
            raise refuse(f"decay is the end of schedule warmup_stable_decay, not of {self.schedule}", at="decay")
        if not self.decay:
            raise refuse("without a decay, the schedule is constant", at="decay")
        return self


class PreferenceSpec(Section):
    """How preferences are learnt, for tasks dpo, kto, orpo and simpo."""

    beta: AutoPositive = Field(default="auto", description="Strength of the pull to the reference.")
    gamma: AutoNumber = Field(default="auto", description="Target margin of simpo.")
    reference: Text = Field(
        default="auto", description="The reference of dpo and kto: a path or hub id. auto: the model before training."
    )


# Of rollouts, what belongs to GRPO alone.
GRPO_ALONE = (
    *("loss_type", "top_p", "top_k", "repetition_penalty"),
    *("reward_weights", "plugins", "server"),
)
# What a server on other hardware decides as it is started.
_ENGINE = ("tensor_parallel", "gpu_memory_utilization", "sleep")


class ServerSpec(Section):
    """A vLLM server on hardware that the spec does not describe. It is started there, before training."""

    host: Text = Field(default="none", description="Its address. none: vLLM's GPUs are some of this hardware.")
    port: Count = Field(default=8000, description="The port that it listens on.")


class RolloutSpec(Section):
    """Tasks grpo and ppo: how answers are generated and scored."""

    engine: Literal["auto", "vllm", "native"] = Field(
        default="auto", description="What generates: vllm, or the training framework itself (native)."
    )
    mode: Literal["auto", "colocate", "server"] = Field(
        default="auto", description="Whether vLLM shares the training GPUs (colocate) or has its own (server)."
    )
    gpus: AutoCount = Field(default="auto", description="GPUs kept for vLLM in server mode, of all nodes together.")
    tensor_parallel: AutoCount = Field(default="auto", description="GPUs over which one vLLM engine splits the model.")
    gpu_memory_utilization: AutoFraction = Field(
        default="auto", description="Share of the whole GPU that vLLM takes: 0.4 or 40%."
    )
    sleep: AutoFlag = Field(default="auto", description="Whether a colocated vLLM frees its memory while training.")
    num_generations: AutoCount = Field(default="auto", description="Answers per prompt (grpo). auto: 8.")
    max_prompt_length: AutoCount = Field(default="auto", description="Longest prompt in tokens.")
    max_completion_length: AutoCount = Field(default="auto", description="Longest answer in tokens.")
    iterations: AutoCount = Field(
        default="auto", description="Optimizer steps on the answers of one generation. auto: 1 (grpo), 4 (ppo)."
    )
    temperature: Positive = Field(default=1.0, description="Temperature that answers are sampled at.")
    top_p: Fraction = Field(default=1.0, description="Share of probability that is sampled from (grpo); 1: all.")
    top_k: Whole = Field(default=0, description="How many of the likeliest tokens are sampled from (grpo); 0: all.")
    repetition_penalty: Positive = Field(default=1.0, description="Penalty on tokens said before (grpo); 1: none.")
    rewards: Names = Field(default=(), description="Reward functions by name, or reward models by path.")
    reward_weights: Numbers = Field(
        default=(), description="Weight of each reward, in their order (grpo); none: all 1."
    )
    plugins: Names = Field(default=(), description="Files of Python that define reward functions (grpo).")
    loss_type: Literal["auto", "grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "real", "fipo"] = Field(
        default="auto", description="How the losses of tokens add up (grpo). auto: as in the GRPO paper."
    )
    beta: AutoNumber = Field(default="auto", description="Weight of the KL penalty.")
    server: ServerSpec = section("A vLLM server on other hardware (grpo).")

    @model_validator(mode="after")
    def _agree(self) -> "RolloutSpec":
        if self.gpus != "auto" and self.mode == "colocate":
            raise refuse("gpus is for mode server; colocated vLLM shares all of them", at="gpus")
        if not self.top_p:
            raise refuse("top_p 0 leaves nothing to sample from", at="top_p")
        if self.server.host == "none" and self.server.model_fields_set:
            raise refuse("a server needs its host", at="server")
        if self.server.host != "none":
            self._of_a_server()
        return self

    def _of_a_server(self) -> None:
        if self.mode == "colocate" or self.engine == "native":
            at = "mode" if self.mode == "colocate" else "engine"
            raise refuse(f"{at} {getattr(self, at)} has no server", at=at)
        if self.gpus != "auto":
            raise refuse("gpus keeps GPUs of this hardware for vLLM; server says that it is on other", at="gpus")
        for name in _ENGINE:
            if name in self.model_fields_set:
                raise refuse(f"{name} is decided where the server is started", at=name)


class DistillationSpec(Section):
    """Task distill: the loss pulls the model's predictions of each token to those of a frozen teacher."""

    teacher: Text | None = Field(default=None, description="The teacher: a path or hub id.")
    alpha: Fraction = Field(default=0.5, description="Share of cross entropy in the loss; the rest is the teacher's.")
    temperature: Positive = Field(default=1.0, description="Temperature of both models' predictions: 2.0.")


class TrainSpec(Section):
    """The recipe. A change here changes the trained model."""

    task: Literal["pretrain", "sft", "reward", "dpo", "kto", "orpo", "simpo", "ppo", "grpo", "distill"] = Field(
        default="sft", description="The training objective."
    )
    method: Literal["auto", "full", "lora", "qlora", "freeze"] = Field(
        default="lora", description="Which weights train. auto: the most faithful method that fits."
    )
    lora: LoraSpec = section("Adapters, for methods lora and qlora.")
    quantization: QuantizationSpec = section("The base of method qlora.")
    trainable_layers: AutoCount = Field(default="auto", description="Method freeze: how many of the last layers train.")
    freeze_parts: Annotated[tuple[str, ...] | Auto, also(words("vision", "projector", "language"), "auto")] = Field(
        default="auto", description="Frozen parts of a vision-language model. auto: vision and projector."
    )
    whole_parts: Annotated[tuple[str, ...], words("vision", "projector")] = Field(
        default=(), description="Methods lora and qlora: parts of a vision-language model that train whole instead."
    )
    vision_learning_rate: Positive | None = Field(
        default=None, description="Peak learning rate of the vision tower, where it has one of its own."
    )
    projector_learning_rate: Positive | None = Field(
        default=None, description="Peak learning rate of the projector, where it has one of its own."
    )
    precision: Literal["auto", "bf16", "pure_bf16", "fp16", "fp32"] = Field(
        default="auto", description="Number format of training; pure_bf16 has no fp32 copy of the weights."
    )
    batch_size: CountOrRange = Field(
        default="auto",
        description="Samples per optimizer step over all GPUs; dpo counts pairs, grpo answers. auto: near 64.",
    )
    batch_unit: Literal["sample", "row"] = Field(
        default="sample", description="What batch_size counts when samples are packed: samples, or packed rows."
    )
    learning_rate: AutoPositive = Field(default="auto", description="Peak learning rate: 1e-4.")
    epochs: Positive | None = Field(default=3.0, description="Passes over the data. Or give max_steps.")
    max_steps: Count | None = Field(default=None, description="Optimizer steps, instead of epochs.")
    optim: OptimSpec = section("Schedule, decay, clipping, seed.")
    preference: PreferenceSpec = section("Tasks dpo, kto, orpo and simpo.")
    rollout: RolloutSpec = section("Tasks grpo and ppo.")
    distillation: DistillationSpec = section("Task distill.")

    @model_validator(mode="before")
    @classmethod
    def _steps_or_epochs(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("max_steps") is not None and "epochs" not in value:
            return {**value, "epochs": None}
        return value

    @model_validator(mode="after")
    def _agree(self) -> "TrainSpec":
        if (self.max_steps is None) == (self.epochs is None):
            raise refuse("give either epochs or max_steps", at="max_steps")
        if self.rollout.model_fields_set and self.task not in ROLLOUT_TASKS:
            raise refuse(f"rollout is for tasks grpo and ppo; task is {self.task}", at="rollout")
        if self.task != "grpo" and (alone := [name for name in GRPO_ALONE if name in self.rollout.model_fields_set]):
            raise refuse(f"rollout.{alone[0]} is for task grpo; task is {self.task}", at=f"rollout.{alone[0]}")
        preference = self.preference
        if preference.model_fields_set and self.task not in PREFERENCE_TASKS:
            raise refuse(f"preference is for tasks dpo, kto, orpo and simpo; task is {self.task}", at="preference")
        if preference.gamma != "auto" and self.task != "simpo":
            raise refuse(f"gamma is simpo's margin; task is {self.task}", at="preference.gamma")
        if self.distillation.model_fields_set and self.task != "distill":
            raise refuse(f"distillation is for task distill; task is {self.task}", at="distillation")
        if self.task == "distill" and self.distillation.teacher is None:
            raise refuse("task distill learns from a teacher: give its path or hub id", at="distillation.teacher")
        if preference.reference != "auto" and self.task not in ("dpo", "kto"):
            raise refuse(f"task {self.task} has no reference model", at="preference.reference")
        return self


class OffloadSpec(Section):
    """What lives outside GPU memory. Short forms: none, auto."""

    optimizer: Literal["auto", "none", "cpu", "nvme"] = Field(default="auto", description="Where its state lives.")
    parameters: Literal["auto", "none", "cpu", "nvme"] = Field(default="auto", description="Where the weights live.")
    activations: Literal["auto", "none", "cpu"] = Field(
        default="auto", description="Where the layer inputs that gradient checkpointing keeps wait."
    )
    pin_memory: AutoFlag = Field(
        default="auto", description="Whether DeepSpeed pins what is offloaded to the host: faster copies, more memory."
    )


class BucketsSpec(Section):
    """DeepSpeed's buckets and limits, in elements: 5e8 of them are 1 GB in 16 bit."""

    reduce: AutoElements = Field(default="auto", description="Gradients reduced at once. auto: hidden size squared.")
    allgather: AutoElements = Field(default="auto", description="ZeRO-1 and 2: weights gathered at once. auto: 5e8.")
    prefetch: AutoElements = Field(default="auto", description="ZeRO-3: weights gathered ahead. auto: 0.9 of reduce.")
    persistence: AutoElements = Field(
        default="auto", description="ZeRO-3: parameters up to this size stay whole. auto: ten times the hidden size."
    )
    live: AutoElements = Field(default="auto", description="ZeRO-3: weights that stay gathered, at most. auto: 1e9.")


class StrategySpec(Section):
    """How the run is laid on the hardware. It changes memory and time, not the result."""

    sharding: Literal["auto", "ddp", "zero1", "zero2", "zero3", "fsdp", "fsdp2"] = Field(
        default="auto", description="What the GPUs split among them: nothing (ddp), ZeRO stage 1 to 3, FSDP or FSDP2."
    )
    offload: OffloadSpec = section("What lives outside GPU memory.")
    buckets: BucketsSpec = section("DeepSpeed's buckets, in elements.")
    overlap_comm: AutoFlag = Field(
        default="auto", description="Whether ZeRO communicates beside computing. auto: at stage 3."
    )
    micro_batch: CountOrRange = Field(default="auto", description="Samples per GPU and forward pass.")
    gradient_checkpointing: AutoFlag = Field(
        default="auto", description="Whether activations are computed again in the backward pass."
    )
    attention: Literal["auto", "flash", "flash3", "sdpa", "eager"] = Field(
        default="auto", description="Attention kernel; flash: FlashAttention-2, flash3: FlashAttention-3 (Hopper)."
    )
    loss: Literal["auto", "plain", "fused"] = Field(
        default="auto", description="Loss kernel; fused never holds all logits at once."
    )
    mlp: Literal["auto", "whole", "tiled"] = Field(
        default="auto", description="Whether dense MLPs run in tiles of the sequence, and again in the backward pass."
    )
    optimizer: Literal[
        "auto",
        "adamw",
        "adamw_8bit",
        "paged_adamw",
        "paged_adamw_8bit",
        "adafactor",
        "sgd",
        "lion",
        "muon",
        "galore",
        "apollo",
        "badam",
    ] = Field(default="auto", description="Optimizer and its memory layout. auto: an AdamW.")
    sequence_parallel: AutoCount = Field(default="auto", description="GPUs over which one sequence is split.")
    headroom: Fraction = Field(default=0.05, description="Share of GPU memory left free above the upper bound: 5%.")
