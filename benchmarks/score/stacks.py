"""Software stacks of published runs: which facts of mfc.memory.Stack hold for a framework at its versions.

Everything here is a property of library code at a version, stated with its source; nothing is fitted to the rows.
Versions are read from the row's own text; where only torch's is given, libraries of the same months are assumed.
"""

from __future__ import annotations

import re

from mfc.memory import Stack
from mfc.memory.stack import Moments, Preferences
from mfc.targets import ms_swift

Version = tuple[int, ...]

# First day of each torch release's term, as (torch version, transformers version of those months, bitsandbytes, PEFT).
ERAS: tuple[tuple[Version, Version, Version], ...] = (
    ((2, 0), (4, 28), (0, 38)),
    ((2, 1), (4, 34), (0, 41)),
    ((2, 2), (4, 38), (0, 42)),
    ((2, 3), (4, 40), (0, 43)),
    ((2, 4), (4, 44), (0, 43, 3)),
    ((2, 5), (4, 46), (0, 44)),
    ((2, 6), (4, 48), (0, 45)),
    ((2, 7), (4, 51), (0, 45)),
    ((2, 8), (4, 55), (0, 47)),
    ((2, 9), (4, 57), (0, 48)),
    ((2, 10), (5, 0), (0, 49)),
)
YEARS = {"2023": (2, 1), "2024": (2, 3), "2025": (2, 7), "2026": (2, 10)}


