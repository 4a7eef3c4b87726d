"""How a software stack uses memory: what differs between frameworks and library versions, as named facts.

A target's profile carries one Stack per version. The neutral stack is a current Hugging Face Trainer.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class LowRank(NamedTuple):
    """How GaLore and APOLLO are set up: a framework's defaults, for no spec can say it."""

    rank: int = 128  # transformers trainer_optimizer.py (GaLore)
    embedding: bool = False  # the embedding is projected too; the head never is
    layerwise: bool = False  # every gradient is applied and freed as soon as it is made


class Moments(NamedTuple):
    """What one preference loss holds of logits, in bytes per token of the policy's batch and vocabulary row."""

    backward: float
    reference: float = 0.0  # at most, until a frozen model, or the policy without adapters, has scored the tokens
    forward: float = 2.0  # as the policy's forward pass ends, when autocast still has its 16-bit copies
    made: float = 0.0  # as the loss is made after autocast has given up its copies; 0: the backward pass holds more
    chunk: float = 0.0  # beside the reference, per vocabulary row and whatever the batch: statistics made in chunks


class Preferences(NamedTuple):
    """Moments of each loss, where the loop hands outputs on in fp32 (autocast, fp32 models) and where in 16 bits.

    Counted in the trainers themselves by benchmarks.count.preferences; those of grpo and ppo, which score answers one
    by one, by benchmarks.count.answers. The defaults are TRL 0.29.
    """

    dpo: tuple[Moments, Moments] = (Moments(16, 16, chunk=1536), Moments(4, 10, chunk=768))
    kto: tuple[Moments, Moments] = (Moments(16, 16), Moments(4, 8))
    orpo: tuple[Moments, Moments] = (Moments(18), Moments(5))
    simpo: tuple[Moments, Moments] = (Moments(16), Moments(4))
    grpo: tuple[Moments, Moments] = (Moments(16, forward=8), Moments(6, forward=4))
    ppo: tuple[Moments, Moments] = (Moments(20, forward=8), Moments(10, forward=4))
    distill: tuple[Moments, Moments] | None = None  # None: no loop of this framework's has a teacher
    packed: tuple[Moments, Moments] | None = None  # DPO and KTO, where the answers of a batch are one row
    reference_cache: bool = False  # the reference makes a cache of keys and values (a model's default in a plain loop)
    within_autocast: bool = False  # the reference runs, and the loss is made, while autocast has its copies

    def of(self, task: str, wide: bool, packed: bool = False) -> Moments | None:
        """The moments of a task's loss; None where it compares nothing."""
        index = 0 if wide else 1
        if packed and self.packed is not None and task in ("dpo", "kto"):
            return self.packed[index]
        losses = {name: getattr(self, name) for name in ("dpo", "kto", "orpo", "simpo", "grpo", "ppo", "distill")}
        moments: tuple[Moments, Moments] | None = losses.get(task)
        return moments[index] if moments else None


class HandOver(NamedTuple):
    """How a trainer gives its weights to vLLM, step by step, and how the two share a card."""

    by_layer: tuple[str, ...] = ("zero3", "fsdp2")  # shardings under which it gathers a layer at a time, not everything
    merged_by_layer: tuple[str, ...] | None = None  # the same where adapters are merged first; None: no difference
    bucket: int = 512 << 20  # bytes that it sends a server at a time, from a copy
    parks: bool = True  # its weights and optimizer can wait on the host while a colocated vLLM generates
    always_drops: bool = False  # a sleeping vLLM's weights are dropped and sent anew, whatever host memory there is
    one_engine: bool = False  # a server is one engine over all its GPUs


class Tiles(NamedTuple):
    """A head of the framework's own that scores tokens in tiles, in training and in evaluation."""

    tokens: int  # of one tile
    vocab: int  # words of one tile


