"""What mfc writes for ms-swift is accepted by the real argument classes, which read back what was planned."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mfc.catalog import gpus
from mfc.planner.plan import Plan

from tests.conformance.environments import environment
from tests.conformance.judging import Case, compile_all, differences, examples, judge
from tests.conformance.specs import TASKS, recipes, specs

ENOUGH = 60
REPOSITORY = Path(__file__).parents[2]
EXTRACT = REPOSITORY / "targets" / "ms_swift" / "contract" / "extract.py"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
PRINT = """#!/usr/bin/env python3
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "environment": dict(os.environ)}))
"""


def generated(version: str) -> Iterator[tuple[str, Any]]:
    """The specs of all targets that ms-swift can express, and each with its method for GRPO, in all three modes."""
    target = {"targets": {"ms-swift": {"version": version}}}
    modes: tuple[dict[str, Any], ...] = ({"mode": "colocate"}, {"mode": "server"}, {"engine": "native"}, {})
    turn = itertools.cycle(modes)
    for name, spec in recipes():
        yield name, {**spec, **target}
    for name, spec in specs(TASKS):
        if spec["train"]["method"] != "freeze":
            yield name, {**spec, "train": {**spec["train"], **precision_of(spec)}, **target}
            continue
        cards = spec["hardware"]["count"] * spec["hardware"].get("nodes", 1)
        rollout = {"rewards": ["accuracy", "format"], "num_generations": 4, **(next(turn) if cards > 1 else {})}
        train = {**spec["train"], "task": "grpo", "method": "lora", "batch_size": "auto", "rollout": rollout}
        yield f"{name}-grpo", {**spec, "train": train, "strategy": {}, **target}


def precision_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """Under ZeRO-3 a reward head is not trained beside adapters in fp16, which is what older cards have."""
    headed = spec["train"]["task"] == "reward" and spec["strategy"].get("sharding") == "zero3"
    return {} if not headed or gpus.find(spec["hardware"]["gpu"]).bf16 else {"precision": "fp32"}


def split(version: str) -> Iterator[tuple[str, Any]]:
    """Sequences over several GPUs, where the batch of DeepSpeed's JSON and the Trainer's arguments have to agree."""
    settings = {"version": version, "packages": {"flash-attn": "2.8.3"}}
    for sharding, share, task in (("zero2", 2, "sft"), ("zero3", 4, "pretrain"), ("zero1", 2, "dpo")):
        yield (
            f"split-{sharding}-{task}",
            {
                "model": "Qwen/Qwen2.5-7B-Instruct",
                "hardware": {"gpu": "A100 SXM 80GB", "count": 8, "host_memory": "1TiB"},
                "data": {"train": "train.jsonl", "max_length": 4096, "packing": task != "dpo"},
                "train": {"task": task, "batch_size": 64},
                "strategy": {"sharding": sharding, "sequence_parallel": share, "attention": "flash"},
                "targets": {"ms-swift": settings},
            },
        )


def packed(version: str) -> Iterator[tuple[str, Any]]:
    """Samples that share rows, for every task that ms-swift packs, with both generations of flash attention."""
    rollout = {"rewards": ["accuracy"], "num_generations": 4, "engine": "native"}
    for task, attention in (("sft", "flash3"), ("dpo", "flash"), ("kto", "flash"), ("grpo", "flash3")):
        yield (
            f"packed-{task}",
            {
                "model": "Qwen/Qwen2.5-7B-Instruct",
                "hardware": {"gpu": "H100 SXM", "count": 4, "host_memory": "1TiB"},
                "data": {"train": "train.jsonl", "max_length": 2048, "packing": True},
                "train": {"task": task, "batch_size": 64, **({"rollout": rollout} if task == "grpo" else {})},
                "strategy": {"attention": attention},
                "targets": {"ms-swift": {"version": version}},
            },
        )


def spoken(folder: Path, script: str) -> dict[str, Any]:
    """What a script says to `swift`: its words and environment, as the shell makes them."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "swift").write_text(PRINT, encoding="utf-8")
    (programs / "swift").chmod(0o755)
    given = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        ["bash", script], cwd=folder, env={**given, "VLLM_SERVER_HOST": "h"}, capture_output=True, text=True, check=True
    )
    said: dict[str, Any] = json.loads(done.stdout)
    command, *words = said["argv"]
    mine = {name: value for name, value in said["environment"].items() if name not in ("PATH", "PWD", "SHLVL", "_")}
    return {"folder": str(folder), "command": command, "argv": words, "environment": mine}


def questions(case: Case) -> list[dict[str, Any]]:
    """One for each script of an output."""
    plan, version = case.compiled.plan, case.compiled.plan.profile.version
    asked = spoken(case.folder, "train.sh")
    config = ["--config", "run.yaml"] if version.startswith("3.") else ["run.yaml"]
    split = plan.problem.split
    if split is not None and split.mode == "server" and not split.devices:
        config += ["--vllm_server_host", "h"]
    every = [{**asked, "world_size": plan.strategy.world_size, "config": config}]
    if "rollout.sh" in case.compiled.files:
        every.append(spoken(case.folder, "rollout.sh"))
    return every


