"""What mfc writes for TRL is accepted by the parsers of TRL and accelerate, which read back what was planned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mfc.planner.plan import Plan
from mfc.targets import trl
from mfc.targets.trl.keys import ATTENTION, COMMANDS, keeps_fp32

from tests.conformance.judging import Case, compile_all, differences, examples, expressible, judge, spoken
from tests.conformance.specs import TASKS, specs

ENOUGH = 58
WHERE = "deepspeed-0.19.8"  # the list that has TRL
DTYPES = {"bf16": "bfloat16", "pure_bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def generated() -> Iterator[tuple[str, Any]]:
    """The specs of all targets that TRL can express, and for the methods that it cannot, GRPO."""
    tasks = tuple(task for task in TASKS if task in trl.profile("1.16.0", {}).supports["task"])
    for name, spec in specs((*tasks, "sft")):  # six, so that each task meets each of the four methods
        train = dict(spec["train"])
        if train["method"] == "freeze":
            rollout = {"rewards": ["accuracy_reward"], "num_generations": 4, "engine": "native"}
            train |= {"task": "grpo", "method": "lora", "batch_size": "auto", "rollout": rollout}
        data = {**spec["data"], **({"format": "preference"} if train["task"] == "kto" else {})}
        said = {**spec.get("strategy", {}), "loss": "auto"}
        if train["task"] == "grpo":
            said["micro_batch"] = 4  # whole groups: without its launcher GRPOConfig counts one process
        yield name, {**spec, "data": data, "train": train, "strategy": said, "targets": {"trl": {}}}


def question(case: Case) -> dict[str, Any]:
    command, *words = spoken(case, "trl")
    world = case.compiled.plan.strategy.world_size
    return {"command": command, "argv": words, "folder": str(case.folder), "world_size": world}


def planned(plan: Plan) -> dict[str, Any]:
    """What TRL has to read back, said in its words."""
    strategy, values = plan.strategy, plan.values
    kinds = {"ddp": "MULTI_GPU" if strategy.world_size > 1 else "NO", "fsdp2": "FSDP"}
    facts: dict[str, Any] = {
        "processes": strategy.world_size,
        "nodes": plan.problem.hardware.nodes,
        "kind": kinds.get(strategy.sharding, "DEEPSPEED"),
        "world_size": strategy.world_size,
        "zero_stage": strategy.zero_stage if strategy.deepspeed else 0,
        "per_device_train_batch_size": strategy.micro_batch,
        "gradient_accumulation_steps": strategy.gradient_accumulation,
        "learning_rate": values["learning_rate"],
        "max_grad_norm": values["max_grad_norm"],
        "weight_decay": values["weight_decay"],
        "seed": values["seed"],
        "bf16": strategy.precision == "bf16",
        "fp16": strategy.precision == "fp16",
        "gradient_checkpointing": strategy.gradient_checkpointing,
        "dtype": "float32" if keeps_fp32(plan) else DTYPES[strategy.precision],
        "attn_implementation": ATTENTION[strategy.attention],
        "use_peft": strategy.lora is not None,
        "load_in_4bit": bool(strategy.quantization and strategy.quantization.bits == 4),
        "load_in_8bit": bool(strategy.quantization and strategy.quantization.bits == 8),
    }
    if strategy.lora:
        facts |= {
            "lora_r": strategy.lora.rank,
            "lora_alpha": strategy.lora.alpha,
            "lora_dropout": strategy.lora.dropout,
        }
    if strategy.task == "grpo":
        facts |= {"num_generations": values["num_generations"], "rewards": list(values["rewards"])}
    else:
        facts["max_length"] = strategy.max_length
    return facts


def failures(cases: list[Case]) -> dict[str, str]:
    """Every output that is refused, or read otherwise than planned."""
    verdicts = judge("trl_driver", WHERE, [question(case) for case in cases])
    answers = {}
    for case, verdict in zip(cases, verdicts, strict=True):
        wrong = differences(verdict["facts"], planned(case.compiled.plan)) if verdict["accepted"] else verdict["reason"]
        if wrong:
            answers[case.name] = wrong
    return answers


@pytest.mark.framework
def test_generated_specs_are_accepted(tmp_path: Path) -> None:
    cases = expressible(generated(), "trl", tmp_path)
    assert len(cases) >= ENOUGH
    assert {COMMANDS[case.compiled.plan.strategy.task] for case in cases} == set(COMMANDS.values())
    assert failures(cases) == {}


@pytest.mark.framework
def test_examples_are_accepted(tmp_path: Path) -> None:
    cases, too_big = compile_all(examples("trl"), "trl", tmp_path)
    assert too_big == {}
    assert cases
    assert failures(cases) == {}


@pytest.mark.framework
def test_the_judge_can_say_no(tmp_path: Path) -> None:
    case = next(case for case in expressible(generated(), "trl", tmp_path) if case.compiled.plan.strategy.lora)
    asked = question(case)
    changes = {
        "train.yaml": [
            ("lora_r:", "lora_rank:"),
            ("max_length:", "max_seq_length:"),
            ("seed: 42", "seed: forty"),
            ("optim: ", "optim: no_"),
            ("dtype: ", "dtype: no_"),
        ],
        "accelerate.yaml": [("num_processes:", "num_process:"), ("distributed_type: ", "distributed_type: X")],
    }
    accepted = []
    for file, edits in changes.items():
        path = case.folder / file
        good = path.read_text(encoding="utf-8")
        for old, new in edits:
            assert old in good
            path.write_text(good.replace(old, new, 1), encoding="utf-8")
            accepted += [new for verdict in judge("trl_driver", WHERE, [asked]) if verdict["accepted"]]
        path.write_text(good, encoding="utf-8")
    assert accepted == []
