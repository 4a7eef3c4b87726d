"""What mfc itself compiles for a case, laid out in a folder and ready to be started by its own launch.sh."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure.grid import WORDS, Case, config
from benchmarks.measure.order import sizes
from benchmarks.measure.process import Place, ask, here, program
from benchmarks.truth import GIB

ROW = 1000  # words in a line of the data
ON_CPU = "H200"  # the card that is planned for where there is none
LARGEST = 9e9  # numbers of a model that is written to disk; more takes too long
ARGUMENTS = {
    "deepspeed": ("--deepspeed", "ds_config.json"),
    # What is measured is training, nothing is saved; in quotes, for its reader takes a bare no for false.
    "llamafactory": ("save_strategy='no'", "disable_tqdm=true"),
}


class NotCompiled(Exception):
    """mfc refuses the case, or what the run needs could not be made."""


@dataclass(frozen=True, slots=True)
class Job:
    """A compiled folder: how to start it, and what mfc promised of it."""

    folder: Path
    command: tuple[str, ...]
    variables: Mapping[str, str]
    planned: Mapping[str, Any]


def prepare(made: Case, machine: Mapping[str, Any], place: Place, scratch: Path, seconds: float) -> Job:
    """Compile a case below `scratch`, with what its run reads. Raises NotCompiled, with mfc's words."""
    framework = str(made["framework"])
    model = scratch / "models" / framework / str(made["model"])
    model.mkdir(parents=True, exist_ok=True)
    (model / "config.json").write_text(json.dumps(config(made)), encoding="utf-8")
    shutil.rmtree(scratch / "run", ignore_errors=True)
    folder = scratch / "run" / "out"
    folder.mkdir(parents=True)
    tokens = made["micro_batch"] * made["accumulation"] * (made["steps"] + 1) * made["length"]
    texts(scratch / "run" / "train.jsonl", tokens)
    file = scratch / "run" / "spec.yaml"
    file.write_text(json.dumps(spec(made, machine, model), indent=1), encoding="utf-8")
    request = {"spec": str(file), "framework": framework, "out": str(folder)}
    said = ask(here(), here().command("compiler"), request, seconds)
    if "planned" not in said:
        raise NotCompiled(said.get("refused") or f"mfc failed: {said['error']}")
    if framework == "llamafactory":
        _save(made, place, model, seconds)
    on_cpu = ("use_cpu=true",) if framework == "llamafactory" and machine["gpu"] is None else ()
    script = program("run_deepspeed") if framework == "deepspeed" else ()
    return Job(
        folder,
        ("bash", "launch.sh", *script, *ARGUMENTS[framework], *on_cpu),
        _variables(place, scratch / "bin", machine),
        said["planned"],
    )


def spec(made: Case, machine: Mapping[str, Any], model: Path) -> dict[str, Any]:
    """The case in the spec language, with nothing that it measures left open."""
    adapters = made["method"] != "full"
    framework, versions = str(made["framework"]), machine["versions"]
    packages = {
        name.replace("_", "-"): version for name, version in versions.items() if name not in (framework, "torch")
    }
    optimizer = "adamw_8bit" if made["optimizer"] == "adamw_8bit" else "adamw"
    offload = made["offload"] == "optimizer"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "model": {"id": str(model), "config": str(model / "config.json")},
        "hardware": {
            "gpu": machine["gpu"] or ON_CPU,
            **({"host_memory": f"{memory // GIB}GiB"} if offload else {}),  # some machines show less than they give
            "cpu_cores": os.cpu_count() or 1,
        },
        "data": {"train": "train.jsonl", "format": "text", "template": "default", "max_length": made["length"]},
        "train": {
            "task": "pretrain",
            "method": made["method"],
            "precision": {"pure bf16": "pure_bf16"}.get(made["precision"], "bf16"),
            "batch_size": made["micro_batch"] * made["accumulation"],
            "batch_unit": "row",
            "max_steps": made["steps"],
            **({"lora": {"rank": made["rank"]}} if adapters else {}),
        },
        "strategy": {
            "sharding": made["sharding"],
            "offload": {"optimizer": "cpu" if offload else "none", "parameters": "none"},
            "micro_batch": made["micro_batch"],
            "gradient_checkpointing": made["checkpointing"],
            "attention": {"flash_attention_2": "flash"}.get(made["attention"], made["attention"]),
            "loss": "fused" if made["fused_loss"] else "plain",
            "optimizer": optimizer,
        },
        "targets": {framework: {"version": versions[framework], "packages": packages}},
    }


def texts(file: Path, tokens: int) -> None:
    """JSON lines of random words, so many that `tokens` tokens are in them."""
    chance = random.Random(0)
    with file.open("w", encoding="utf-8") as out:
        for _ in range(tokens // ROW + 1):
            text = " ".join(f"w{chance.randrange(WORDS)}" for _ in range(ROW))
            out.write(json.dumps({"text": text}) + "\n")


def _save(made: Case, place: Place, folder: Path, seconds: float) -> None:
    """Weights and a tokenizer in the model's folder, unless they are there. One model's are kept at a time."""
    if (folder / "tokenizer.json").exists():
        return
    if sizes(str(made["model"]))[0] > LARGEST:
        raise NotCompiled(f"{made['model']} is too large to be written to disk")
    shutil.rmtree(folder.parent)
    folder.mkdir(parents=True)
    payload = {"save": str(folder), "config": config(made)}
    said = ask(place, place.command("run_trainer"), payload, seconds)
    if "saved" not in said:
        shutil.rmtree(folder)
        raise NotCompiled(f"no model could be saved: {said.get('error', 'out of memory')}")


def _variables(place: Place, shims: Path, machine: Mapping[str, Any]) -> dict[str, str]:
    """launch.sh finds its programs on PATH: these run them in the framework's interpreter, with the meter."""
    shims.mkdir(parents=True, exist_ok=True)
    programs = {"torchrun": "-m torch.distributed.run", "llamafactory-cli": shlex.join(program("run_llamafactory"))}
    for name, words in programs.items():
        text = f'#!/bin/sh\nexec {shlex.quote(str(place.python))} {words} "$@"\n'
        (shims / name).write_text(text, encoding="utf-8")
        (shims / name).chmod(0o755)
    found = {"PATH": f"{shims}{os.pathsep}{place.variables['PATH']}"}
    return found if machine["gpu"] else {**found, "DS_ACCELERATOR": "cpu"}
