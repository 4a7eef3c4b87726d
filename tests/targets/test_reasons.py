"""Reasons are true of the plan that they stand in: over every decision of every case of every target.

A reason of a rule is what the rule says of this very plan; a refusal as a reason is about a value that this plan could
have had but for it; the gist of a search holds when the field is pinned to its other values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mfc import api, speed
from mfc.errors import MfcError
from mfc.fields import BY_NAME, CANDIDATES, CHOICES, SPEC_PATHS, simplicity
from mfc.planner.plan import Decision, Plan
from mfc.planner.search import evaluate
from mfc.planner.space import Rejections, domain, facts
from mfc.rules import RULES
from mfc.rules.engine import Rule
from mfc.target import get

from tests.targets.cases import GOOD, compiled, lowered, written

# Words in a reason -> what has to hold of the plan for them to stand there as what was chosen.
CLAIMS: dict[str, Callable[[Plan], bool]] = {
    r"all linear layers": lambda plan: plan.values["lora_targets"] == "all-linear",
    r"^plain LoRA": lambda plan: plan.values["lora_variant"] == "lora",
    r"^no dropout": lambda plan: plan.values["lora_dropout"] == 0,
    r"\bNVMe\b": lambda plan: "nvme" in (plan.strategy.offload_optimizer, plan.strategy.offload_parameters),
    r"nothing is packed|not packed": lambda plan: not plan.strategy.packing,
    r"nothing is offloaded": lambda plan: plan.strategy.offload_optimizer == "none",
    r"^one GPU\b|\bone process\b": lambda plan: plan.strategy.world_size == 1,
    r"every GPU|ranks? waits?": lambda plan: plan.strategy.world_size > 1,
    r"\b1 (GPUs|reward models)\b": lambda plan: False,
    r"data\.packing: true": lambda plan: (
        plan.strategy.task in ("sft", "pretrain") and plan.profile.can("packing") != (False,)
    ),
    r"overlong: drop": lambda plan: "drop" in plan.profile.can("overlong"),
    r"no epochs|not epochs": lambda plan: plan.values["save_every"] == "epoch",
    r"parameters stay": lambda plan: plan.strategy.freeze_parts == ("vision", "projector"),
    r"0 needs no reference": lambda plan: plan.strategy.task == "grpo",
    r"mfc writes its own": lambda plan: plan.strategy.deepspeed,
    r"adapters alone are trained": lambda plan: not plan.values["modules_to_save"],
}


def rules(plan: Plan) -> dict[str, Rule]:
    own = get(plan.profile.target).RULES if plan.profile.target else ()
    return {rule.id: rule for rule in (*RULES, *own)}


def known(plan: Plan) -> dict[str, Any]:
    """What rules read, as far as a finished plan tells it."""
    problem, strategy = plan.problem, plan.strategy
    return {
        **{name: getattr(strategy, name) for name in strategy._fields},
        **plan.values,
        "problem": problem,
        "spec": problem.spec,
        "hardware": problem.hardware,
        "gpu": problem.hardware.gpu,
        "model": problem.model,
        "architecture": problem.model.architecture,
        "profile": plan.profile,
        "world_size": problem.hardware.world_size,
        "budget_bytes": plan.budget_bytes,
        "strategy": strategy,
        "memory": plan.memory,
    }


@pytest.mark.parametrize(("target", "name"), GOOD)
def test_every_reason_is_true_of_its_plan(target: str, name: str, folder: Path) -> None:
    plan = compiled(target, name, folder).plan
    given, every = known(plan), rules(plan)
    for decision in plan.decisions.values():
        said = decision.because
        assert said, decision
        if decision.rule in every and every[decision.rule].kind == "derive" and decision.rule not in _LAID_OUT:
            holds_of_its_rule(decision, every[decision.rule], given)
        elif decision.rule in every and every[decision.rule].kind == "require" and decision.rule not in _LAID_OUT:
            refuses_another_value(decision, plan)
        elif decision.rule == "spec":
            assert decision.pinned
            assert decision.field in plan.problem.origin or said_in_the_spec(decision, plan)
        for words, claim in CLAIMS.items():
            if re.search(words, said):
                assert claim(plan), (decision.field, said)


@pytest.mark.parametrize(("target", "name"), GOOD)
def test_what_stands_beside_a_key_is_true_and_said_once(target: str, name: str, folder: Path) -> None:
    one = compiled(target, name, folder)
    for file in lowered(target, name, folder):
        for key, fields in file.reasons.items():
            why = one.plan.because(*fields)
            sentences = why.split("; ") if why else []
            assert len(sentences) == len(set(sentences)), (file.path, key, why)
            weighed = [field for field in fields if field in one.plan.decisions and one.plan.decisions[field].gist]
            assert len(weighed) <= 1, (key, why)  # a gist does not say what it is about: the key has to
            cited = {one.plan.decisions[field].pinned for field in fields if field in one.plan.decisions}
            assert any(said.startswith("set in the spec") for said in sentences) == (True in cited), (key, why)
            for words, claim in CLAIMS.items():
                if any(re.search(words, said) for said in sentences):
                    assert claim(one.plan), (file.path, key, why)


# A case, a key of one of its files and the whole reason beside it.
BESIDE = {
    "llamafactory": {
        "lora": {"lora_dropout": "set in the spec: train.lora.dropout"},
        "dpo": {"packing": "the samples of task dpo stay apart"},
    },
    "ms-swift": {
        "attention-adapters": {"eval_strategy": "", "target_modules": "set in the spec: train.lora.targets"},
        "full-in-fp16-keeps-fp32-weights": {"torch_dtype": ""},
        "grpo-by-a-server": {
            "vllm_max_model_len": "1024 tokens of prompt and 1024 of answer",
            "vllm_data_parallel_size": "set in the spec: train.rollout.gpus",
            "vllm_mode": "set in the spec: train.rollout.gpus",
            "vllm_server_port": "",
        },
        "grpo-evaluates-whole-groups": {"per_device_eval_batch_size": "set in the spec: train.rollout.num_generations"},
    },
    "xtuner": {
        "packed-samples-see-each-other": {"train_dataset.shuffle_before_pack": ""},
        "masters-are-not-lost-to-flash-attention": {
            "model.llm.torch_dtype": "",
            "save_steps": "XTuner's loop has no epochs: every 500 micro-steps (its own 500, in whole steps), "
            "and at the end",
        },
        "fp16-on-a-bf16-card-needs-a-json-of-its-own": {
            "deepspeed": "no shipped config says zero2 with fp16: mfc writes its own; "
            "set in the spec: strategy.sharding"
        },
    },
    "xtuner-v1": {
        "full": {
            "trainer.checkpoint_interval": "XTuner V1 saves by steps alone; the last checkpoint is in Hugging Face's "
            "format"
        }
    },
}


@pytest.mark.parametrize(("target", "name"), [(target, name) for target, cases in BESIDE.items() for name in cases])
def test_a_key_cites_what_it_is_about(target: str, name: str, folder: Path) -> None:
    one = compiled(target, name, folder)
    found = {
        key: one.plan.because(*fields) for file in lowered(target, name, folder) for key, fields in file.reasons.items()
    }
    assert {key: found[key] for key in BESIDE[target][name]} == BESIDE[target][name]


def test_the_source_of_what_the_spec_says_is_the_spec() -> None:
    asked = {
        "lora": {"targets": "attention", "variant": "rslora", "dropout": 0.1},
        "quantization": {"bits": 8},
        "method": "qlora",
        "precision": "bf16",
        "batch_size": 16,
    }
    spec = {"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": "RTX 4090", "train": asked, "data": {"overlong": "drop"}}
    plan = api.plan(spec)
    for field in (
        "lora_targets",
        "lora_variant",
        "lora_dropout",
        "quantization",
        "precision",
        "batch_size",
        "overlong",
    ):
        decision = plan.decisions[field]
        assert (decision.rule, decision.source, decision.pinned) == ("spec", "the spec", True)
        assert decision.because.startswith("set in the spec: ")
    for decision in plan.decisions.values():
        assert "all linear layers" not in decision.because + decision.source


# Reasons that tell of several layouts, which no single plan knows.
_LAID_OUT = {"rollout/rollout-mode", "sharing/rollout-share", "rollout/prompt-and-answer-fit"}


def said_in_the_spec(decision: Decision, plan: Plan) -> bool:
    """The reason names a path of the spec, and the spec sets it."""
    *sections, last = decision.because.removeprefix("set in the spec: ").partition(";")[0].split(".")
    section: Any = plan.problem.spec
    for name in sections:
        section = getattr(section, name)
    return last in section.model_fields_set


def holds_of_its_rule(decision: Decision, rule: Rule, given: dict[str, Any]) -> None:
    if given.keys() >= {*rule.reads}:
        answer = rule.function(*(given[name] for name in rule.reads))
        assert (answer.value, answer.because) == (decision.value, decision.because), decision.field


def refuses_another_value(decision: Decision, plan: Plan) -> None:
    """The reason is the rule's refusal of another value, all other choices being the plan's."""
    given, every = known(plan), rules(plan)
    kept = {name: given[name] for name in CHOICES if name not in (decision.field, "micro_batch")}
    start = facts(plan.problem, plan.profile)
    said = []
    for other in domain(decision.field, plan.problem, given):
        if other != decision.value:
            met = Rejections()
            assert not evaluate(plan.problem, start, tuple(every.values()), {**kept, decision.field: other}, met)
            said += [reason for rule, reason, _ in met.by_rule.values() if rule.id == decision.rule]
    assert any(reason in decision.because for reason in said), (decision, said)


SEARCHED = [
    name for name in CHOICES if name not in ("method", "lora_rank", "max_length", "micro_batch") and CANDIDATES[name]
]


@pytest.mark.parametrize(("target", "name"), GOOD[:: max(len(GOOD) // 12, 1)])
def test_the_gist_holds_when_the_other_values_are_pinned(target: str, name: str, folder: Path) -> None:
    plan = compiled(target, name, folder).plan
    spec = written(target, name, folder)
    for field in SEARCHED:
        decision = plan.decisions.get(field)
        if decision is None or decision.rule != "search":
            continue
        others = [pinned(spec, target, field, other) for other in CANDIDATES[field] if other != decision.value]
        fitting = [other for other in others if isinstance(other, Plan) and other.fits]
        if decision.gist in ("without it nothing fits", "the others do not fit"):
            assert fitting == [], field
        elif decision.gist == "faster, and there is room":
            simpler = [
                one for one in fitting if simplicity(field, one.values[field]) < simplicity(field, decision.value)
            ]
            assert all(trains(one) > trains(plan) for one in simpler), field
        elif plan.fits:
            assert fitting, (field, decision.gist)


def trains(plan: Plan) -> float:
    """Seconds of a step without its rollouts, by which the search ranks strategies."""
    return speed.predict(plan.strategy, plan.problem, plan.profile.stack).seconds_per_step


def pinned(spec: Path, target: str, field: str, value: Any) -> Plan | str:
    """The plan with a field pinned to another value, or why there is none."""
    said = str(value).lower() if isinstance(value, bool) else value
    try:
        return api.plan(spec, target, [f"{SPEC_PATHS[field]}={said}"])
    except MfcError as error:
        return str(error)


def test_the_largest_micro_batch_that_fits_is_that() -> None:
    spec = {"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": "RTX 4090", "data": {"max_length": 2048}}
    plan = api.plan({**spec, "train": {"batch_size": 64}})
    decision = plan.decisions["micro_batch"]
    assert decision.gist == "the largest that fits"
    for size in (size for size in (2, 4, 8, 16, 32, 64) if size > decision.value):
        assert not api.plan({**spec, "train": {"batch_size": 64}, "strategy": {"micro_batch": size}}).fits


@pytest.mark.parametrize("gpu", ["RTX 3090", "A100 SXM 80GB", "L40S"])
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_larger_micro_batches_are_what_the_gist_says(gpu: str, method: str) -> None:
    spec = {
        "model": "mistralai/Mistral-7B-Instruct-v0.3",
        "hardware": {"gpu": gpu, "count": 2},
        "data": {"max_length": 2048},
        "train": {"method": method, "batch_size": 32},
    }
    plan = api.plan(spec)
    gist, size = plan.decisions["micro_batch"].gist, plan.strategy.micro_batch
    larger = [api.plan({**spec, "strategy": {"micro_batch": other}}) for other in (2, 4, 8, 16) if other > size]
    gains = [plan.speed.seconds_per_step / one.speed.seconds_per_step - 1 for one in larger if one.fits]
    if gist == "all that one GPU has of the batch":
        assert larger == []
    elif gist == "the largest that fits":
        assert gains == []
    else:
        assert gist in ("larger ones are no faster", "larger ones are not clearly faster")
        assert all(gain <= 0.1 for gain in gains)  # a tie of the search
        assert gist != "larger ones are no faster" or all(gain < 0.011 for gain in gains)


def test_the_gist_holds_no_number_that_a_better_model_moves() -> None:
    plan = api.plan({"model": "Qwen/Qwen2.5-7B-Instruct", "hardware": {"gpu": "RTX 4090", "count": 4}})
    for decision in plan.decisions.values():
        if decision.rule == "search":
            assert not re.search(r"\d\.\d|\bGiB\b|%", decision.gist or decision.because), decision


def test_nothing_is_decided_where_there_is_nothing_to_decide() -> None:
    plan = api.plan({"model": "Qwen/Qwen2.5-0.5B-Instruct", "hardware": "A100 SXM 80GB", "train": {"method": "full"}})
    limited = {name for name, row in BY_NAME.items() if row.applies.said} - {"adam_beta1", "adam_beta2", "adam_epsilon"}
    gone = limited & plan.decisions.keys()
    assert plan.strategy.sharding == "ddp"
    assert gone == set()
