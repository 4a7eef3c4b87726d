"""Software stacks of published runs: which facts of mfc.memory.Stack hold for a framework at its versions.

Everything here is a property of library code at a version, stated with its source; nothing is fitted to the rows.
Versions are read from the row's own text; where only torch's is given, libraries of the same months are assumed.
"""

from __future__ import annotations

import re

from mfc.memory import Stack

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
        # torch.optim.AdamW picks foreach; the Trainer's default became the fused one (transformers 4.57, torch 2.8)
        optimizer_foreach=transformers < (4, 57) or torch < (2, 8),
        logits_shift_copy=transformers
        < (4, 45),  # modeling code: logits.float(), then logits[..., :-1, :].contiguous()
        fused_experts=transformers >= (5,),
        sdpa_expands_kv=transformers < (4, 48)
        or torch < (2, 5),  # repeat_kv before SDPA; enable_gqa came with torch 2.5
        # reentrant checkpointing called FSDP's unit, whose hook holds the input's leaf, until it moved into the layer
        fsdp_holds_streams=transformers < (4, 53),
        fsdp_keeps_frozen=torch < (2, 2),  # the post-backward hook of frozen flat parameters came with torch 2.2
        kbit_keeps_inputs=bits < (0, 43, 2),  # release notes of bitsandbytes 0.43.2
    )


def _plain_loop(text: str) -> Stack:
    """A training script without the Trainer: no autocast, `outputs` stay alive during backward."""
    return hugging_face(text)._replace(autocast=False, keeps_outputs=True)


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
    return hugging_face(text)._replace(
        autocast=False,
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
    return hugging_face(text)._replace(
        autocast=False,
        optimizer_foreach=False,
        padding_mask=False,
        logits_shift_copy=False,
        fused_blocks="never",
    )


def _fsdp_qlora(text: str) -> Stack:
    """answerdotai/fsdp_qlora train.py: bf16 throughout, no k-bit preparation, HF models."""
    return hugging_face(text + " torch 2.2")._replace(
        autocast=False, adapter_fp32=False, kbit_fp32=False, keeps_outputs=True
    )


def _deepspeed(text: str) -> Stack:
    """A script on deepspeed.initialize: the engine casts once, no autocast; fp32 masters from stage 0 on."""
    return hugging_face(text)._replace(trainable_fp32=True, autocast=False)


def _llamafactory(text: str) -> Stack:
    """llamafactory/model/adapter.py casts what trains to fp32; its own k-bit preparation upcasts nothing."""
    return hugging_face(text)._replace(trainable_fp32=True, kbit_fp32=False)


def _torchtune(text: str) -> Stack:
    """Recipes run in bf16 throughout; CEWithChunkedOutputLoss upcasts chunks of whole logits."""
    return hugging_face(text)._replace(
        autocast=False,
        adapter_fp32=False,
        kbit_fp32=False,
        fused_loss="logits",
        fused_blocks="never",
    )


def _unsloth(text: str) -> Stack:
    """Own kernels for norms, rotary embedding and MLP, no k-bit upcasts."""
    return hugging_face(text)._replace(kbit_fp32=False, fused_blocks="always", padding_mask=False)


# What is written beside mfc's neutral stack, first match. `True`: its rows were there to check the stack against.
FRAMEWORKS = (
    (r"^deepspeed", _deepspeed, False),
    (r"lit-?gpt|lightning", _litgpt, True),
    (r"torchtitan", _torchtitan, True),
    (r"fsdp_qlora", _fsdp_qlora, True),
    (r"canifinetune|metamath|\bbench\b|plain loop", _plain_loop, True),
    (r"llama-?factory", _llamafactory, False),
    (r"torchtune", _torchtune, False),
    (r"unsloth", _unsloth, False),
    (r"swift|trl|trainer|xtuner|peft|transformers", hugging_face, True),
)


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
