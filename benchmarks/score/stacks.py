"""Software stacks of published runs: which facts of mfc.memory.Stack hold for a framework at its versions.

Everything here is a property of library code at a version, stated with its source; nothing is fitted to the rows.
Versions are read from the row's own text; one that is not given is taken to be the newest of the month of the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mfc.memory import Stack
from mfc.memory.stack import Moments, Preferences
from mfc.targets import ms_swift

Version = tuple[int, ...]

# The first month of which each version that changes memory was the newest for half or more, as (year, month), by the
# dates of upload to PyPI.
RELEASES: Mapping[str, tuple[tuple[Version, Version], ...]] = {
    "torch": (
        ((2022, 11), (1, 13)), ((2023, 3), (2, 0)), ((2023, 10), (2, 1)), ((2024, 2), (2, 2)), ((2024, 5), (2, 3)),
        ((2024, 8), (2, 4)), ((2024, 11), (2, 5)), ((2025, 2), (2, 6)), ((2025, 5), (2, 7)), ((2025, 8), (2, 8)),
        ((2025, 10), (2, 9)), ((2026, 2), (2, 10)),
    ),
    "transformers": (
        ((2023, 4), (4, 28)), ((2023, 8), (4, 31)), ((2023, 10), (4, 34)), ((2024, 2), (4, 37)), ((2024, 5), (4, 40)),
        ((2024, 8), (4, 44)), ((2024, 11), (4, 46)), ((2025, 1), (4, 48)), ((2025, 3), (4, 49)), ((2025, 7), (4, 53)),
        ((2025, 8), (4, 55)), ((2025, 10), (4, 57)), ((2026, 2), (5, 0)),
    ),
    "bitsandbytes": (
        ((2023, 4), (0, 38)), ((2023, 6), (0, 39)), ((2023, 8), (0, 41)), ((2024, 1), (0, 42)), ((2024, 3), (0, 43)),
        ((2024, 8), (0, 43, 3)),
    ),
    "peft": (((2023, 3), (0, 2)), ((2023, 11), (0, 6)), ((2024, 8), (0, 12))),
    "trl": (((2023, 3), (0, 4)), ((2024, 1), (0, 7, 5)), ((2025, 12), (0, 26)), ((2026, 3), (0, 29))),
}  # fmt: skip
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MIDDLE = 7  # the month of a text that names a year alone
LATEST: Version = (9999, 12)


def version_of(library: str, text: str) -> Version | None:
    """The version that stands after a library's name."""
    found = re.search(rf"\b{library}[ =v]*(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in found[1].split(".")[:3]) if found else None


def when(text: str) -> Version:
    """(year, month) of a run: stated, else of the newest library that is named with its version, else of the year."""
    named = re.search(rf"\b({'|'.join(MONTHS)})[a-z]*\.? (20\d\d)\b", text)
    if named:
        return int(named[2]), MONTHS.index(named[1]) + 1
    if numbers := re.search(r"\b(20\d\d)[-.](\d{1,2})\b", text):
        return int(numbers[1]), int(numbers[2])
    known = [(version_of(library, text), releases) for library, releases in RELEASES.items()]
    dates = [day for version, releases in known if version for day, released in releases if released <= version]
    if dates:
        return max(dates)
    year = re.search(r"\b20(2[2-6])\b", text)
    return (2000 + int(year[1]), MIDDLE) if year else LATEST


def version(library: str, text: str) -> Version:
    """The version of a library that `text` names, or that was the newest when it was written."""
    stated = version_of(library, text)
    if stated is not None:
        return stated
    date, releases = when(text), RELEASES[library]
    return max((released for day, released in releases if day <= date), default=releases[0][1])


def hugging_face(text: str) -> Stack:
    """A Hugging Face Trainer of the versions or the time that `text` names; current ones when it names neither."""
    text = text.lower()
    torch, transformers = version("torch", text), version("transformers", text)
    bits = version_of("bnb", text) or version("bitsandbytes", text)
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
    return (0, 6) <= version("peft", text.lower()) < (0, 12)


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
    """The Trainer, which TRL prepares quantised models for.

    From 0.26 on, in DPO from 0.29, it does not, and makes their adapters 16-bit. From 0.7.5 until then 4-bit models are
    prepared and, for bf16, cast back but for the norms (trl/trainer/utils.py, peft_module_casting_to_bf16).
    """
    own = version("trl", text.lower())
    if own >= ((0, 26) if re.search(r"sft|grpo|rloo", text.lower()) else (0, 29)):
        return hugging_face(text)._replace(kbit_fp32=False, adapter_fp32_kbit=False)
    return hugging_face(text)._replace(kbit_narrows=own >= (0, 7, 5))


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
    """A script on deepspeed.initialize: the engine casts once, no autocast; fp32 masters from stage 0 on.

    Sizes are DeepSpeed's own defaults (runtime/zero/config.py), for only the Trainer's "auto" goes by the model.
    """
    return _own_loop(text)._replace(
        trainable_fp32=True,
        engine_replicates=True,
        reduce_bucket_elements=500_000_000,
        prefetch_bucket_elements=50_000_000,
        persistence_threshold_elements=100_000,
    )


def _llamafactory(text: str) -> Stack:
    """llamafactory/model/adapter.py casts what trains to fp32; its own k-bit preparation upcasts nothing."""
    return hugging_face(text)._replace(trainable_fp32=True, whole_fp32=True, kbit_fp32=False)


def _axolotl(text: str) -> Stack:
    """After the k-bit preparation it casts norms, embedding and head back to 16 bits (loaders/model.py), for flash."""
    return hugging_face(text)._replace(kbit_fp32=False)


def _peft_examples(text: str) -> Stack:
    """The figures of PEFT's guides stand there since March 2024 (PEFT 0.10)."""
    return _trl(text + " Mar 2024")


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
    (r"^deepspeed|arctictraining|plain deepspeed|loop on deepspeed", _deepspeed, True),
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
    (r"\btrl\b|sfttrainer|grpotrainer", _trl, True),
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