def version_of(library: str, text: str) -> Version | None:
    """The version that stands after a library's name."""
    found = re.search(rf"\b{library}[ =v]*(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in found[1].split(".")[:3]) if found else None


def hugging_face(text: str) -> Stack:
    """A Hugging Face Trainer of the versions that `text` names, or of its year; current ones when it names none."""
    text = text.lower()
    torch = version_of("torch", text)
    if torch is None:
        year = re.search(r"\b20(2[3-6])\b", text)
        torch = YEARS["20" + year[1]] if year else (2, 10)
    era = max((row for row in ERAS if row[0] <= torch), default=ERAS[0])
    transformers = version_of("transformers", text) or era[1]
    bits = version_of("bitsandbytes", text) or version_of("bnb", text) or era[2]
    return Stack(
        name="hf",
        # AdamW picks foreach from torch 2.0 on; the Trainer's default became the fused one (transformers 4.57, torch
        # 2.8)
        optimizer_foreach=torch >= (2, 0) and (transformers < (4, 57) or torch < (2, 8)),
        # adamw.py of 2.0: `denom = torch._foreach_add(exp_avg_sq_sqrt, eps)`, in place since 2.1
        foreach_twice=torch < (2, 1),
        # The upcast logits are sliced and copied up to 4.48; since the loss is a function of its own (loss_utils.py of
        # 4.46) the caller's 16-bit ones lie beside.
        logits_shift_copy=transformers < (4, 49),
        logits_beside_copies=(4, 46) <= transformers < (4, 49),
        fused_experts=transformers >= (5,),
        sdpa_expands_kv=transformers < (4, 48)
        or torch < (2, 5),  # repeat_kv before SDPA; enable_gqa came with torch 2.5
        # reentrant checkpointing called FSDP's unit, whose hook holds the input's leaf, until it moved into the layer
        fsdp_holds_streams=transformers < (4, 53),
        fsdp_keeps_frozen=torch < (2, 2),  # the post-backward hook of frozen flat parameters came with torch 2.2
        kbit_keeps_inputs=bits < (0, 43, 2),  # release notes of bitsandbytes 0.43.2
    )


def adapters_follow_base(text: str) -> bool:
    """PEFT from 0.6 (November 2023) to 0.11 made adapters in the type of the weight beside them, if it was a float.

    Later ones upcast them again (`autocast_adapter_dtype`, 0.12).
    """
    text = text.lower()
    peft = version_of("peft", text)
    if peft is not None:
        return (0, 6) <= peft < (0, 12)
    torch = version_of("torch", text)
    return torch is not None and (2, 1) <= torch < (2, 3)


def _own_loop(text: str) -> Stack:
    """A framework with its own loop: no autocast, and checkpointing that wraps what FSDP's units hold."""
    return hugging_face(text)._replace(autocast=False, fsdp_holds_streams=False)


def _plain_loop(text: str) -> Stack:
    """A training script without the Trainer: `outputs` stay alive during backward."""
    return _own_loop(text)._replace(keeps_outputs=True)


def _coati(text: str) -> Stack:
    """ColossalChat: logits are fp32 (transformers 4.39), and coati/trainer/*.py holds all it made until the next step.

    Counted in a loop that makes, keeps and drops the same tensors. The reference is called with its cache.
    """
    dpo, kto = Moments(18, 18, forward=14), Moments(28, 28, forward=28)
    orpo, simpo = Moments(20, forward=16), Moments(14, forward=10)
    losses = Preferences((dpo, dpo), (kto, kto), (orpo, orpo), (simpo, simpo), reference_cache=True)
    return _plain_loop(text)._replace(preferences=losses)


def _swift(text: str) -> Stack:
    """The Trainer with ms-swift's own preference losses."""
    return hugging_face(text)._replace(preferences=ms_swift.PREFERENCES)


def _trl(text: str) -> Stack:
    """The Trainer; from TRL 0.29 on nothing prepares quantised models, and their adapters are 16-bit (trl/trainer/)."""
    own = version_of("trl", text.lower())
    if own is None or own < (0, 29):
        return hugging_face(text)
    return hugging_face(text)._replace(kbit_fp32=False, adapter_fp32_kbit=False)


def _litgpt(text: str) -> Stack:
    """Its own model code: k and v expanded to all heads, losses in chunks of 128 tokens.

    Lightning's precision plugins return fp32 outputs, and its bitsandbytes plugin quantises every Linear from fp16.
    Traced with litgpt 0.4.5 under fake tensors: within 1 % of 17 of its published peaks.
    """
    released = bool(re.search(r"litgpt 0\.[3-5]", text.lower()))
    if released:  # these releases pin bitsandbytes 0.42 and want torch 2.2 or later
        text += " torch 2.3 bitsandbytes 0.42.0"
    elif "2023" not in text and version_of("torch", text.lower()) is None:
        text += " 2024"
    return _own_loop(text)._replace(
        adapter_fp32=False,
        kbit_fp32=False,
        sdpa_expands_kv=True,
        padding_mask=False,
        fused_loss="logits",
        fused_blocks="never",
        logits_fp32_copy=False,
        logits_shift_copy=False,
        outputs_fp32=True,
        keeps_loss=released,  # before, the longest row came first and alone
        kbit_everything=True,
    )


def _torchtitan(text: str) -> Stack:
    """Embedding and output are FSDP units of their own (models/llama/parallelize_llama.py)."""
    return _own_loop(text)._replace(
        optimizer_foreach=False,
        padding_mask=False,
        logits_shift_copy=False,
        fused_blocks="never",
        fsdp_splits_edges=True,
    )


def _fsdp_qlora(text: str) -> Stack:
    """answerdotai/fsdp_qlora train.py: bf16 throughout, no k-bit preparation, HF models."""
    return _plain_loop(text + " torch 2.2")._replace(adapter_fp32=False, kbit_fp32=False)


def _qwen(text: str) -> Stack:
    """The Trainer with Qwen's first model code (modeling_qwen.py), whose loss takes shifted logits as they are."""
    return hugging_face(text)._replace(logits_fp32_copy=False)


def _deepspeed(text: str) -> Stack:
    """A script on deepspeed.initialize: the engine casts once, no autocast; fp32 masters from stage 0 on."""
    return _own_loop(text)._replace(trainable_fp32=True, engine_replicates=True)


def _llamafactory(text: str) -> Stack:
    """llamafactory/model/adapter.py casts what trains to fp32; its own k-bit preparation upcasts nothing."""
    return hugging_face(text)._replace(trainable_fp32=True, whole_fp32=True, kbit_fp32=False)


def _axolotl(text: str) -> Stack:
    """After the k-bit preparation it casts norms, embedding and head back to 16 bits (loaders/model.py), for flash."""
    return hugging_face(text)._replace(kbit_fp32=False)


def _peft_examples(text: str) -> Stack:
    """The figures of PEFT's guides stand there since March 2024 (PEFT 0.10)."""
    return hugging_face(text + " torch 2.2")


def _torchtune(text: str) -> Stack:
    """bf16 throughout, k and v expanded to all heads, no masks for padding.

    Until 0.2 the model returns fp32 logits, which the recipe shifts by a copy and holds; from 0.3 on
    CEWithChunkedOutputLoss upcasts chunks of whole logits, and FSDP2 has units for embedding and output.
    Traced with torchtune 0.6.1 under fake tensors: LoRA within 0.4 %, full within 3.4 % of the closed forms.
    """
    early = (version_of("torchtune", text.lower()) or (1,)) < (0, 3)
    return _own_loop(text)._replace(
        adapter_fp32=False,
        kbit_fp32=False,
        padding_mask=False,
        expands_kv=True,
        fused_loss="logits",
        fused_blocks="never",
        keeps_outputs=early,
        logits_shift_copy=early,
        fsdp_splits_edges=not early,
    )


def _unsloth(text: str) -> Stack:
    """Own kernels for norms, rotary embedding and MLP, no k-bit upcasts.

    Until November 2024, when cut cross-entropy came, its own loss kernel writes the gradient over whole logits.
    """
    early = re.search(r"20(23|24[.-]0?[1-9]\b|24[.-]10\b)", text)
    return hugging_face(text)._replace(
        kbit_fp32=False,
        fused_blocks="always",
        lora_kernels=True,
        padding_mask=False,
        fused_loss="in_place" if early else "linear",
    )


# What is written beside mfc's neutral stack, first match. `True`: its rows were there to check the stack against.
FRAMEWORKS = (
    (r"^deepspeed|arctictraining", _deepspeed, True),
    (r"lit-?gpt|lightning", _litgpt, True),
    (r"torchtitan", _torchtitan, True),
    (r"fsdp_qlora", _fsdp_qlora, True),
    (r"colossal", _coati, True),
    (r"canifinetune|metamath|\bbench\b|plain loop", _plain_loop, True),
    (r"qwenlm/qwen finetune", _qwen, True),
    (r"unsloth", _unsloth, False),
    (r"llama-?factory", _llamafactory, True),
    (r"torchtune", _torchtune, True),
    (r"axolotl", _axolotl, True),
    (r"llama-recipes", _own_loop, True),
    (r"peft examples", _peft_examples, True),
    (r"ms-swift|^swift", _swift, True),
    (r"\btrl\b", _trl, True),
    (r"swift|trainer|xtuner|peft|transformers", hugging_face, True),
)


# Loops that mfc's targets write files for, by what rows call them, and what only sounds like one.
EMITTED = (
    r"(hf|transformers) trainer|sfttrainer|grpotrainer|\btrl\b|llama-?factory|ms-swift|xtuner|axolotl|unsloth"
    r"|plain deepspeed|run_clm\.py"
)
OTHERS = r"megatron|plain loop|own loop|\bbench\b"


def emitted(framework: str) -> bool:
    """Whether a run was made by a loop that a target of mfc writes files for."""
    text = framework.lower()
    return bool(re.search(EMITTED, text)) and not re.search(OTHERS, text)


# lora_dropout that a framework's scripts set unless told otherwise.
DROPOUT = ((r"lit-?gpt", 0.05), (r"fsdp_qlora", 0.1), (r"xtuner", 0.1), (r"swift [12]", 0.05), (r"peft examples", 0.1))


def dropout_of(framework: str) -> float:
    """The default dropout of a framework's adapters; 0 where none is known."""
    return next((value for pattern, value in DROPOUT if re.search(pattern, framework.lower())), 0.0)


def stack(framework: str) -> Stack:
    """The stack of a framework by its description; the neutral one for frameworks never seen."""
    for pattern, make, checked in FRAMEWORKS:
        if re.search(pattern, framework.lower()):
            return make(framework)._replace(known=checked)
    return hugging_face(framework) if framework else Stack()
