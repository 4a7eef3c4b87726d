"""What mfc writes for GLM-4's fine-tuning demo is accepted by the real script, which then trains with it.

The demo is on no package index: MFC_GLM4 names a clone of github.com/THUDM/GLM-4 (bare or not, with its history), of
which each form is taken at its commit. Without it these tests are skipped; the contracts hold the files always.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc.planner.plan import Plan
from mfc.targets.glm4.forms import FORMS
from mfc.targets.glm4.keys import OPTIMIZERS

from tests.conformance.contracts import contract_file
from tests.conformance.environments import environment
from tests.conformance.judging import REPOSITORY, Case, compile_all, differences, examples, judge
from tests.conformance.tiny import DRIVERS
from tests.targets.cases import case, good, over_base

CLONE = os.environ.get("MFC_GLM4", "")
pytestmark = [
    pytest.mark.framework,
    pytest.mark.skipif(not CLONE, reason="MFC_GLM4 names no clone of github.com/THUDM/GLM-4"),
]
DATES = {"2025.04": "2025-07-04", "2024.12": "2025-02-21", "2024.07": "2024-07-17"}
# Where transformers and PEFT are those of a form, and where its script can be imported.
EXTRACTED_IN = {"2025.04": "glm4-2025.04", "2024.12": "xtuner-0.2.0", "2024.07": "glm4-2024.07"}
JUDGED_IN = {**EXTRACTED_IN, "2024.12": "glm4-2025.04"}


def git(*args: str) -> bytes:
    return subprocess.run(["git", "-C", CLONE, *args], capture_output=True, check=True).stdout


def checkout(version: str, into: Path) -> Path:
    """One form of the demo, as a checkout of its commit."""
    form = FORMS[version]
    with tarfile.open(fileobj=io.BytesIO(git("archive", form.commit, form.folder))) as archive:
        archive.extractall(into, filter="data")
    return into


@pytest.mark.parametrize("version", FORMS)
def test_contract_is_what_the_script_says(version: str) -> None:
    form = FORMS[version]
    script = REPOSITORY / "targets" / "glm4" / "contract" / "extract.py"
    asked: list[str | Path] = ["python", script, CLONE, form.commit, form.folder, DATES[version]]
    made = environment(EXTRACTED_IN[version]).run(asked).stdout
    assert contract_file(f"glm4-{version}").read_text(encoding="utf-8") == made


def planned(plan: Plan) -> dict[str, Any]:
    """What the script has to read back, said in its words."""
    strategy, lora = plan.strategy, plan.strategy.lora
    evaluates = plan.problem.spec.data.eval not in (None, "none")
    facts = {
        "rows": strategy.max_length,
        "answers": (strategy.max_length - 1) // 2,
        "evaluates": evaluates,
        "generates": evaluates,
        "bf16": True,
        "fp16": False,
        "gradient_checkpointing": strategy.gradient_checkpointing,
        "remove_unused_columns": False,
        "per_device_train_batch_size": strategy.micro_batch,
        "gradient_accumulation_steps": strategy.gradient_accumulation,
        "world_size": strategy.world_size,
        "learning_rate": plan.values["learning_rate"],
        "lr_scheduler_type": plan.values["schedule"],
        "optim": OPTIMIZERS[strategy.optimizer],
        "seed": plan.values["seed"],
        "adapter": "LoraConfig" if lora else "NoneType",
        "zero_stage": strategy.zero_stage,
        "offload_optimizer": strategy.offload_optimizer,
        "offload_parameters": strategy.offload_parameters,
    }
    return facts | ({"r": lora.rank, "lora_alpha": lora.alpha} if lora else {})


def verdicts(cases: list[Case], version: str, folder: Path) -> list[dict[str, Any]]:
    script = checkout(version, folder / version) / FORMS[version].folder / "finetune.py"
    questions = [
        {"folder": str(one.folder), "script": str(script), "world_size": one.compiled.plan.strategy.world_size}
        for one in cases
    ]
    return judge("glm4_driver", JUDGED_IN[version], questions)


@pytest.mark.parametrize("version", FORMS)
def test_cases_and_examples_are_accepted(version: str, tmp_path: Path) -> None:
    specs: list[tuple[str, Any]] = [(name, over_base("glm4", case("glm4", name)["spec"])) for name in good("glm4")]
    cases, too_big = compile_all([*specs, *examples("glm4")], "glm4", tmp_path / "compiled")
    assert too_big == {}
    ours = [one for one in cases if one.compiled.plan.profile.version == version]
    assert ours
    wrong = {}
    for one, verdict in zip(ours, verdicts(ours, version, tmp_path), strict=True):
        if not verdict["accepted"]:
            wrong[one.name] = verdict["reason"]
        elif said := differences(verdict["facts"], planned(one.compiled.plan)):
            wrong[one.name] = said
    assert wrong == {}


def test_the_judge_can_say_no(tmp_path: Path) -> None:
    [one], _ = compile_all([("good", over_base("glm4", {}))], "glm4", tmp_path / "compiled")
    text = (one.folder / "train.yaml").read_text(encoding="utf-8")
    changes = {
        "combine: false": "# combine",
        "freezeV: true": "freezeV: true\nmax_token: 1024",
        "  num_proc:": "  num_procs:",
        "  optim: ": "  optim: adamw_tensor # ",
        "  learning_rate: ": "  evaluation_strategy: epoch\n  learning_rate: ",
        "  generation_config:\n": "  generation_configs:\n",
        "  task_type:": "  task_types:",
        "train_file: train.jsonl": "train_file: train.json",
    }
    cases = []
    for number, (old, new) in enumerate(changes.items()):
        assert old in text, old
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "train.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
        cases.append(Case(str(number), one.compiled, folder))
    said = verdicts(cases, "2025.04", tmp_path)
    assert [change for change, verdict in zip(changes, said, strict=True) if verdict["accepted"]] == []


RUNS: dict[str, dict[str, Any]] = {
    "lora": {"strategy": {"sharding": "ddp"}},
    "full-zero3": {"hardware": {"count": 2}, "train": {"method": "full"}, "strategy": {"sharding": "zero3"}},
}


@pytest.mark.parametrize("name", RUNS)
def test_two_real_steps(name: str, tmp_path: Path) -> None:
    """The compiled folder's own launcher starts the real script, on the CPU."""
    where, run = environment("glm4-2025.04"), RUNS[name]
    where.run(["python", DRIVERS / "make_glm4.py", tmp_path / "tiny"])
    turns = [{"role": "user", "content": "one and one is"}, {"role": "assistant", "content": "two"}]
    row = json.dumps({"messages": turns})
    for file, number in (("train.jsonl", 8), ("dev.jsonl", 2)):
        (tmp_path / file).write_text(f"{row}\n" * number, encoding="utf-8")
    spec = {
        "model": {"id": "./tiny", "config": "tiny/config.json"},
        "hardware": {"gpu": "RTX 3090", "host_memory": "64GiB", "cpu_cores": 2, **run.get("hardware", {})},
        "data": {"train": "train.jsonl", "max_length": 65, **run.get("data", {})},
        "train": {"batch_size": 2, "max_steps": 2, **run.get("train", {})},
        "strategy": {"micro_batch": 1, "gradient_checkpointing": True, **run["strategy"]},
        "run": {"save_every": 2, "log_every": 1},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    [one], _ = compile_all([("run", tmp_path / "run.yaml")], "glm4", tmp_path)
    repository = checkout("2025.04", tmp_path / "checkout")
    on_cpu = {"PYTHONPATH": os.pathsep.join(str(DRIVERS / name) for name in ("trainer_on_cpu", "in_order"))}
    done = where.run(["bash", "launch.sh", repository], env=on_cpu, cwd=one.folder, timeout=900)
    losses = [float(loss) for loss in re.findall(r"'loss': '?([0-9.e+-]+|nan)", done.stdout + done.stderr)]
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)
    assert ("eval_rouge-1" in done.stdout) == ("eval" in run.get("data", {}))
    assert (one.folder / "output" / "checkpoint-2").is_dir()
