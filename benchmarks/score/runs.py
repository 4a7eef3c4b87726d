"""Turns a row of the truth files into what mfc predicts: one place, used by every benchmark.

A row that mfc has no strategy for raises Unsupported; nothing else escapes.
"""

from __future__ import annotations

import re

from mfc.catalog import gpus
from mfc.catalog.gpu import Gpu
from mfc.errors import MfcError
from mfc.memory import Run, Stack
from mfc.memory.stack import LowRank

from benchmarks.score.adapters import quantization_of
from benchmarks.score.engines import COMPILED, engine
from benchmarks.score.models import architecture_of
from benchmarks.score.stacks import adapters_follow_base, hugging_face, stack
from benchmarks.score.strategies import compiled_loss, sharding_of, strategy_of
from benchmarks.truth import GIB, Row, number


def stack_of(row: Row, *, neutral: bool = False) -> Stack:
    """The software facts of a row: its framework's (`neutral`: as if never seen), then what the row itself states."""
    framework = str(row.get("framework") or "")
    found = hugging_face(framework) if neutral else stack(framework)
    if not neutral:
        found = found._replace(**(COMPILED if row.get("planned") else engine(framework, sharding_of(row))))
    text = f"{row.get('precision_recipe') or ''}".lower()
    if re.search(r"fp32 weights|fp32 params|mixed \(fp32|fp32 master weights", text):
        found = found._replace(trainable_fp32=True, frozen_fp32=True, autocast=True)
    if str(row.get("base_dtype") or "").lower().startswith("fp32"):
        found = found._replace(frozen_fp32=True)
    if quantization_of(row) is None and "swift" not in framework and adapters_follow_base(framework):
        found = found._replace(adapter_fp32=False)
    if "upcasts nothing" in text:
        found = found._replace(kbit_fp32=False, kbit_narrows=False)
    if "fused LoRA kernels" in str(row.get("notes")):
        found = found._replace(lora_kernels=True, fused_blocks="always")
    if re.search(r"non-reentrant|use_reentrant\W*false|fsdp_activation_checkpointing", str(row.get("notes")).lower()):
        found = found._replace(fsdp_holds_streams=False)  # the layer's input is no leaf then
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
    if re.search(r"\btiled\b", str(row.get("notes")), re.IGNORECASE):
        found = found._replace(tiled_mlp=True)
    if re.search(r"\bcompile", str(row.get("notes"))):  # inductor fuses norms and activations
        found = found._replace(fused_blocks="always")
        if compiled_loss(row):
            found = found._replace(fused_loss="in_place")
    if "expandable_segments:True" in str(row.get("allocator")):
        found = found._replace(expandable_segments=True)
    if bucket := number(row, "reduce_bucket"):
        found = found._replace(reduce_bucket_elements=bucket, overlap_comm=bool(row.get("overlap_comm")))
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
    nodes = number(row, "nodes") or 1
    per_node = max(1, (number(row, "num_gpus") or 1) // nodes)
    return Run(architecture_of(row), strategy_of(row, memory_only=True), gpu_of(row), min(per_node, 8), stack_of(row))
