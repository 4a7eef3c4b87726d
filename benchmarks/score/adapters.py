"""What a row trains beside or within a frozen base, and how that base is stored."""

from __future__ import annotations

import re
from typing import Literal

from mfc.catalog.architecture import Architecture
from mfc.catalog.names import names
from mfc.strategy import Lora, Quantization

from benchmarks.score.stacks import dropout_of
from benchmarks.truth import Row, number

# A target as a paper or a script spells it -> what it means in any family.
ROLES = {
    "q": "q", "query": "q", "q_proj": "q", "wq": "q", "k": "k", "key": "k", "k_proj": "k", "wk": "k",
    "v": "v", "value": "v", "v_proj": "v", "wv": "v", "o": "o", "proj": "o", "o_proj": "o", "wo": "o", "dense": "o",
    "gate": "gate", "gate_proj": "gate", "w1": "gate", "up": "up", "up_proj": "up", "w3": "up", "fc1": "up",
    "down": "down", "down_proj": "down", "w2": "down", "fc2": "down", "mlp": "mlp",
    "c_attn": "qkv", "w_pack": "qkv", "query_key_value": "qkv", "qkv_proj": "qkv", "wqkv": "qkv", "qkv": "qkv",
}  # fmt: skip
NO_LINEAR = ("adapter", "ln_tuning", "prefixtuning", "prompt_tuning", "trainable_tokens")  # no linear carries anything


def lora_of(row: Row, architecture: Architecture) -> Lora:
    """The adapters of a row that trains some; rank 8 where it does not say."""
    rank = number(row, "lora_rank") or 8
    variant: Literal["lora", "dora"] = "dora" if "dora" in str(row.get("method")).lower() else "lora"
    dropout, targets = dropout_of(str(row.get("framework") or "")), targets_of(row, architecture)
    whole = saved_modules(row, architecture)
    return Lora(rank, 2.0 * rank, dropout, targets, variant=variant, modules_to_save=whole)


def targets_of(row: Row, architecture: Architecture) -> str:
    """LoRA targets in the words of mfc: all-linear, attention, mlp, or this family's module names."""
    if not row.get("lora_targets") and str(row.get("method")).lower().split("+")[0] in NO_LINEAR:
        return "none"
    text = str(row.get("lora_targets") or "all-linear").lower()
    if text.startswith("all"):
        return "all-linear"
    if "norm" in text:
        return "none"
    roles = {ROLES[word] for word in re.findall(r"[a-z_0-9]+", text.replace("attention scope", "")) if word in ROLES}
    if {"q", "k", "v", "o", "mlp"} <= roles or {"q", "k", "v", "o", "up", "down"} <= roles:
        return "all-linear"
    n = names(architecture.family)
    fused_qkv = architecture.blocks[0][1].attention.fused_qkv
    fused_mlp = getattr(architecture.blocks[0][1].ffn, "fused_gate_up", False)
    qkv = [n.qkv] if fused_qkv else [n.q, n.k, n.v]
    gate_up = [n.gate_up] if fused_mlp else [n.gate, n.up]
    spelled = {
        "q": qkv[:1], "k": qkv[:1] if fused_qkv else [n.k], "v": qkv[:1] if fused_qkv else [n.v], "o": [n.o],
        "qkv": qkv,
        "gate": gate_up[:1], "up": gate_up[-1:], "down": [n.down], "mlp": [*gate_up, n.down],
    }  # fmt: skip
    found = sorted({name for role in roles for name in spelled[role]})
    return ",".join(found) if found else "all-linear"


def saved_modules(row: Row, architecture: Architecture) -> tuple[str, ...]:
    """Modules trained whole beside the adapters, in this family's words."""
    text = str(row.get("extra_trainable") or "").lower()
    n = names(architecture.family)
    found = {n.embedding: r"wte|embed", n.head: r"lm_head|\bhead|output"}
    return tuple(name for name, pattern in found.items() if re.search(pattern, text))


def quantization_of(row: Row) -> Quantization | None:
    """How the base is stored; None = in its own dtype."""
    text = str(row.get("quant") or "none").lower()
    if text in ("none", "no", "false", "bf16", "fp16"):
        return None
    bits = int(found[1]) if (found := re.search(r"(\d)\s*-?bit|int-?(\d)", text)) and found[1] else 0
    if not bits:
        bits = 8 if "8" in text and "4" not in text else 4
    for kind in ("gptq", "awq", "aqlm", "hqq", "eetq"):
        if kind in text:
            return Quantization(bits, kind, double=False, pre=kind in ("gptq", "awq", "aqlm"))
    if bits == 8:
        return Quantization(8, "int8", double=False)
    # fsdp_qlora's train.py makes bitsandbytes' Linear4bit with its own default, compress_statistics=True
    double = bool(re.search(r"dq|double|nested", text)) or "fsdp_qlora" in str(row.get("framework"))
    return Quantization(4, "fp4" if "fp4" in text else "nf4", double=double)
