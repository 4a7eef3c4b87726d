"""What a measured case is as rows of the truth file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.measure.grid import Case, identity
from benchmarks.truth import GIB

TITLES = {"trainer": "HF Trainer", "llamafactory": "LLaMA-Factory", "deepspeed": "DeepSpeed"}
OPTIMIZERS = {"adamw_torch_fused": "adamw_torch fused", "adamw_torch": "adamw_torch foreach"}
RECIPES = {
    ("trainer", "bf16"): "bf16 weights + bf16 autocast; states in parameter dtype",
    ("trainer", "fp32 weights"): "fp32 weights + bf16 autocast; states in parameter dtype",
    ("deepspeed", "bf16"): "bf16 weights; mixed precision of the engine, with masters and states in fp32",
    ("llamafactory", "bf16"): "bf16 weights + bf16 autocast; what trains is upcast by the framework",
}


def framework_text(made: Case, versions: Mapping[str, str]) -> str:
    """The framework and the libraries it uses, with their versions; other frameworks beside it are not named."""
    own = str(made["framework"])
    hidden = {"datasets", "llamafactory", own} | ({"deepspeed"} if made["sharding"] == "ddp" else set())
    shown = [f"{name} {version}" for name, version in versions.items() if name not in hidden]
    title = f"{TITLES[own]} {versions[own]}" if own in versions else TITLES[own]
    return ", ".join([title, *shown])


def row(made: Case, found: Mapping[str, Any]) -> dict[str, Any]:
    """A case and what its process answered, as a row of the truth file."""
    adapters = made["method"] != "full"
    memory = found["gpu"] is not None
    own, precision = made["framework"], made["precision"]
    planned = found.get("planned")
    stage = {"zero1": 1, "zero2": 2, "zero3": 3}.get(made["sharding"], 0)
    return {
        "id": identity(made, found["gpu"] or "cpu"),
        "source_id": "mfc-measure",
        "source": "benchmarks.measure.sweep of this project",
        "locator": "its own run",
        "kind": "memory" if memory else "machinery",
        "model": f"random weights with the dimensions of {made['model']}",
        "dims_key": None if made["model"] == "tiny" else made["model"],
        "gpu": found["gpu"],
        "gpu_mem_gib": found["gpu_memory"] / GIB if memory else None,
        "num_gpus": 1,
        "nodes": 1,
        "method": made["method"],
        "task": "pretrain",
        "lora_rank": made["rank"] if adapters else None,
        "lora_targets": "all-linear" if adapters else None,
        "extra_trainable": None,
        "quant": "nf4-dq" if made["method"] == "qlora" else "none",
        "base_dtype": "fp32 params" if precision == "fp32 weights" else "bf16",
        "precision_recipe": RECIPES.get((own, precision), "pure bf16"),
        "optimizer": OPTIMIZERS.get(made["optimizer"], made["optimizer"]),
        "zero_stage": stage,
        "sharding": made["sharding"] if stage else "none",
        "offload": "none" if made["offload"] == "none" else "optimizer to cpu",
        "tp": 1,
        "pp": 1,
        "cp": 1,
        "micro_batch": made["micro_batch"],
        "grad_accum": made["accumulation"],
        "seq_len": found.get("length", made["length"]),
        "seq_kind": "padded to the longest, whose length is seq_len" if made["padded"] else "fixed dummy data",
        "grad_ckpt": made["checkpointing"],
        "attn_impl": made["attention"],
        "loss_kernel": "liger fused linear CE" if made["fused_loss"] else "none",
        "packing": bool(planned and planned["packing"]),
        "allocator": found.get("allocator"),
        "framework": framework_text(made, found["versions"]),
        **_peaks(found),
        "grade": "A" if memory else "C",
        "throughput": {"tokens_per_s": found["tokens_per_second"]} if found.get("tokens_per_second") else None,
        "step_seconds": found.get("step_seconds"),
        "planned": planned,
        "notes": f"config written by mfc for {planned['target']}" if planned else "",
    }


def _peaks(found: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured of memory; without a GPU nothing was."""
    peaks = found.get("peaks") or {}
    process = peaks.get("process")
    metric = "process memory on the GPU (nvidia-smi); allocated beside it" if process else "allocated"
    return {
        "measured_raw": json.dumps(peaks) if peaks else None,
        "peak_gib_per_gpu": process / GIB if process else None,
        "peak_alloc_gib": peaks["allocated"] / GIB if peaks else None,
        "peak_reserved_gib": peaks["reserved"] / GIB if peaks else None,
        "unit_ambiguous": False,
        "metric": metric if found["gpu"] is not None else None,
        "scope": "per_gpu",
        "oom": bool(found.get("oom")),
    }


def throughput_row(made: Mapping[str, Any]) -> dict[str, Any]:
    """The speed of a memory row, as a row of its own."""
    dropped = {"peak_gib_per_gpu", "peak_alloc_gib", "peak_reserved_gib", "metric", "measured_raw", "oom", "scope"}
    rest = {key: value for key, value in made.items() if key not in dropped}
    return {**rest, "id": f"{made['id']}#tput", "kind": "throughput", "memory_id": made["id"]}


def rows(made: Case, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Everything a case's answer leaves: a row, and one of its speed; or why there is none."""
    if why := found.get("error"):
        name = identity(made, found["gpu"] or "cpu")
        return [{"id": name, "kind": found.get("kind", "error"), "source_id": "mfc-measure", "notes": why[-600:]}]
    measured = row(made, found)
    return [measured, throughput_row(measured)] if measured["throughput"] and found["gpu"] else [measured]


def predicted_bytes(made: Mapping[str, Any]) -> int:
    """What mfc predicts to be allocated for a row, as the score of the memory model reads it."""
    from mfc.memory import predict

    from benchmarks.score.runs import run_of

    return predict(run_of(made)).allocated_bytes


def said(made: Mapping[str, Any]) -> str:
    """A row in a few words."""
    if "oom" not in made:
        return f"{made['kind']}: {made['notes']}"
    if made["oom"]:
        return "out of memory"
    speed = f"{(made['throughput'] or {}).get('tokens_per_s', 0):,.0f} tokens/s"
    if made["kind"] != "memory":
        return speed
    planned = made["planned"]
    predicted = planned["allocated_gib"] if planned else predicted_bytes(made) / GIB
    error = 100 * (predicted / made["peak_alloc_gib"] - 1)
    return f"allocated {made['peak_alloc_gib']:.2f} GiB (predicted {error:+.1f} %), {speed}"
