"""What mfc writes for Unsloth is read by the module that reads its config, which gives back what was planned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc.errors import CannotExpress, SpecError
from mfc.planner.plan import Plan

from tests.conformance.environments import environment
from tests.conformance.judging import Case, compile_all, differences, examples, judge
from tests.conformance.specs import specs

WHERE = "unsloth-2026.10.9"
ENOUGH = 20


def generated() -> Iterator[tuple[str, Any]]:
    """The specs of all targets, on one GPU, with what Unsloth always does."""
    for name, spec in specs(("sft", "pretrain")):
        train = {**spec["train"], "precision": "pure_bf16" if spec["train"]["method"] == "full" else "auto"}
        optim = {key: value for key, value in train.get("optim", {}).items() if key == "weight_decay"}
        pins = ("micro_batch", "gradient_checkpointing")
        yield (
            name,
            {
                "model": "Qwen/Qwen2.5-0.5B",
                "hardware": {"gpu": spec["hardware"]["gpu"], "host_memory": spec["hardware"]["host_memory"]},
                "data": {"path": "data/train.jsonl", "max_length": spec["data"]["max_length"]},
                "train": {**train, "optim": optim},
                "strategy": {key: value for key, value in spec.get("strategy", {}).items() if key in pins},
                "run": {"save_every": 50},
                "targets": {"unsloth": {}},
            },
        )


def possible(specs: Iterator[tuple[str, Any]], into: Path) -> list[Case]:
    """Those that Unsloth can say."""
    cases = []
    for name, spec in specs:
        try:
            made, _ = compile_all([(name, spec)], "unsloth", into)
        except (CannotExpress, SpecError):
            continue
        cases += made
    return cases


def question(case: Case) -> dict[str, Any]:
    return {"folder": str(case.folder)}


def written(case: Case) -> Any:
    return yaml.safe_load((case.folder / "train.yaml").read_text(encoding="utf-8"))


def planned(plan: Plan) -> dict[str, Any]:
    """What Unsloth has to read back, said in its words."""
    strategy, values = plan.strategy, plan.values
    waits = {"cpu": "unsloth", "none": "true"}[strategy.offload_activations]
    facts = {
        "training.training_type": "full" if strategy.lora is None else "lora",
        "training.load_in_4bit": strategy.quantization is not None,
        "training.max_seq_length": strategy.max_length,
        "training.batch_size": strategy.micro_batch,
        "training.gradient_accumulation_steps": strategy.gradient_accumulation,
        "training.gradient_checkpointing": waits if strategy.gradient_checkpointing else "none",
        "training.learning_rate": values["learning_rate"],
        "training.weight_decay": values["weight_decay"],
        "training.random_seed": values["seed"],
        "training.packing": values["packing"],
    }
    if strategy.lora:
        facts |= {"lora.lora_r": strategy.lora.rank, "lora.lora_alpha": strategy.lora.alpha}
    return facts


def failures(cases: list[Case]) -> dict[str, str]:
    """Every output that is refused, or read otherwise than planned or than it stands there."""
    verdicts = judge("unsloth_driver", WHERE, [question(case) for case in cases])
    answers = {}
    for case, verdict in zip(cases, verdicts, strict=True):
        stands = written(case)
        model = stands.pop("model")
        said = {"model": model, **{f"{at}.{key}": one for at in stands for key, one in stands[at].items()}}
        wanted = {**said, **planned(case.compiled.plan)}
        wrong = differences(verdict["facts"], wanted) if verdict["accepted"] else verdict["reason"]
        if wrong:
            answers[case.name] = wrong
    return answers


@pytest.mark.framework
def test_generated_specs_are_read(tmp_path: Path) -> None:
    cases = possible(generated(), tmp_path)
    assert len(cases) >= ENOUGH
    plans = [case.compiled.plan.strategy for case in cases]
    assert {plan.method for plan in plans} == {"lora", "qlora", "full"}
    assert {plan.task for plan in plans} == {"sft", "pretrain"}
    assert failures(cases) == {}


@pytest.mark.framework
def test_examples_are_read(tmp_path: Path) -> None:
    cases, too_big = compile_all(examples("unsloth"), "unsloth", tmp_path)
    assert too_big == {}
    assert cases
    assert failures(cases) == {}


@pytest.mark.framework
def test_the_command_itself_is_started(tmp_path: Path) -> None:
    """By the start script, until it would load the model: it shows what it would train with."""
    cases = [*possible(generated(), tmp_path)]
    for method in ("lora", "qlora", "full"):
        case = next(case for case in cases if case.compiled.plan.strategy.method == method)
        args = ["bash", str(case.folder / "launch.sh"), "--dry-run", "--max-steps", "7"]
        shown = yaml.safe_load(environment(WHERE).run(args, env={"HOME": str(tmp_path)}).stdout)
        said = written(case)
        wrong = {at: key for at in said if at != "model" for key in said[at] if shown[at][key] != said[at][key]}
        assert (shown["model"], wrong) == (said["model"], {}), method
        assert shown["training"]["max_steps"] == 7


@pytest.mark.framework
def test_the_judge_can_say_no(tmp_path: Path) -> None:
    case = next(case for case in possible(generated(), tmp_path) if case.compiled.plan.strategy.lora)
    asked, path = question(case), case.folder / "train.yaml"
    good = path.read_text(encoding="utf-8")
    accepted = []
    for old, new in (
        ("lora_r:", "lora_rank:"),
        ("batch_size: ", "batch_size: many"),
        ("training_type: lora", "training_type: loras"),
        ("random_seed:", "seed:"),
        ("gradient_checkpointing: ", "gradient_checkpointing: no_"),
    ):
        assert old in good
        path.write_text(good.replace(old, new, 1), encoding="utf-8")
        accepted += [new for verdict in judge("unsloth_driver", WHERE, [asked]) if verdict["accepted"]]
    path.write_text(good, encoding="utf-8")
    assert accepted == []
