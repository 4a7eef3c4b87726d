"""What mfc writes for XTuner is accepted by the real one, which reads back what was planned."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mfc.target.outputs import native
from mfc.targets import xtuner

from tests.conformance.environments import environment
from tests.conformance.judging import Case, compile_all, examples, judge
from tests.conformance.specs import specs
from tests.conformance.tiny import make_data, make_model

ENVIRONMENT = "xtuner-0.2.0"
ENOUGH = 60
TASKS = ("sft", "dpo", "pretrain", "sft", "orpo")
LEFT_OUT = re.compile(r"qwen3|gemma-2|phi-2", re.IGNORECASE)  # families, or templates, that XTuner does not have
DRIVERS = Path(__file__).parent / "drivers"
ON_CPU = os.pathsep.join(str(DRIVERS / name) for name in ("on_cpu", "in_order"))
EXTRA: tuple[tuple[str, dict[str, Any]], ...] = tuple(
    (name, {"model": "Qwen/Qwen2.5-7B-Instruct", "data": {"train": "a.jsonl", **data}, "hardware": hardware, **more})
    for name, hardware, data, more in (
        (
            "packed",
            "8x A100-80G",
            {"packing": True, "max_length": 8192},
            {"train": {"batch_size": 32}, "targets": {"xtuner": {"packages": {"flash-attn": "2.8.3"}}}},
        ),
        (
            "split",
            "8x H100",
            {"packing": True, "max_length": 32768},
            {"train": {"method": "full", "batch_size": 8}, "strategy": {"sequence_parallel": 4, "attention": "flash"}},
        ),
        (
            "packed-dpo",
            "8x A100-80G",
            {"packing": True},
            {"train": {"task": "dpo"}, "strategy": {"attention": "flash"}},
        ),
        (
            "packed-orpo",
            "8x A100-80G",
            {"packing": True},
            {"train": {"task": "orpo"}, "strategy": {"attention": "flash"}},
        ),
        ("alpaca", "4x A100-80G", {"format": "alpaca"}, {"train": {"optim": {"schedule": "linear", "warmup": 0}}}),
        ("sharegpt", "4x A100-80G", {"format": "sharegpt"}, {"train": {"optim": {"schedule": "constant"}}}),
        ("steps", "4x A100-80G", {}, {"train": {"max_steps": 200}, "run": {"save_every": 50}}),
        (
            "stable-steps",
            "4x A100-80G",
            {"system": "Be {brief}."},
            {
                "train": {"max_steps": 200, "optim": {"schedule": "warmup_stable_decay", "warmup": 20}},
                "run": {"samples": ["hi"], "eval_every": 50, "save_every": "never"},
            },
        ),
        (
            "stable-epochs",
            "4x A100-80G",
            {},
            {"train": {"optim": {"schedule": "warmup_stable_decay", "min_learning_rate": 1e-6}}},
        ),
        (
            "decay-of-some",
            "4x A100-80G",
            {"max_length": 512},
            {
                "model": "Qwen/Qwen2.5-0.5B-Instruct",
                "train": {"method": "full", "optim": {"weight_decay": 0.1}},
                "strategy": {"sharding": "ddp"},
            },
        ),
        ("unclipped", "4x A100-80G", {}, {"train": {"optim": {"max_grad_norm": 0}}, "strategy": {"sharding": "zero2"}}),
        ("rslora", "4x A100-80G", {}, {"train": {"lora": {"variant": "rslora", "targets": "attention"}}}),
        ("dora", "4x A100-80G", {}, {"train": {"lora": {"variant": "dora", "modules_to_save": ["lm_head"]}}}),
        ("int8", "4x A100-80G", {}, {"train": {"method": "qlora", "quantization": {"bits": 8}}}),
        ("wandb", "4x A100-80G", {}, {"run": {"report_to": "wandb", "existing": "resume"}}),
        ("small-optimizer", "4x A100-80G", {}, {"strategy": {"optimizer": "paged_adamw_8bit"}}),
    )
)
REWARDS = tuple(
    (
        "reward-packed" if packing else "reward",
        {
            "model": "meta-llama/Llama-3.1-8B-Instruct",
            "data": {"train": "a.jsonl", "max_length": 1024, "packing": packing},
            "hardware": "8x A100-80G",
            "train": {"task": "reward", "method": "lora"},
            **({"strategy": {"attention": "flash"}} if packing else {}),
        },
    )
    for packing in (False, True)
)


def generated() -> Iterator[tuple[str, dict[str, Any]]]:
    """The specs that XTuner can be asked for: its tasks, methods and families."""
    for name, spec in specs(TASKS):
        train = spec["train"]
        method = "qlora" if train["method"] == "freeze" else train["method"]
        model = "Qwen/Qwen2.5-0.5B-Instruct" if LEFT_OUT.search(spec["model"]) else spec["model"]
        yield name, {**spec, "model": model, "train": {**train, "method": method}}
    yield from EXTRA
    yield from REWARDS


def question(case: Case) -> dict[str, Any]:
    launch = case.compiled.files["launch.sh"]
    asked = re.search(r"--deepspeed (\S+)", launch)
    return {
        "file": "train.py",
        "folder": str(case.folder),
        "deepspeed": asked[1] if asked else "",
        "world_size": case.compiled.plan.strategy.world_size,
    }


def difference(read: Any, planned: Any, path: str = "") -> str:
    """The first place where what was read is not what was planned; references are compared by their last name."""
    if isinstance(planned, Mapping):
        for key, value in planned.items():
            if said := difference(read.get(key, "nothing"), value, f"{path}.{key}"):
                return said
        return ""
    if isinstance(planned, list):
        if len(planned) != len(read):
            return f"{path}: {len(read)} items, planned {len(planned)}"
        return next(
            (
                said
                for number, item in enumerate(planned)
                if (said := difference(read[number], item, f"{path}.{number}"))
            ),
            "",
        )
    if (
        isinstance(planned, str)
        and ":" in planned
        and path.rpartition(".")[2] in xtuner.REFERENCES
        and "torch:" not in planned
    ):
        name = planned.partition(":")[2].removeprefix("PROMPT_TEMPLATE.")
        if isinstance(read, list):
            return "" if name in read else f"{path}: {read!r}, planned {name!r}"
        return "" if str(read).rpartition(".")[2] == name.rpartition(".")[2] else f"{path}: {read!r}, planned {name!r}"
    return "" if read == planned else f"{path}: {read!r}, planned {planned!r}"


def failures(cases: list[Case]) -> dict[str, str]:
    """Every output that is refused, or read otherwise than planned."""
    verdicts = judge("xtuner_driver", ENVIRONMENT, [question(case) for case in cases])
    answers = {}
    for case, verdict in zip(cases, verdicts, strict=True):
        if not verdict["accepted"]:
            answers[case.name] = verdict["reason"]
            continue
        planned = native(xtuner.KEYS, case.compiled.plan).data
        for placed in ("data_files", "train_dataset.dataset", "train_dataloader.dataset"):
            folder, _, name = placed.rpartition(".")
            (planned[folder] if folder else planned).pop(name, None)
        if said := difference(verdict["facts"]["config"], planned) or _json(verdict["facts"]["deepspeed"], case):
            answers[case.name] = said
    return answers


def _json(read: dict[str, Any] | None, case: Case) -> str:
    """DeepSpeed's part: stage, offload and format, whether in a shipped file or in ours."""
    strategy = case.compiled.plan.strategy
    if (read is not None) != strategy.deepspeed:
        return "DeepSpeed is used where it was not planned, or the other way round"
    if read is None:
        return ""
    zero = read["zero_optimization"]
    for field, native_key in (("offload_optimizer", "offload_optimizer"), ("offload_parameters", "offload_param")):
        if zero.get(native_key, {}).get("device", "none") != getattr(strategy, field):
            return f"{native_key} is {zero.get(native_key)}"
    if zero["stage"] != strategy.zero_stage:
        return f"stage is {zero['stage']}"
    best = "bf16" if case.compiled.plan.problem.hardware.gpu.bf16 else "fp16"
    enabled = [name for name in ("bf16", "fp16") if read.get(name, {}).get("enabled") in (True, "auto")]
    chosen = [best] if len(enabled) == 2 else enabled
    return (
        "" if chosen == [strategy.precision] or (strategy.precision == "fp32" and not chosen) else f"trains in {chosen}"
    )


