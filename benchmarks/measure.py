"""Measure real training steps on this machine's GPU: python benchmarks/measure.py ROWS.jsonl [--minutes 25]

Builds models from the dimensions in truth/model-dims.json with random weights, trains a few steps of each case with the
Hugging Face Trainer in a process of its own (benchmarks/measure_step.py), and appends rows of the form of
truth/memory-truth.jsonl: peaks as torch and nvidia-smi see them, tokens per second, library versions. It stops itself
within its time and goes on where it stopped: cases that ROWS.jsonl holds are passed over. Score the rows with
`python benchmarks/accuracy.py ROWS.jsonl`.

Without a GPU a few tiny models train on the CPU, to try the machinery: their rows have no memory in them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STEP = HERE / "measure_step.py"
GIB = 2**30
SLACK = 1.25  # a case predicted to need more than this share of the card is not worth its time

Case = Mapping[str, Any]

# dims_key -> model_type of transformers; dense from half a billion numbers to 32, and mixtures of experts.
MODELS = {
    "Qwen2.5-0.5B-Instruct": "qwen2",
    "Llama-3.2-1B": "llama",
    "Qwen2.5-1.5B-Instruct": "qwen2",
    "gemma-2-2b": "gemma2",
    "Llama-3.2-3B": "llama",
    "Qwen3-4B": "qwen3",
    "Qwen2.5-7B": "qwen2",
    "Llama-3.1-8B": "llama",
    "Qwen2.5-14B": "qwen2",
    "qwen1.5-moe-a2.7b": "qwen2_moe",
    "Qwen3-30B-A3B": "qwen3_moe",
    "Qwen2.5-32B": "qwen2",
}
TINY = {
    "hidden": 64, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 16, "intermediate": 128, "vocab": 512,
    "tie_embeddings": True, "qkv_bias": False, "experts": 0, "experts_per_token": 0,
}  # fmt: skip
BASE: Case = {
    "method": "full", "rank": 16, "micro_batch": 1, "accumulation": 1, "length": 2048, "checkpointing": True,
    "attention": "sdpa", "padded": False, "fused_loss": False, "precision": "bf16", "optimizer": "adamw_torch_fused",
    "steps": 4,
}  # fmt: skip
# One change at a time around the three methods, and a few together.
VARIANTS: tuple[Case, ...] = (
    {},
    {"length": 8192},
    {"length": 512, "micro_batch": 16},
    {"micro_batch": 4},
    {"checkpointing": False},
    {"fused_loss": True},
    {"fused_loss": True, "length": 8192},
    {"accumulation": 4},
    {"padded": True, "micro_batch": 4},
    {"attention": "eager", "length": 1024},
    {"attention": "flash_attention_2"},
    {"precision": "fp32 weights"},
    {"optimizer": "adamw_torch"},
    {"optimizer": "adamw_8bit"},
)


def grid(libraries: Sequence[str]) -> Iterator[Case]:
    """All cases that the installed libraries allow."""
    methods = ("full", "lora", *(["qlora"] if "bitsandbytes" in libraries else []))
    for (model, family), method, change in itertools.product(MODELS.items(), methods, VARIANTS):
        case = {**BASE, "model": model, "family": family, "method": method, **change}
        if case["attention"] == "flash_attention_2" and "flash_attn" not in libraries:
            continue
        if case["fused_loss"] and "liger_kernel" not in libraries:
            continue
        if case["optimizer"] == "adamw_8bit" and "bitsandbytes" not in libraries:
            continue
        if case["precision"] == "fp32 weights" and method != "full":
            continue
        if family == "gemma2" and case["attention"] == "sdpa":
            case["attention"] = "eager"  # its capped attention scores have no other kernel
        yield case


def tiny_grid(libraries: Sequence[str]) -> Iterator[Case]:
    """What tries the machinery on a CPU."""
    small = {**BASE, "model": "tiny", "family": "llama", "length": 32, "steps": 2}
    yield small
    yield {**small, "method": "lora", "micro_batch": 2, "accumulation": 2, "padded": True}
    yield {**small, "method": "lora", "checkpointing": False, "precision": "bf16"}
    if "bitsandbytes" in libraries:
        yield {**small, "method": "qlora"}


def identity(case: Case, device: str) -> str:
    """The id of a case's row: everything that differs from BASE."""
    parts = [f"{key}={case[key]}" for key in BASE if case[key] != BASE[key]]
    return "/".join(["mfc-measure", device, str(case["model"]), *parts]).replace(" ", "-")