def planned(plan: Plan) -> dict[str, Any]:
    """What ms-swift has to read back, said in its words."""
    strategy, values = plan.strategy, plan.values
    whole = strategy.precision == "fp16" and strategy.lora is None
    facts: dict[str, Any] = {
        "tuner_type": "lora" if strategy.lora else "full",
        "torch_dtype": "float32" if whole else DTYPES[strategy.precision],
        "max_length": values.get("max_prompt_length") or strategy.max_length,
        "packing": strategy.packing,
        "per_device_train_batch_size": strategy.micro_batch,
        "gradient_accumulation_steps": strategy.gradient_accumulation,
        "world_size": strategy.world_size,
        "gradient_checkpointing": strategy.gradient_checkpointing and strategy.sharding != "fsdp2",
        "use_liger_kernel": strategy.loss == "fused",
        "bf16": strategy.precision == "bf16",
        "fp16": strategy.precision == "fp16",
        "zero_stage": strategy.zero_stage if strategy.deepspeed else 0,
        "offload_optimizer": strategy.offload_optimizer if strategy.deepspeed else "none",
        "offload_parameters": strategy.offload_parameters if strategy.deepspeed else "none",
        "quant_bits": strategy.quantization.bits if strategy.quantization else None,
        "learning_rate": values["learning_rate"],
        "weight_decay": values["weight_decay"],
        "max_grad_norm": values["max_grad_norm"],
        "adam_beta2": values["adam_beta2"],
        "seed": values["seed"],
    }
    if strategy.lora:
        lora = strategy.lora
        facts |= {"lora_rank": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout}
    if strategy.task == "grpo":
        facts |= {"generation_batch_size": values["batch_size"], "num_generations": values["num_generations"]}
    if values.get("rollout_mode") == "colocate":
        share = values["rollout_share"]
        facts |= {"vllm_gpu_memory_utilization": share.utilization, "sleep_level": share.sleep_level}
    return facts


def failures(cases: list[Case], version: str) -> dict[str, str]:
    """Every output that is refused, or read otherwise than planned."""
    asked = [(case, question) for case in cases for question in questions(case)]
    verdicts = judge("swift_driver", f"ms-swift-{version}", [question for _, question in asked])
    answers = {}
    for (case, question), verdict in zip(asked, verdicts, strict=True):
        wrong = "" if verdict["accepted"] else verdict["reason"]
        if verdict["accepted"] and question["command"] != "rollout":
            wrong = differences(verdict["facts"], planned(case.compiled.plan))
        if wrong:
            answers[f"{case.name} {question['command']}"] = wrong
    return answers


@pytest.mark.framework
@pytest.mark.parametrize("version", ["4.6.0", "3.12.6"])
def test_generated_specs_are_accepted(version: str, tmp_path: Path) -> None:
    cases, too_big = compile_all(
        itertools.chain(generated(version), split(version), packed(version)), "ms-swift", tmp_path
    )
    assert len(cases) >= ENOUGH, too_big
    assert failures(cases, version) == {}


@pytest.mark.framework
@pytest.mark.parametrize("version", ["4.6.0", "3.12.6"])
def test_contracts_are_what_the_framework_says(version: str) -> None:
    """Each takes as long as an import of ms-swift: they are extracted one after the other."""
    where = environment(f"ms-swift-{version}")
    for command in ("sft", "rlhf", "rollout"):
        said = where.run(["python", EXTRACT, command]).stdout
        committed = (REPOSITORY / "schemas" / "contracts" / f"ms-swift-{command}-{version}.json").read_text("utf-8")
        assert said == committed, command
    listed = json.loads((EXTRACT.parents[1] / "models.json").read_text("utf-8"))[version]
    assert json.loads(where.run(["python", EXTRACT, "models"]).stdout) == listed


@pytest.mark.framework
def test_examples_are_accepted(tmp_path: Path) -> None:
    cases, too_big = compile_all(examples("ms-swift"), "ms-swift", tmp_path)
    assert too_big == {}
    assert failures(cases, "4.6.0") == {}


@pytest.mark.framework
def test_the_judge_can_say_no(tmp_path: Path) -> None:
    name, spec = next(specs())
    [case], _ = compile_all([(name, spec)], "ms-swift", tmp_path)
    [good] = questions(case)
    assert {"--lora_rank", "--tuner_type", "float16", "right"} < {*good["argv"]}
    changes = {
        "--lora_rank": "--lora_ran",
        "--tuner_type": "--train_type",
        "float16": "float17",
        "right": "split_it",
    }
    asked = [
        {**good, "config": None, "argv": [new if w == old else w for w in good["argv"]]} for old, new in changes.items()
    ]
    asked.append({**good, "argv": [*good["argv"], "--lora_rank", "9"]})
    asked.append({**good, "config": None, "argv": [*good["argv"], "--fsdp", "fsdp2", "--deepspeed", "zero2"]})
    verdicts = judge("swift_driver", "ms-swift-4.6.0", asked)
    assert [question["argv"] for question, verdict in zip(asked, verdicts, strict=True) if verdict["accepted"]] == []
