"""How long mfc's commands take, as ratios within one run: against a bare Python, and against the bare import of the
libraries that the command must load.

    python -m benchmarks.measure.latency [--runs N] [--batch N] [--json]

Each figure is the smallest CPU time (user and system) of N runs, taken in turns so that a busy machine hits all alike.
The planner's rate is the strategies that the search evaluated per second of CPU time, in one process, after imports.
`--batch N` compiles and checks N specs for four targets in one command each, and gives the time of one spec and target.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = """\
model: Qwen/Qwen2.5-7B-Instruct
hardware: {gpu: RTX 4090, count: 8, host_memory: 512GiB}
data: {path: train.jsonl, format: messages, max_length: 4096}
train: {method: lora, batch_size: 64}
targets: [deepspeed]
"""
DRAWN = """\
model: {model}
hardware: {{gpu: {gpu}, count: {count}, host_memory: 512GiB}}
data: {{path: train.jsonl, format: messages, max_length: {length}}}
train: {{method: {method}, batch_size: {batch}}}
targets: [llamafactory, ms-swift, trl, axolotl]
"""
MANY: dict[str, tuple[object, ...]] = {
    "model": (
        "Qwen/Qwen2.5-7B-Instruct",
        "Qwen/Qwen2.5-1.5B-Instruct",
        "meta-llama/Llama-3.1-8B-Instruct",
        "Qwen/Qwen3-8B",
    ),
    "gpu": ("RTX 4090", "A100 80GB", "H100 80GB"),
    "count": (2, 4, 8),
    "length": (1024, 2048, 4096),
    "method": ("lora", "qlora"),
    "batch": (16, 32, 64),
}
TRAIN = """\
model_name_or_path: Qwen/Qwen2.5-7B-Instruct
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
dataset: rows
template: qwen
cutoff_len: 1024
bf16: true
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
"""
# A model with even one field imports pydantic.fields, which `Field` stands for.
SPEC_LANGUAGE = "import yaml, click; from pydantic import BaseModel, Field"
COMPILE = f"{SPEC_LANGUAGE}; import jinja2, jsonschema"
MFC = [sys.executable, "-m", "mfc"]


def cpu_seconds(command: list[str], folder: Path) -> float:
    """CPU time of one process, its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(runs: int) -> dict[str, float]:
    """The smallest CPU seconds of every command."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
        (folder / "train.yaml").write_text(TRAIN, encoding="utf-8")
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import the spec language": [sys.executable, "-c", SPEC_LANGUAGE],
            "import what compile needs": [sys.executable, "-c", COMPILE],
            "mfc --help": [*MFC, "--help"],
            "mfc plan": [*MFC, "plan", "spec.yaml"],
            "mfc compile": [*MFC, "compile", "spec.yaml"],
            "mfc import": [*MFC, "import", "train.yaml", "--hardware", "8x RTX 4090"],
            "mfc lint": [*MFC, "lint", "train.yaml", "--hardware", "8x RTX 4090"],
            "mfc check, memo": [*MFC, "check", "spec.yaml"],
            "mfc check, no memo": [*MFC, "check", "--no-cache", "spec.yaml"],
        }
        best = dict.fromkeys(commands, float("inf"))
        for _ in range(runs):
            for label, command in commands.items():
                if label == "mfc compile":
                    shutil.rmtree(folder / "spec", ignore_errors=True)
                best[label] = min(best[label], cpu_seconds(command, folder))
        return best


def batch(count: int) -> dict[str, float]:
    """CPU seconds that each spec and target of many takes, all cores together: compiled, and checked without a memo."""
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            chosen = {field: draw.choice(values) for field, values in MANY.items()}
            (folder / f"spec{number}.yaml").write_text(DRAWN.format(**chosen), encoding="utf-8")
        specs = sorted(path.name for path in folder.iterdir())
        made = {
            "mfc compile, many": cpu_seconds([*MFC, "compile", *specs], folder),
            "mfc check, many, no memo": cpu_seconds([*MFC, "check", "--no-cache", *specs], folder),
        }
    return {label: seconds / count / 4 for label, seconds in made.items()}


def planner_rate(seconds: float = 3.0) -> float:
    """Strategies evaluated per second of CPU time."""
    import mfc
    from mfc.fields import EVERYTHING
    from mfc.memory.stack import Stack
    from mfc.planner.search import search
    from mfc.profile import Profile
    from mfc.resolve import resolve
    from mfc.rules import RULES

    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "spec.yaml")
        path.write_text(SPEC, encoding="utf-8")
        problem = resolve(mfc.load(path, ["train.method=full"]), hub_cache=False)
    profile = Profile("", "", Stack(), EVERYTHING)
    if not search(problem, profile, RULES).evaluated:
        raise SystemExit("the neutral target can say nothing of the spec: no rate")
    evaluated, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        evaluated += search(problem, profile, RULES).evaluated
    return evaluated / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    best = measure(options.runs)
    best |= batch(options.batch) if options.batch else {}
    python, rate = best["python -c pass"], planner_rate()
    imports = {
        "mfc plan": best["import the spec language"],
        "mfc compile": best["import what compile needs"],
        "mfc check, no memo": best["import what compile needs"],
    }
    rows = {
        label: {
            "ms": value * 1e3,
            "x python": value / python,
            **({"x imports": value / imports[label]} if label in imports else {}),
        }
        for label, value in best.items()
    }
    if options.json:
        print(json.dumps({"commands": rows, "strategies_per_second": rate}, indent=2))
        return
    print(f"{'CPU time, smallest of ' + str(options.runs):<28}{'ms':>8}{'x python':>10}{'x imports':>11}")
    for label, row in rows.items():
        ratio = f"{row['x imports']:>11.2f}" if "x imports" in row else ""
        print(f"{label:<28}{row['ms']:>8.0f}{row['x python']:>10.1f}{ratio}")
    print(f"planner: {rate:,.0f} strategies a second")


if __name__ == "__main__":
    main()