def dimensions(model: str) -> Mapping[str, Any]:
    """Dimensions by dims_key."""
    if model == "tiny":
        return TINY
    known: Mapping[str, Mapping[str, Any]] = json.loads((HERE / "truth" / "model-dims.json").read_text("utf-8"))
    return known[model]


def config(case: Case) -> dict[str, Any]:
    """The Hugging Face config of a case's model."""
    dims = dimensions(str(case["model"]))
    made = {
        "model_type": case["family"],
        "hidden_size": dims["hidden"],
        "num_hidden_layers": dims["layers"],
        "num_attention_heads": dims["heads"],
        "num_key_value_heads": dims["kv_heads"],
        "head_dim": dims["head_dim"],
        "intermediate_size": dims["intermediate"],
        "vocab_size": dims["vocab"],
        "tie_word_embeddings": dims["tie_embeddings"],
        "max_position_embeddings": 32768,
        "pad_token_id": 0,
    }
    if dims["experts"]:
        made["num_experts"] = dims["experts"]
        made["num_experts_per_tok"] = dims["experts_per_token"]
        made["moe_intermediate_size"] = dims["moe_intermediate"]
        if "shared_expert_intermediate" in dims:
            made["shared_expert_intermediate_size"] = dims["shared_expert_intermediate"]
    return made


