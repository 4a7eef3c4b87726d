"""What mfc writes for LLaMA-Factory is accepted by the real one, which reads back what was planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc.planner.plan import Plan
from mfc.targets import llamafactory
from mfc.targets.llamafactory import CLASHES

from tests.conformance.judging import Case, compile_all, differences, examples, judge
from tests.conformance.specs import TASKS, recipes, specs
from tests.targets.test_clashes import CLASHING, clashing

ENOUGH = 60
STAGES = {"pretrain": "pt", "reward": "rm", "orpo": "dpo", "simpo": "dpo"}  # the others have stages of their name
ATTENTION = {"sdpa": "sdpa", "flash": "fa2", "eager": "disabled"}


def planned(plan: Plan) -> dict[str, Any]:
    """What LLaMA-Factory has to read back, said in its words."""
    strategy = plan.strategy
    facts: dict[str, Any] = {
        "stage": STAGES.get(strategy.task, strategy.task),
        "finetuning_type": {"qlora": "lora"}.get(strategy.method, strategy.method),
        "cutoff_len": strategy.max_length - strategy.packing,  # its packer keeps one token for itself
        "packing": strategy.packing,
        "per_device_train_batch_size": strategy.micro_batch,
        "gradient_accumulation_steps": strategy.gradient_accumulation,
        "world_size": strategy.world_size,
        "gradient_checkpointing": strategy.gradient_checkpointing,
        "flash_attn": ATTENTION[strategy.attention],
        "bf16": strategy.precision == "bf16",
        "pure_bf16": strategy.precision == "pure_bf16",
        "fp16": strategy.precision == "fp16",
        "zero_stage": strategy.zero_stage,
        "offload_optimizer": strategy.offload_optimizer,
        "offload_parameters": strategy.offload_parameters,
        "quantization_bit": strategy.quantization.bits if strategy.quantization else None,
        "learning_rate": plan.values["learning_rate"],
        "max_grad_norm": plan.values["max_grad_norm"],
        "weight_decay": plan.values["weight_decay"],
        "seed": plan.values["seed"],
    }
    if strategy.lora:
        facts |= {
            "lora_rank": strategy.lora.rank,
            "lora_alpha": strategy.lora.alpha,
            "lora_dropout": strategy.lora.dropout,
        }
    if strategy.task in ("orpo", "simpo"):
        facts["pref_loss"] = strategy.task
    return facts


def question(case: Case) -> dict[str, Any]:
    plan = case.compiled.plan
    launch = case.compiled.files["launch.sh"]
    return {
        "file": "train.yaml",
        "folder": str(case.folder),
        "torchrun": plan.strategy.world_size > 1 or "export FORCE_TORCHRUN=1" in launch,
        "world_size": plan.strategy.world_size,
        "bf16": plan.problem.hardware.gpu.bf16,
        "accelerate": "accelerate.yaml" if "accelerate.yaml" in case.compiled.files else None,
    }


def failures(cases: list[Case], version: str) -> dict[str, str]:
    """Every output that is refused, or read otherwise than planned."""
    verdicts = judge("llamafactory_driver", f"llamafactory-{version}", [question(case) for case in cases])
    answers = {}
    for case, verdict in zip(cases, verdicts, strict=True):
        wrong = differences(verdict["facts"], planned(case.compiled.plan)) if verdict["accepted"] else verdict["reason"]
        if wrong:
            answers[case.name] = wrong
    return answers


@pytest.mark.framework
@pytest.mark.parametrize("version", ["0.9.5", "0.9.4"])
def test_generated_specs_are_accepted(version: str, tmp_path: Path) -> None:
    target = {"targets": {"llamafactory": {"version": version}}}
    tasks = tuple(task for task in TASKS if task in llamafactory.profile(version, {}).supports["task"])
    every = [*specs(tasks), *recipes()]
    cases, too_big = compile_all(((n, {**s, **target}) for n, s in every), "llamafactory", tmp_path)
    assert len(cases) >= ENOUGH, too_big
    assert failures(cases, version) == {}


@pytest.mark.framework
@pytest.mark.parametrize("version", ["0.9.5", "0.9.4"])
def test_fsdp_is_accepted(version: str, tmp_path: Path) -> None:
    big: dict[str, Any] = {"gpu": "A100 SXM 80GB", "host_memory": "1TiB"}
    two = {"strategy": {"sharding": "fsdp"}, "targets": {"llamafactory": {"version": version}}}
    made: dict[str, dict[str, Any]] = {
        "full": {"hardware": {**big, "count": 2}, "train": {"method": "full"}},
        "pure": {"hardware": {**big, "count": 2}, "train": {"method": "full", "precision": "pure_bf16"}},
        "fp16": {"hardware": {**big, "count": 4}, "train": {"method": "lora", "precision": "fp16"}},
        "qlora": {"hardware": {**big, "count": 3}, "train": {"method": "qlora"}},
        "dpo": {"hardware": {**big, "count": 2}, "train": {"task": "dpo", "method": "full"}},
        "nodes": {"hardware": {**big, "count": 8, "nodes": 2, "interconnect": {"inter": "400Gbps"}}},
        "offload": {
            "hardware": {**big, "count": 2},
            "strategy": {"sharding": "fsdp", "offload": {"optimizer": "cpu", "parameters": "cpu"}},
        },
    }
    data = {"train": "train.jsonl", "max_length": 1024}
    base: dict[str, Any] = {"model": "meta-llama/Llama-3.1-8B-Instruct", "data": data, **two}
    cases, too_big = compile_all(((n, {**base, **spec}) for n, spec in made.items()), "llamafactory", tmp_path)
    assert too_big == {}
    assert {case.compiled.plan.strategy.sharding for case in cases} == {"fsdp"}
    assert failures(cases, version) == {}


@pytest.mark.framework
def test_examples_are_accepted(tmp_path: Path) -> None:
    cases, too_big = compile_all(examples("llamafactory"), "llamafactory", tmp_path)
    assert too_big == {}
    versions = {case.name: case.compiled.plan.profile.version for case in cases}
    for version in sorted(set(versions.values())):
        assert failures([case for case in cases if versions[case.name] == version], version) == {}


@pytest.mark.framework
def test_the_judge_can_say_no(tmp_path: Path) -> None:
    name, spec = next(specs())
    [case], _ = compile_all([(name, spec)], "llamafactory", tmp_path)
    run = case.folder / "train.yaml"
    good = run.read_text(encoding="utf-8")
    changes = {
        "cutoff_len:": "cutoff_lenn:",
        "lora_target: all": "lora_target: all\npref_loss: orp0",
        "stage: sft": "stage: sftx",
        "finetuning_type: lora": "finetuning_type: full\nquantization_bit: 4",
        "dataset: train": "dataset: trian",
        "template: ": "template: no_such_",
    }
    questions = []
    for number, (old, new) in enumerate(changes.items()):
        assert old in good
        (case.folder / f"{number}.yaml").write_text(good.replace(old, new, 1), encoding="utf-8")
        questions.append({**question(case), "file": f"{number}.yaml"})
    verdicts = judge("llamafactory_driver", "llamafactory-0.9.5", questions)
    assert [change for change, verdict in zip(changes, verdicts, strict=True) if verdict["accepted"]] == []


@pytest.mark.framework
def test_what_clashes_is_refused_by_the_parser(tmp_path: Path) -> None:
    """Each key of the user's that mfc refuses because the parser would, written in spite of that."""
    mine = [one for one in CLASHING if one[0] == "llamafactory"]
    asked = [(f"{key}-{number}", *clashing(target, key, number)) for target, key, number in mine]
    cases, too_big = compile_all(((name, spec) for name, spec, _ in asked), "llamafactory", tmp_path)
    assert too_big == {}
    judged = []
    for case, (_, _, with_key) in zip(cases, asked, strict=True):
        file = case.folder / "train.yaml"
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
        data = {**said, **with_key["targets"]["llamafactory"]["extra"]}
        file.write_text(yaml.safe_dump(data), encoding="utf-8")
        clashes = [one for one in CLASHES if one.key in data and one.when(case.compiled.plan, data)]
        if not all(one.instead for one in clashes):
            judged.append(case)
    verdicts = judge("llamafactory_driver", "llamafactory-0.9.5", [question(case) for case in judged])
    accepted = [case.name for case, verdict in zip(judged, verdicts, strict=True) if verdict["accepted"]]
    assert accepted == []
