"""The strategy of a row of the truth files, in mfc's words."""

from __future__ import annotations

import re

from mfc.strategy import Quantization, Strategy, TrainedBlocks

from benchmarks.score.adapters import lora_of, quantization_of
from benchmarks.score.models import Unsupported, architecture_of, blocks_of
from benchmarks.score.stacks import emitted
from benchmarks.truth import Row, number

VARIANTS = {"dora": "lora", "qdora": "qlora", "rslora": "lora", "lora+": "lora",
            "full+galore": "full", "full+lisa": "full", "llamapro": "freeze"}  # fmt: skip
# Methods that mfc cannot plan and that train little beside a frozen base: memory sees them as adapters of the row's
# rank on the row's targets. Their speed is another matter.
LIKE_LORA = ("adalora", "lora-fa", "vera", "oft", "boft", "ia3", "adapter", "adapter_v2", "ln_tuning", "prefixtuning",
             "prompt_tuning", "trainable_tokens")  # fmt: skip


def strategy_of(row: Row, *, memory_only: bool = False) -> Strategy:
    """The strategy of a row. Raises Unsupported for what mfc cannot plan; `memory_only` lets LIKE_LORA in."""
    architecture = architecture_of(row)
    method = _method(row, memory_only)
    turns: TrainedBlocks = "drawn" if "lisa" in str(row.get("method")) else "spread" if method == "freeze" else "last"
    blocks = blocks_of(row) or 0
    if turns != "last" and not blocks:
        raise Unsupported("the number of trained blocks is not stated")
    if (number(row, "tp") or 1) > 1 or (number(row, "pp") or 1) > 1:
        raise Unsupported("tensor or pipeline parallel")
    length, micro_batch = number(row, "seq_len"), number(row, "micro_batch")
    if length is None or micro_batch is None:
        raise Unsupported("no length or micro-batch")
    quantization = quantization_of(row)
    if quantization is not None and method == "lora":
        method = "qlora"
    world = number(row, "num_gpus") or 1
    sharding = sharding_of(row)
    offload = str(row.get("offload") or "none").lower()
    parameters = offload != "none" and ("param" in offload or (sharding == "zero3" and "optimizer" not in offload))
    checkpointing = row.get("grad_ckpt")
    if checkpointing is None:
        raise Unsupported("gradient checkpointing not stated")
    task = str(row.get("task") or "sft").lower()
    return Strategy(
        task={"pt": "pretrain", "rm": "reward"}.get(task, task),  # type: ignore[arg-type]
        method=method,  # type: ignore[arg-type]
        precision=_precision(row),  # type: ignore[arg-type]
        sharding=sharding,  # type: ignore[arg-type]
        world_size=world,
        max_length=length,
        micro_batch=micro_batch,
        gradient_accumulation=number(row, "grad_accum") or 1,
        gradient_checkpointing=bool(checkpointing),
        attention=_attention(row),  # type: ignore[arg-type]
        loss=_loss(row),  # type: ignore[arg-type]
        optimizer=_optimizer(row, quantization),
        offload_optimizer="cpu" if offload != "none" else "none",
        offload_parameters="cpu" if parameters else "none",
        sequence_parallel=number(row, "cp") or 1,
        packing=bool(row.get("packing")) or not _varies(row),
        lora=lora_of(row, architecture) if method in ("lora", "qlora") else None,
        quantization=quantization,
        reference_model=task in ("dpo", "kto") and method == "full",
        trainable_layers=blocks,
        trained_blocks=turns,
    )


def _method(row: Row, memory_only: bool) -> str:
    stated = str(row.get("method") or "").lower()
    method = VARIANTS.get(stated, stated)
    if memory_only and method.split("+")[0] in LIKE_LORA:
        method = "lora"
    if method not in ("full", "lora", "qlora", "freeze"):
        raise Unsupported(f"method {row.get('method')}")
    return method


def _varies(row: Row) -> bool:
    """Whether lengths vary up to the stated one: only where the row speaks of a data set's rows.

    Where it is a mere upper bound that no batch reaches, nothing is to be added for what varying lengths leave behind.
    """
    kind = str(row.get("seq_kind") or "").lower()
    return bool(re.search(r"longest|dataset|variable|varying|differ", kind)) and "upper bound" not in kind


def sharding_of(row: Row) -> str:
    """How states are split, in mfc's words. Raises Unsupported."""
    text = str(row.get("sharding") or "").lower()
    if "no_shard" in text or "ddp" in text:
        return "ddp"
    if "fsdp" in text and "fsdp2" not in text and emitted(str(row.get("framework"))):
        return "fsdp"  # the Trainer holds gradients whole while it accumulates; other loops were not read
    if "fsdp" in text:
        return "fsdp2"
    if "megatron" in text or "device_map" in text or "pipeline" in text:
        raise Unsupported(text)
    stage = number(row, "zero_stage") or 0
    if found := re.search(r"zero-?(\d)", text):
        stage = int(found[1])
    return ("ddp", "zero1", "zero2", "zero3")[stage]


def _precision(row: Row) -> str:
    text = f"{row.get('precision_recipe') or ''} ".lower()
    base = str(row.get("base_dtype") or "bf16").lower()
    if re.search(r"pure bf16|bf16-true|everything bf16|bf16 throughout|no mixed", text):
        return "pure_bf16"
    if re.search(r"fp16 (autocast|mixed)|16-mixed|fp16 amp|deepspeed fp16", text) and "bf16" not in text:
        return "fp16"
    if re.search(r"autocast|mixed|amp|master|main params", text):
        return "bf16"
    if base.startswith("fp32") and "bf16" not in text:
        return "fp32"
    return "bf16"


def _attention(row: Row) -> str:
    text = str(row.get("attn_impl") or "sdpa").lower()
    if "eager" in text or "math" in text:
        return "eager"
    return "flash" if re.search(r"flash|fa\d|xformers|memory-efficient", text) else "sdpa"


def _loss(row: Row) -> str:
    text = str(row.get("loss_kernel") or "none").lower()
    return "fused" if compiled_loss(row) or re.search(r"liger|fused|cut|chunk|unsloth", text) else "plain"


def compiled_loss(row: Row) -> bool:
    """torchtitan compiles the loss with the model: not yet in December 2024 (train.py), in June 2025 (loss.py)."""
    when = f"{row.get('framework')} {row.get('source')}".lower()
    late = re.search(r"20250[6-9]|(jun|jul|aug|sep|oct|nov|dec) 2025|2026", when)
    return "torchtitan" in when and bool(late) and "compile" in str(row.get("notes"))


def _optimizer(row: Row, quantization: Quantization | None) -> str:
    text = str(row.get("optimizer") or "adamw").lower()
    eight = "8bit" if "8bit" in text or "8-bit" in text else ""
    if "galore" in text:  # Q-GaLore in ms-swift leaves weights in 16 bit: what it quantises is Adam's state
        return "galore_8bit" if eight or "+quantize" in str(row.get("locator")) else "galore"
    if found := re.search("apollo|badam", text):
        return found[0]
    paged = "paged" in text and (quantization is not None or "when quantized" not in text)
    if "adafactor" in text or re.match(r"sgd", text):
        return "adafactor" if "adafactor" in text else "sgd"
    kind = "lion" if "lion" in text else "adamw"
    return "_".join(part for part in ("paged" if paged else "", kind, eight) if part)
