"""Turns a row of the truth file into what mfc predicts: one place, used by every benchmark.

A row that mfc has no strategy for raises Unsupported; nothing else escapes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from mfc.catalog import gpus
from mfc.catalog.architecture import Architecture, Attention, Block, Mlp, Moe
from mfc.catalog.gpu import Gpu
from mfc.catalog.names import names
from mfc.errors import MfcError
from mfc.memory import Run, Stack
from mfc.memory.stack import LowRank
from mfc.strategy import Lora, Quantization, Strategy, TrainedBlocks

from benchmarks.score.stacks import adapters_follow_base, dropout_of, hugging_face, stack
from benchmarks.truth import GIB, Row, dimensions


class Unsupported(Exception):
    """mfc has no strategy for the row, or the row leaves out what memory depends on."""


# Which model code a dims_key runs; the first match counts. Others are read as Llama.
FAMILIES = (
    ("qwen3-next", "qwen3_next"), ("qwen3-.*a\\d", "qwen3_moe"), ("qwen3", "qwen3"),
    ("qwen1.5-moe|qwen2.*a14b", "qwen2_moe"),
    ("qwen-\\d", "qwen"), ("qwen", "qwen2"), ("mixtral", "mixtral"), ("mistral", "mistral"), ("gemma-2-", "gemma2"),
    ("gemma-3", "gemma3_text"), ("gemma", "gemma"), ("phi-3|phi-4", "phi3"), ("phi", "phi"), ("falcon", "falcon"),
    ("stablelm-base-alpha|pythia|neox|redpajama", "gpt_neox"), ("chatglm", "chatglm"),
    ("glm-4.5", "glm4_moe"), ("glm", "glm"),
    ("baichuan", "baichuan"), ("internlm2", "internlm2"), ("bloom", "bloom"), ("gpt-oss", "gpt_oss"),
    ("granite.*a\\d", "granitemoe"), ("granite", "granite"), ("santacoder|starcoder(?!2)", "gpt_bigcode"),
    ("olmo", "olmo2"),
    ("deepseek-v[23]", "deepseek_v3"),
)  # fmt: skip
FUSED_QKV = frozenset(
    {"qwen", "baichuan", "chatglm", "internlm2", "falcon", "gpt_neox", "bloom", "phi3", "gpt_bigcode"}
)
FUSED_GATE_UP = frozenset({"chatglm", "phi3", "glm"})


def architecture_of(row: Row) -> Architecture:
    """The model of a row. Raises Unsupported when its dimensions are not known."""
    key = row.get("dims_key")
    if key is None or key not in dimensions():
        raise Unsupported(f"no dimensions for {key or row.get('model')}")
    own_code = bool(re.search(r"lit-?gpt", str(row.get("framework") or "").lower()))
    made = _architecture(key, own_code)
    if str(row.get("method")) != "llamapro":
        return made
    (layers, block), *rest = made.blocks  # copies of blocks are spread over the model
    return made._replace(blocks=((layers + (blocks_of(row) or 0), block), *rest))


@lru_cache(maxsize=256)
def _architecture(key: str, litgpt: bool) -> Architecture:
    """`litgpt`: its model code fuses q, k and v in every family and ties no head."""
    dims = dimensions()[key]
    family = next((family for pattern, family in FAMILIES if re.match(pattern, key.lower())), "llama")
    bias = bool(dims["linear_bias"])
    layer = dims["norm"] == "LayerNorm"
    gemma2 = family == "gemma2"
    attention = Attention(
        kind="gqa",
        heads=dims["heads"],
        kv_heads=dims["kv_heads"],
        head_dim=dims["head_dim"],
        value_dim=dims["head_dim"],
        qkv_bias=dims["qkv_bias"] or bias,
        out_bias=bias,
        qk_norm="head" if dims["qk_norm"] else "none",
        fused_qkv=litgpt or family in FUSED_QKV,
        softcap=gemma2,
    )
    parallel = bool(dims.get("shared_attention_norm")) or key.startswith("stablelm-base-alpha")
    ffn: Mlp | Moe
    if dims["experts"]:
        ffn = Moe(
            experts=dims["experts"],
            per_token=dims["experts_per_token"],
            width=dims["moe_intermediate"],
            shared_width=dims.get("shared_expert_intermediate", 0),
            shared_gate=bool(dims.get("shared_expert_intermediate", 0)) and family == "qwen2_moe",
        )
    else:
        ffn = Mlp(dims["intermediate"], gated=dims["mlp_gated"], bias=bias, fused_gate_up=family in FUSED_GATE_UP)
    norms = 4 if dims["post_norms"] else 1 if dims.get("shared_attention_norm") else 2
    return Architecture(
        family=family,
        hidden=dims["hidden"],
        vocab=dims["vocab"],
        blocks=((dims["layers"], Block(attention, ffn, norms=norms, parallel=parallel)),),
        tied=dims["tie_embeddings"] and not litgpt,
        norm="layer" if layer else "rms",
        norm_bias=layer,
        head_bias=family == "phi",
        logit_softcap=gemma2,
    )


# A target as a paper or a script spells it -> what it means in any family.
ROLES = {
    "q": "q", "query": "q", "q_proj": "q", "wq": "q", "k": "k", "key": "k", "k_proj": "k", "wk": "k",
    "v": "v", "value": "v", "v_proj": "v", "wv": "v", "o": "o", "proj": "o", "o_proj": "o", "wo": "o", "dense": "o",
    "gate": "gate", "gate_proj": "gate", "w1": "gate", "up": "up", "up_proj": "up", "w3": "up", "fc1": "up",
    "down": "down", "down_proj": "down", "w2": "down", "fc2": "down", "mlp": "mlp",
    "c_attn": "qkv", "w_pack": "qkv", "query_key_value": "qkv", "qkv_proj": "qkv", "wqkv": "qkv", "qkv": "qkv",
}  # fmt: skip


VARIANTS = {"dora": "lora", "qdora": "qlora", "rslora": "lora", "lora+": "lora",
            "full+galore": "full", "full+lisa": "full", "llamapro": "freeze"}  # fmt: skip
# Methods that mfc cannot plan and that train little beside a frozen base: memory sees them as adapters of the row's
# rank on the row's targets. Their speed is another matter.
LIKE_LORA = ("adalora", "lora-fa", "vera", "oft", "boft", "ia3", "adapter", "adapter_v2", "ln_tuning", "prefixtuning",
             "prompt_tuning", "trainable_tokens")  # fmt: skip
NO_LINEAR = ("adapter", "ln_tuning", "prefixtuning", "prompt_tuning", "trainable_tokens")  # no linear carries anything


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


def _number(row: Row, key: str) -> int | None:
    """A field as a whole number; None when it is absent or is none."""
    value = row.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return int(value)
    return int(value) if isinstance(value, str) and value.isdigit() else None


def strategy_of(row: Row, *, memory_only: bool = False) -> Strategy:
    """The strategy of a row. Raises Unsupported for what mfc cannot plan; `memory_only` lets LIKE_LORA in."""
    architecture = architecture_of(row)
    method = str(row.get("method") or "").lower()
    variant: Literal["lora", "dora"] = "dora" if "dora" in method else "lora"
    method = VARIANTS.get(method, method)
    if memory_only and method.split("+")[0] in LIKE_LORA:
        method = "lora"
    if method not in ("full", "lora", "qlora", "freeze"):
        raise Unsupported(f"method {row.get('method')}")
    turns: TrainedBlocks = "drawn" if "lisa" in str(row.get("method")) else "spread" if method == "freeze" else "last"
    blocks = blocks_of(row) or 0
    if turns != "last" and not blocks:
        raise Unsupported("the number of trained blocks is not stated")
    if (_number(row, "tp") or 1) > 1 or (_number(row, "pp") or 1) > 1:
        raise Unsupported("tensor or pipeline parallel")
    length, micro_batch = _number(row, "seq_len"), _number(row, "micro_batch")
    if length is None or micro_batch is None:
        raise Unsupported("no length or micro-batch")
    quantization = quantization_of(row)
    if quantization is not None and method == "lora":
        method = "qlora"
    world = _number(row, "num_gpus") or 1
    sharding = _sharding(row)
    offload = str(row.get("offload") or "none").lower()
    parameters = offload != "none" and ("param" in offload or (sharding == "zero3" and "optimizer" not in offload))
    checkpointing = row.get("grad_ckpt")
    if checkpointing is None:
        raise Unsupported("gradient checkpointing not stated")
    lora = None
    if method in ("lora", "qlora"):
        rank = _number(row, "lora_rank") or 8
        dropout = dropout_of(str(row.get("framework") or ""))
        whole = saved_modules(row, architecture)
        lora = Lora(rank, 2.0 * rank, dropout, targets_of(row, architecture), variant=variant, modules_to_save=whole)
    # Lengths are taken to vary up to the stated one only where the row speaks of a data set's rows. Where it is a mere
    # upper bound that no batch reaches, nothing is to be added for what varying lengths leave behind.
    kind = str(row.get("seq_kind") or "").lower()
    varies = bool(re.search(r"longest|dataset|variable|varying|differ", kind)) and "upper bound" not in kind
    task = str(row.get("task") or "sft").lower()
    return Strategy(
        task={"pt": "pretrain", "rm": "reward"}.get(task, task),  # type: ignore[arg-type]
        method=method,  # type: ignore[arg-type]
        precision=_precision(row),  # type: ignore[arg-type]
        sharding=sharding,  # type: ignore[arg-type]
        world_size=world,
        max_length=length,
        micro_batch=micro_batch,
        gradient_accumulation=_number(row, "grad_accum") or 1,
        gradient_checkpointing=bool(checkpointing),
        attention=_attention(row),  # type: ignore[arg-type]
        loss=_loss(row),  # type: ignore[arg-type]
        optimizer=_optimizer(row, quantization),
        offload_optimizer="cpu" if offload != "none" else "none",
        offload_parameters="cpu" if parameters else "none",
        sequence_parallel=_number(row, "cp") or 1,
        packing=bool(row.get("packing")) or not varies,
        lora=lora,
        quantization=quantization,
        reference_model=task in ("dpo", "kto") and method == "full",
        trainable_layers=blocks,
        trained_blocks=turns,
    )


def blocks_of(row: Row) -> int | None:
    """Blocks that LISA or LLaMA Pro trains; None when the row does not say."""
    found = re.search(r"(?:num_blocks|lisa_activated_layers)=(\d+)", str(row.get("notes")))
    return int(found[1]) if found else None


def _sharding(row: Row) -> str:
    text = str(row.get("sharding") or "").lower()
    if "no_shard" in text or "ddp" in text:
        return "ddp"
    if "fsdp" in text:
        return "fsdp2"
    if "megatron" in text or "device_map" in text or "pipeline" in text:
        raise Unsupported(text)
    stage = _number(row, "zero_stage") or 0
    if found := re.search(r"zero-?(\d)", text):
        stage = int(found[1])
    return ("ddp", "zero1", "zero2", "zero3")[stage]


def _precision(row: Row) -> str:
    text = f"{row.get('precision_recipe') or ''} ".lower()
    base = str(row.get("base_dtype") or "bf16").lower()
    if re.search(r"pure bf16|bf16-true|everything bf16|bf16 throughout|no mixed", text):
        return "pure_bf16"
    if re.search(r"fp16 (autocast|mixed)|16-mixed|fp16 amp", text) and "bf16" not in text:
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
    return "fused" if _compiled_loss(row) or re.search(r"liger|fused|cut|chunk|unsloth", text) else "plain"


def _compiled_loss(row: Row) -> bool:
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


def stack_of(row: Row, *, neutral: bool = False) -> Stack:
    """The software facts of a row: its framework's (`neutral`: as if never seen), then what the row itself states."""
    framework = str(row.get("framework") or "")
    found = hugging_face(framework) if neutral else stack(framework)
    text = f"{row.get('precision_recipe') or ''}".lower()
    if re.search(r"fp32 weights|fp32 params|mixed \(fp32|fp32 master weights", text):
        found = found._replace(trainable_fp32=True, frozen_fp32=True, autocast=True)
    if str(row.get("base_dtype") or "").lower().startswith("fp32"):
        found = found._replace(frozen_fp32=True)
    if quantization_of(row) is None and "swift" not in framework and adapters_follow_base(framework):
        found = found._replace(adapter_fp32=False)
    if "upcasts nothing" in text:
        found = found._replace(kbit_fp32=False)
    if "fused LoRA kernels" in str(row.get("notes")):
        found = found._replace(lora_kernels=True, fused_blocks="always")
    if re.search(r"in[ _]backward|in_bwd", str(row.get("optimizer"))):
        found = found._replace(optimizer_in_backward=True)
    if "lora fp32" in text or "adapter weights fp32" in text:
        found = found._replace(adapter_fp32=True)
    if "selective" in str(row.get("grad_ckpt")):
        found = found._replace(checkpoint="selective")
    if "offload" in str(row.get("grad_ckpt")) or "activations" in str(row.get("offload")):
        found = found._replace(checkpoint_offload=True)
    if "fused" in str(row.get("optimizer")) and "(_fused)" not in str(row.get("optimizer")):
        found = found._replace(optimizer_foreach=False)
    if re.search(r"\bcompile", str(row.get("notes"))):  # inductor fuses norms and activations
        found = found._replace(fused_blocks="always")
        if _compiled_loss(row):
            found = found._replace(fused_loss="in_place")
    if "expandable_segments:True" in str(row.get("allocator")):
        found = found._replace(expandable_segments=True)
    stated = f"{row.get('optimizer')} {row.get('notes')}".lower()
    if rank := re.search(r"(?:galore|apollo).*?rank[ =](\d+)", stated):
        found = found._replace(
            low_rank=LowRank(int(rank[1]), "with_embedding=true" in stated, "per_layer" in str(row.get("optimizer")))
        )
    if re.search(r"swift [12]\.", framework):  # c23b853c7: LISA's callback froze all blocks, then came the optimizer
        found = found._replace(lisa_states="none")
    if "foreach" in str(row.get("optimizer")):
        found = found._replace(optimizer_foreach=True)
    return found


def gpu_of(row: Row) -> Gpu | None:
    """The card of a row; None when the catalogue has no such name."""
    name = re.sub(r"\(.*?\)|\bcard\b|unknown|class", "", str(row.get("gpu") or "")).strip()
    memory = row.get("gpu_mem_gib")
    try:
        return gpus.find(name, int(memory * GIB) if memory else None) if name else None
    except MfcError:
        return None


def run_of(row: Row) -> Run:
    """Everything together. Raises Unsupported."""
    nodes = _number(row, "nodes") or 1
    per_node = max(1, (_number(row, "num_gpus") or 1) // nodes)
    return Run(architecture_of(row), strategy_of(row, memory_only=True), gpu_of(row), min(per_node, 8), stack_of(row))