@pytest.mark.framework
def test_generated_specs_are_accepted(tmp_path: Path) -> None:
    cases, too_big = compile_all(generated(), "xtuner", tmp_path)
    assert len(cases) >= ENOUGH, too_big
    assert failures(cases) == {}


@pytest.mark.framework
def test_examples_are_accepted(tmp_path: Path) -> None:
    cases, too_big = compile_all(examples("xtuner"), "xtuner", tmp_path)
    assert too_big == {}
    assert failures(cases) == {}


@pytest.mark.framework
def test_the_judge_can_say_no(tmp_path: Path) -> None:
    [case], _ = compile_all([REWARDS[0]], "xtuner", tmp_path)
    good = (case.folder / "train.py").read_text(encoding="utf-8")
    changes = {
        "lora_alpha=": "lora_alfa=",
        "use_activation_checkpointing=": "gradient_checkpointing=",
        "import RewardModel": "import RewardModels as RewardModel",
        "max_keep_ckpts=": "save_total_limit=",
        "num_workers=": "dataloader_num_workers=",
        "accumulative_counts=accumulative_counts": "gradient_accumulation_steps=accumulative_counts",
        "end=0.09": "end=0.0001",
        "use_varlen_attn = False": "use_varlen_attn = True",
    }
    questions = []
    for number, (old, new) in enumerate(changes.items()):
        assert old in good, old
        (case.folder / f"{number}.py").write_text(good.replace(old, new, 1), encoding="utf-8")
        questions.append({**question(case), "file": f"{number}.py"})
    verdicts = judge("xtuner_driver", ENVIRONMENT, questions)
    assert [change for change, verdict in zip(changes, verdicts, strict=True) if verdict["accepted"]] == []


