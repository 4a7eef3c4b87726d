"""What mfc writes for Axolotl passes its own validation with every key, and its trainers read what was planned."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mfc.planner.plan import Plan
from mfc.targets import axolotl
from mfc.targets.axolotl.keys import ATTENTION, OPTIMIZERS, TASKS

from tests.conformance.judging import Case, compile_all, differences, examples, expressible, judge, spoken
from tests.conformance.specs import TASKS as EVERY
from tests.conformance.specs import specs
from tests.targets.test_clashes import CLASHING, clashing

ENOUGH = 65
WHERE = "axolotl-0.19.0"
ROLLOUT = {"num_generations": 4, "engine": "native"}
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def generated() -> Iterator[tuple[str, Any]]:
    """The specs that Axolotl can express; where a method is none of its, FSDP2, packing or GRPO instead."""
    tasks = tuple(task for task in EVERY if task in axolotl.profile("0.19.0", {}).supports["task"])
    instead = itertools.cycle(("fsdp2", "packing", "grpo"))
    for name, spec in specs(tasks):
        train, strategy, data = dict(spec["train"]), dict(spec.get("strategy", {})), dict(spec["data"])
        if train["method"] == "freeze":
            train |= {"method": "lora", "task": "sft"}
            kind, strategy = next(instead), {}
            if kind == "grpo":
                train |= {"task": "grpo", "rollout": {**ROLLOUT, "rewards": ["accuracy_reward"]}}
            elif kind == "packing" or spec["hardware"]["count"] == 1:
                data["packing"] = True
            else:
                strategy = {"sharding": "fsdp2"}
        if train["task"] == "kto":
            data["format"] = "preference"
        if train["task"] == "reward":
            data["train"] = [{"path": "train.jsonl", "columns": {"prompt": "input"}}]
        if train["task"] == "simpo":
            train["optim"] = {"warmup": 20}
        yield name, {**spec, "data": data, "train": train, "strategy": strategy, "targets": {"axolotl": {}}}


def question(case: Case) -> dict[str, Any]:
    plan = case.compiled.plan
    major, minor = plan.problem.hardware.gpu.capability
    return {
        "argv": spoken(case, "axolotl"),
        "folder": str(case.folder),
        "world_size": plan.strategy.world_size,
        "capability": f"sm_{major}{minor}",
    }


def planned(plan: Plan) -> dict[str, Any]:
    """What Axolotl has to read back, said in its words."""
    strategy, values = plan.strategy, plan.values
    stored, offloads = strategy.quantization, strategy.offload_activations != "none"
    facts: dict[str, Any] = {
        "processes": plan.problem.hardware.gpus_per_node,
        "nodes": plan.problem.hardware.nodes,
        "zero_stage": strategy.zero_stage if strategy.deepspeed else 0,
        "fsdp_version": 2 if strategy.sharding == "fsdp2" else None,
        "offloads": strategy.sharding == "fsdp2" and strategy.offload_parameters == "cpu",
        "dtype": DTYPES[strategy.precision],
        "attn_implementation": ATTENTION[strategy.attention],
        "load_in_4bit": bool(stored and stored.bits == 4),
        "load_in_8bit": bool(stored and stored.bits == 8),
        "lora_kernels": False,
        "fused": strategy.loss == "fused",
        "sample_packing": strategy.packing,
        "sequence_len": strategy.max_length,
        "rl": TASKS.get(strategy.task),
        "reward_model": strategy.task == "reward",
        "per_device_train_batch_size": strategy.micro_batch,
        "gradient_accumulation_steps": strategy.gradient_accumulation,
        "learning_rate": values["learning_rate"],
        "max_grad_norm": values["max_grad_norm"],
        "weight_decay": values["weight_decay"],
        "seed": values["seed"],
        "bf16": strategy.precision == "bf16",
        "fp16": strategy.precision == "fp16",
        "optim": OPTIMIZERS[strategy.optimizer],
        "gradient_checkpointing": strategy.gradient_checkpointing or offloads,
    }
    if strategy.lora:
        facts |= {
            "adapter": "qlora" if facts["load_in_4bit"] else "lora",
            "lora_r": strategy.lora.rank,
            "lora_alpha": strategy.lora.alpha,
            "lora_dropout": strategy.lora.dropout,
        }
    if strategy.task == "grpo":
        steps = values["steps_per_generation"]
        facts |= {"num_generations": values["num_generations"], "steps_per_generation": steps}
    return facts


def failures(cases: list[Case]) -> dict[str, str]:
    """Every output that is refused, or read otherwise than planned."""
    verdicts = judge("axolotl_driver", WHERE, [question(case) for case in cases])
    answers = {}
    for case, verdict in zip(cases, verdicts, strict=True):
        wrong = differences(verdict["facts"], planned(case.compiled.plan)) if verdict["accepted"] else verdict["reason"]
        if wrong:
            answers[case.name] = wrong
    return answers


@pytest.mark.framework
def test_generated_specs_are_accepted(tmp_path: Path) -> None:
    cases = expressible(generated(), "axolotl", tmp_path)
    assert len(cases) >= ENOUGH
    plans = [case.compiled.plan for case in cases]
    assert {plan.strategy.task for plan in plans} == set(axolotl.profile("0.19.0", {}).supports["task"])
    assert {"fsdp2", "zero3", "zero2", "ddp"} <= {plan.strategy.sharding for plan in plans}
    assert any(plan.strategy.packing for plan in plans)
    assert failures(cases) == {}


@pytest.mark.framework
def test_examples_are_accepted(tmp_path: Path) -> None:
    cases, too_big = compile_all(examples("axolotl"), "axolotl", tmp_path)
    assert too_big == {}
    assert cases
    assert failures(cases) == {}


@pytest.mark.framework
def test_the_judge_can_say_no(tmp_path: Path) -> None:
    case = next(case for case in expressible(generated(), "axolotl", tmp_path) if case.compiled.plan.strategy.lora)
    asked = question(case)
    path = case.folder / "train.yaml"
    good = path.read_text(encoding="utf-8")
    accepted = []
    for old, new in (
        ("lora_r:", "lora_rank:"),
        ("sequence_len:", "max_seq_length:"),
        ("seed: 42", "seed: forty"),
        ("optimizer: ", "optimizer: no_"),
        ("attn_implementation: ", "attn_implementation: no_"),
        ("type: chat_template", "typ: chat_template"),
        ("adapter: ", "adapter: no_"),
    ):
        assert old in good
        path.write_text(good.replace(old, new, 1), encoding="utf-8")
        accepted += [new for verdict in judge("axolotl_driver", WHERE, [asked]) if verdict["accepted"]]
    assert accepted == []


# What mfc refuses though validate_config takes it: a type in place of the plan's, and a start that is not the script's.
TAKEN = {"bfloat16", "float16", "use_ray"}


@pytest.mark.framework
def test_what_clashes_is_refused_or_dropped(tmp_path: Path) -> None:
    asked, names = [], []
    for _, key, number in (one for one in CLASHING if one[0] == "axolotl"):
        spec, with_key = clashing("axolotl", key, number)
        (case,), _ = compile_all([(f"{key}-{number}", spec)], "axolotl", tmp_path)
        value = with_key["targets"]["axolotl"]["extra"][key]
        with (case.folder / "train.yaml").open("a", encoding="utf-8") as file:
            file.write(f"{key}: {json.dumps(value)}\n")
        asked.append(question(case))
        names.append(case.name)
    verdicts = judge("axolotl_driver", WHERE, asked)
    accepted = {name for name, verdict in zip(names, verdicts, strict=True) if verdict["accepted"]}
    assert {name.rpartition("-")[0] for name in accepted} == TAKEN