class Stack(NamedTuple):
    """Defaults describe transformers 5, PEFT 0.21, torch 2.13 and the plain Trainer; a field says what it changes."""

    name: str = "neutral"
    known: bool = False  # this stack was checked against published measurements; False widens the bound

    # Number formats
    trainable_fp32: bool = False  # trained base weights are upcast to fp32 when DeepSpeed is absent (mixed precision)
    whole_fp32: bool = False  # and so are modules that train whole beside adapters, else they have the base's type
    edges_fp32: bool = False  # embedding, head and norms that train are fp32 in a 16-bit model, with DDP and no flash
    frozen_fp32: bool = False  # the frozen base is loaded in fp32 and cast by autocast (transformers' default before 5)
    adapter_fp32: bool = True  # adapters are fp32 when DeepSpeed does not cast them
    adapter_fp32_kbit: bool = True  # also beside a base that bitsandbytes quantises
    adapter_fp32_zero3: bool = True  # also under ZeRO-3
    adapter_fp32_beside_whole: bool = True  # also under ZeRO-3 where whole modules train beside them
    fp32_references: tuple[str, ...] = ()  # tasks whose reference the trainer loads itself, in fp32; DeepSpeed casts it
    reference_as_policy: bool = False  # a reference of its own is loaded in the policy's type, not in 16 bits
    critic_fp32: bool = False  # PPO's critic runs outside autocast, so its activations are fp32
    autocast: bool = True  # the trainer runs forward under autocast
    kbit_fp32: bool = True  # prepare_model_for_kbit_training upcasts what is not quantised to fp32
    quantised_dtensors: tuple[str, ...] = ()  # kinds of weights whose class and bits it teaches FSDP2 to keep
    kbit_narrows: bool = False  # beside 4-bit weights, bf16 makes adapters, embedding and head 16-bit after that
    fsdp_fp32_shards: bool = True  # FSDP with precision bf16 keeps fp32 shards (accelerate upcasts what trains)

    # Optimizer
    optimizer_in_backward: bool = False  # each gradient is applied and freed as soon as it is made
    optimizer_foreach: bool = False  # torch's foreach step instead of the fused one: one more copy at the step
    foreach_twice: bool = False  # torch before 2.1: another one, for it adds epsilon out of place
    low_rank: LowRank = LowRank()
    lisa_states: Literal["all", "first", "none"] = "all"  # which drawn blocks the optimizer knows and keeps moments of

    # Loss
    logits_fp32_copy: bool = True  # the loss upcasts 16-bit logits, without autocast too
    logits_shift_copy: bool = False  # labels are shifted by slicing the logits (transformers before 4.49 or so)
    logits_beside_copies: bool = False  # and the 16-bit logits outlive it (transformers 4.46 to 4.48)
    outputs_fp32: bool = False  # the framework hands model outputs on in fp32
    keeps_outputs: bool = False  # the training loop holds model outputs during backward
    keeps_loss: bool = False  # and the last outputs and loss until the next ones are made
    value_head: bool = False  # a reward model is a language model with a value head beside: whole logits, never used
    fused_loss: Literal["linear", "logits", "in_place"] = (
        "linear"  # loss=fused runs head and loss in chunks, or the loss alone; or one kernel writes over the logits
    )

    tiles: Tiles | None = None  # loss=fused is the framework's own kernel, which Liger has no part in
    own_loss: bool = False  # the same of a kernel that takes what Liger's does

    preferences: Preferences = Preferences()
    answer_logits: Literal["always", "text", "never"] = (
        "always"  # GRPO takes logits of answers alone: of any model, without images, of none
    )

    # Rollouts
    hand_over: HandOver = HandOver()
    scores_at_once: float = 0.0  # PPO: bytes a token and word while a reference scores all answers of a generation

    # Model code
    fused_experts: bool = True  # experts are one 3-D parameter (transformers 5) instead of many linears
    expert_adapters: bool = True  # adapters reach fused experts and routers under all-linear (PEFT 0.21; 0.18 does not)
    fused_blocks: Literal["never", "with_loss", "always"] = (
        "with_loss"  # kernels that keep no fp32 copies in norms and MLP
    )
    stream_in_place: bool = False  # attention's 16-bit output takes the residual in: the stream leaves fp32 with it
    norms_round_last: bool = False  # norms multiply by fp32 weights in fp32, and return what they were given
    lora_kernels: bool = False  # adapters without dropout run in kernels that keep each input once and work in place
    tiled_mlp: bool = False  # dense MLPs run tile by tile, of as many tokens as the hidden size, again in backward
    sdpa_expands_kv: bool = False  # k and v are repeated to all heads before SDPA (transformers < 4.48, torch < 2.5)
    expands_kv: bool = False  # k and v are repeated to all heads before any kernel
    padding_mask: bool = True  # padded batches give SDPA a mask, which rules out its flash kernel
    eager_tasks: tuple[str, ...] = ()  # tasks whose batches bring a mask, with which attention holds its scores
    packing_mask: bool = False  # packed rows of SFT bring one mask of length^2 numbers, unless attention is flash
    kbit_keeps_inputs: bool = False  # bitsandbytes < 0.43.2 keeps the input of every 4-bit linear for backward
    kbit_everything: bool = False  # the head is quantised too, and matrices are dequantised to fp16, then cast
    checkpoint: Literal["block", "selective"] = "block"  # what gradient_checkpointing recomputes
    checkpoints_frozen: bool = True  # gradient_checkpointing recomputes layers in which nothing trains, too
    hooks_towers: bool = True  # adapters with checkpointing hook the tower's patches too, so a frozen tower has a graph
    checkpoint_offload: bool = False  # the inputs that checkpointing keeps wait in host memory
    offload_window: int = 1  # of these, how many are on the card while they come and go

    schedule_first: bool = False  # transformers 4: the schedule is made before DeepSpeed drops groups without weights

    # FSDP
    fsdp_splits_edges: bool = False  # embedding and head are units of their own instead of the root's
    fsdp_holds_streams: bool = False  # transformers < 4.53: each frozen unit's hook holds its input and the gradient
    fsdp_keeps_frozen: bool = False  # torch < 2.2: frozen units stay gathered until the whole backward pass is over

    # Loading and wrapping
    loads_everywhere: bool = False  # transformers 5 under FSDP: each process reads it all, quantised weights to its GPU
    loads_on_host: bool = False  # each process holds the whole model in host memory before it moves to the GPU
    wraps_one_gpu: bool = False  # a single process is wrapped in DDP too, with its gradient buckets

    # Allocator
    expandable_segments: bool = False  # the allocator does not fragment

    # DeepSpeed; None = what the Trainer's "auto" resolves to
    engine_replicates: bool = False  # its engine runs data parallel training too, as stage 0
    reduce_bucket_elements: int | None = None  # hidden squared
    prefetch_bucket_elements: int | None = None  # 0.9 hidden squared
    persistence_threshold_elements: int | None = None  # 10 hidden
    overlap_comm: bool | None = None  # None: at stage 3 only
    max_live_parameters: int = 1_000_000_000
    sub_group_elements: int = 1_000_000_000