@pytest.mark.framework
@pytest.mark.parametrize("form", ["sharegpt", "alpaca"])
def test_two_real_steps(form: str, tmp_path: Path) -> None:
    """What no drawn run has (tests/conformance/starts): other rows, a system prompt, answers while it trains."""
    where = environment(ENVIRONMENT)
    model = make_model(tmp_path / "tiny", where)
    told = model / "tokenizer_config.json"  # XTuner knows by the class that Qwen2 begins texts with nothing
    told.write_text(re.sub(r'("tokenizer_class": )"\w+"', r'\1"Qwen2TokenizerFast"', told.read_text(encoding="utf-8")))
    asked = {"samples": ["one and one is"], "eval_every": 1} if form == "alpaca" else {}
    spec = {
        "model": {"id": "./tiny", "config": "tiny/config.json"},
        "hardware": {"gpu": "A100-80G", "host_memory": "64GiB"},
        "data": {
            "train": make_data(tmp_path)[form].name,
            "format": form,
            "max_length": 128,
            "template": "qwen_chat",
            "system": "Be {brief}.",
        },
        "train": {"task": "sft", "method": "lora", "batch_size": 4, "max_steps": 2},
        "strategy": {"sharding": "zero2", "micro_batch": 2},
        "run": {"save_every": 1, "log_every": 1, **asked},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(spec), encoding="utf-8")
    [case], _ = compile_all([("run", tmp_path / "run.yaml")], "xtuner", tmp_path)
    done = where.run(
        ["bash", "launch.sh", "--cfg-options", "env_cfg.dist_cfg.backend=gloo"],
        env={"PYTHONPATH": ON_CPU},
        cwd=case.folder,
        timeout=900,
    )
    losses = [float(loss) for loss in re.findall(r" loss: ([0-9.]+|nan)", done.stdout + done.stderr)]
    assert len(losses) == 2
    assert all(loss > 0 for loss in losses)
    assert (case.folder / "output" / "last_checkpoint").is_file()
    assert ("Sample output:" in done.stdout + done.stderr) == bool(asked)


@pytest.mark.framework
def test_a_run_that_fails_is_seen(tmp_path: Path) -> None:
    """`xtuner train` would exit with 0 here."""
    [case], _ = compile_all([REWARDS[0]], "xtuner", tmp_path)
    done = environment(ENVIRONMENT).run(
        ["bash", "launch.sh"], env={"NPROC_PER_NODE": "1"}, cwd=case.folder, timeout=600, check=False
    )
    assert done.returncode != 0