def row(case: Case, found: Mapping[str, Any]) -> dict[str, Any]:
    """A case and what its process answered, as a row of the truth file."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    adapters = case["method"] != "full"
    memory = found["gpu"] is not None
    fp32 = case["precision"] == "fp32 weights"
    peaks = found.get("peaks") or {}
    return {
        "id": identity(case, found["gpu"] or "cpu"),
        "source_id": "mfc-measure",
        "source": "benchmarks/measure.py of this project",
        "locator": "its own run",
        "kind": "memory" if memory else "machinery",
        "model": f"random weights with the dimensions of {case['model']}",
        "dims_key": None if case["model"] == "tiny" else case["model"],
        "gpu": found["gpu"],
        "gpu_mem_gib": found["gpu_memory"] / GIB if memory else None,
        "num_gpus": 1,
        "nodes": 1,
        "method": case["method"],
        "task": "pretrain",
        "lora_rank": case["rank"] if adapters else None,
        "lora_targets": "all-linear" if adapters else None,
        "extra_trainable": None,
        "quant": "nf4-dq" if case["method"] == "qlora" else "none",
        "base_dtype": "fp32 params" if fp32 else "bf16",
        "precision_recipe": f"{'fp32' if fp32 else 'bf16'} weights + bf16 autocast; states in parameter dtype",
        "optimizer": {"adamw_torch_fused": "adamw_torch fused", "adamw_torch": "adamw_torch foreach"}.get(
            case["optimizer"], case["optimizer"]
        ),
        "zero_stage": 0,
        "sharding": "none",
        "offload": "none",
        "tp": 1,
        "pp": 1,
        "cp": 1,
        "micro_batch": case["micro_batch"],
        "grad_accum": case["accumulation"],
        "seq_len": case["length"],
        "seq_kind": "padded to the longest, whose length is seq_len" if case["padded"] else "fixed dummy data",
        "grad_ckpt": case["checkpointing"],
        "attn_impl": case["attention"],
        "loss_kernel": "liger fused linear CE" if case["fused_loss"] else "none",
        "packing": False,
        "framework": f"HF Trainer, {versions}",
        "measured_raw": json.dumps(peaks) if peaks else None,
        "peak_gib_per_gpu": peaks["process"] / GIB if peaks else None,
        "peak_alloc_gib": peaks["allocated"] / GIB if peaks else None,
        "peak_reserved_gib": peaks["reserved"] / GIB if peaks else None,
        "unit_ambiguous": False,
        "metric": "process memory on the GPU (nvidia-smi); allocated beside it" if memory else None,
        "scope": "per_gpu",
        "oom": bool(found.get("oom")),
        "grade": "A" if memory else "C",
        "throughput": {"tokens_per_s": found["tokens_per_second"]} if found.get("tokens_per_second") else None,
        "notes": "",
    }


def throughput_row(made: Mapping[str, Any]) -> dict[str, Any]:
    """The speed of a memory row, as a row of its own."""
    dropped = {"peak_gib_per_gpu", "peak_alloc_gib", "peak_reserved_gib", "metric", "measured_raw", "oom", "scope"}
    rest = {key: value for key, value in made.items() if key not in dropped}
    return {**rest, "id": f"{made['id']}#tput", "kind": "throughput", "memory_id": made["id"]}


def hopeless(case: Case, found: Mapping[str, Any]) -> bool:
    """Whether mfc predicts far more than the card has."""
    from mfc.memory import predict
    from truth_rows import run_of

    need = predict(run_of(row(case, {**found, "peaks": None}))).allocated_bytes
    return bool(need > SLACK * found["gpu_memory"])


def ask(payload: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What measure_step.py answers. A case that fails or takes too long answers with `error`."""
    asked = json.dumps(payload)
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[
        0
    ]  # one: with more the Trainer copies the model to all
    try:
        done = subprocess.run(
            [sys.executable, STEP],
            input=asked,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": gpu},
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done within {seconds:.0f} s"}
    answers = [line for line in done.stdout.splitlines() if line.startswith('{"mfc')]
    if done.returncode or not answers:
        return {"error": f"exit code {done.returncode}: " + " ".join(done.stderr.split()[-60:])}
    answer: dict[str, Any] = json.loads(answers[-1])
    return answer


def measure(file: Path, minutes: float, case_seconds: float, chance: int) -> int:
    """Measure until the time is over or the grid is done; how many cases were added."""
    deadline = time.monotonic() + 60 * minutes
    machine = ask({"about": True}, 300)
    if "error" in machine:
        raise SystemExit(f"error: torch, transformers and accelerate are needed: {machine['error']}")
    gpu = machine["gpu"]
    cases = list(tiny_grid(machine["libraries"]) if gpu is None else grid(machine["libraries"]))
    random.Random(chance).shuffle(cases)  # stopped early, it has seen some of everything
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    known = {json.loads(line)["id"] for line in lines if line.strip()}
    todo = [case for case in cases if identity(case, gpu or "cpu") not in known]
    print(f"{gpu or 'no GPU: memory is not measured'}; {len(cases)} cases, {len(todo)} to do", file=sys.stderr)
    added = 0
    for case in todo:
        name = identity(case, gpu or "cpu")
        if gpu is not None and hopeless(case, machine):
            continue
        left = deadline - time.monotonic()
        if left < min(60.0, case_seconds):
            print(f"time is over; run it again to go on ({len(todo) - added} left)", file=sys.stderr)
            break
        found = ask({"case": dict(case), "config": config(case)}, min(case_seconds, left))
        if "error" in found:
            print(f"{name}: {found['error']}", file=sys.stderr)
            made = [{"id": name, "kind": "error", "source_id": "mfc-measure", "notes": found["error"][-400:]}]
        else:
            made = [row(case, {**machine, **found})]
            if made[0]["throughput"] and gpu is not None:
                made.append(throughput_row(made[0]))
            print(f"{name}: {_said(made[0])}", file=sys.stderr)
            added += 1
        with file.open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(each) + "\n" for each in made)
    return added


def _said(made: Mapping[str, Any]) -> str:
    if made["oom"]:
        return "out of memory"
    speed = f"{(made['throughput'] or {}).get('tokens_per_s', 0):,.0f} tokens/s"
    if made["kind"] != "memory":
        return speed
    from mfc.memory import predict
    from truth_rows import run_of

    predicted = predict(run_of(made)).allocated_bytes / GIB
    error = 100 * (predicted / made["peak_alloc_gib"] - 1)
    return f"allocated {made['peak_alloc_gib']:.2f} GiB (predicted {error:+.1f} %), {speed}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure memory and speed of real training steps on this GPU.")
    parser.add_argument("rows", type=Path, help="file that rows are appended to")
    parser.add_argument("--minutes", type=float, default=25, help="stop within this time (25)")
    parser.add_argument("--case-seconds", type=float, default=240, help="give a case up after this time (240)")
    parser.add_argument("--seed", type=int, default=0, help="order of the cases (0)")
    options = parser.parse_args()
    added = measure(options.rows, options.minutes, options.case_seconds, options.seed)
    print(f"{added} cases added to {options.rows}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
