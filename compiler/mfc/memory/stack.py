"""How a software stack uses memory: what differs between frameworks and library versions, as named facts.

A target's profile carries one Stack per version. The neutral stack is a current Hugging Face Trainer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stack:
    """Defaults describe transformers 5, PEFT 0.21, torch 2.13 and the plain Trainer; each field says what it changes."""

    name: str = "neutral"
    trainable_fp32: bool = False  # trainable weights are upcast to fp32 when DeepSpeed is absent (mixed precision)
    adapter_fp32: bool = True  # adapters are fp32 when DeepSpeed does not cast them
    autocast: bool = True  # the trainer runs forward under autocast
    kbit_fp32: bool = True  # prepare_model_for_kbit_training upcasts what is not quantised to fp32
    optimizer_foreach: bool = False  # torch's foreach step instead of the fused one: one more copy at the step
    logits_fp32_copy: bool = True  # the loss upcasts 16-bit logits
    keeps_outputs: bool = False  # the training loop holds model outputs during backward
    fused_experts: bool = True  # experts are one 3-D parameter (transformers 5) instead of many linears
    expandable_segments: bool = False  # the allocator does not fragment
    reduce_bucket_elements: int | None = None  # DeepSpeed; None = hidden squared, as the Trainer's "auto" resolves
    overlap_comm: bool = False
