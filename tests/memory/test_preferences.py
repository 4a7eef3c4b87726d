"""Preference losses, against what the frameworks' own trainers hold (counted by benchmarks.count.preferences)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mfc.catalog import hf_config
from mfc.memory import Prepared, Run, Stack, predict, prepare
from mfc.memory.overhead import workspace_bytes
from mfc.strategy import Lora, Strategy
from mfc.targets import llamafactory, ms_swift, xtuner

COUNTED = json.loads((Path(__file__).parent / "data" / "preferences.json").read_text(encoding="utf-8"))
MODEL = hf_config.read(COUNTED["model"]).architecture
TARGETS = {
    "llamafactory": (llamafactory, "llamafactory"),
    "swift": (ms_swift, "ms-swift"),
    "xtuner": (xtuner, "xtuner"),
}
ROWS = [(run["versions"], {"framework": run["framework"], **row}) for run in COUNTED["runs"] for row in run["rows"]]
AFTER = ("backward", "layers")


def stack_of(versions: dict[str, str], framework: str) -> Stack:
    if framework == "trl":
        return Stack()
    target, package = TARGETS[framework]
    found: Stack = target.profile(versions[package], {"transformers": versions["transformers"]}).stack
    return found


def name_of(versions: dict[str, str], row: dict[str, Any]) -> str:
    version = versions[TARGETS[row["framework"]][1] if row["framework"] in TARGETS else "trl"]
    form = "amp" if row["autocast"] else "16bit"
    saved = "" if row["checkpointing"] else "-saved"
    return f"{row['framework']}-{version}-{row['task']}-{'lora' if row['lora'] else 'full'}-{form}{saved}"


def strategy_of(row: dict[str, Any]) -> Strategy:
    """The counted runs have bf16 bases under adapters, and fp32 ones under autocast where they train."""
    return Strategy(
        task=row["task"],
        method="lora" if row["lora"] else "full",
        precision="bf16" if row["autocast"] else "pure_bf16",
        sharding="ddp",
        world_size=1,
        max_length=COUNTED["length"],
        micro_batch=COUNTED["sequences"] // (1 if row["task"] == "kto" else 2),
        gradient_accumulation=1,
        gradient_checkpointing=row["checkpointing"],
        attention="flash",
        loss="plain",
        optimizer="adamw",
        lora=Lora(8, 16.0) if row["lora"] else None,
        reference_model=not row["lora"] and row["task"] in ("dpo", "kto"),
    )


def moments(prepared: Prepared) -> Iterator[tuple[str, float]]:
    """(phase, bytes beside weights and optimizer) of all phases but the optimizer's."""
    batch = prepared.run.strategy.micro_batch
    resident = prepared.placement.weights + prepared.placement.optimizer + prepared.placement.buffers
    for phase, (fixed, slope) in zip(prepared.phases, prepared.tensors, strict=True):
        if phase.where != "optimizer":
            yield phase.name, fixed + slope * batch - resident - workspace_bytes(None)


@pytest.mark.parametrize(("versions", "row"), ROWS, ids=[name_of(*row) for row in ROWS])
def test_peaks_are_those_of_the_trainers(versions: dict[str, str], row: dict[str, Any]) -> None:
    stack = stack_of(versions, row["framework"])._replace(
        trainable_fp32=row["autocast"], frozen_fp32=False, expands_kv=False, wraps_one_gpu=False
    )
    found = dict(moments(prepare(Run(MODEL, strategy_of(row), None, 1, stack), every=True)))
    counted = row["peaks"]
    assert max(found.values()) == pytest.approx(max(counted.values()), rel=0.02)
    if "reference forward" in counted:
        reference = max(size for phase, size in counted.items() if phase.startswith("reference"))
        assert found["reference"] == pytest.approx(reference, rel=0.02)
    else:
        assert "reference" not in found
    backward = max(counted[phase] for phase in AFTER if phase in counted)
    assert max(size for name, size in found.items() if name not in ("reference", "loss forward")) == pytest.approx(
        backward, rel=0.02
    )


@pytest.mark.parametrize("row", [row for _, row in ROWS if row["framework"] == "xtuner" and row["task"] == "orpo"])
def test_a_model_given_labels_makes_the_loss_of_sft(row: dict[str, Any]) -> None:
    stack = xtuner.profile("0.2.0", {}).stack._replace(
        trainable_fp32=row["autocast"], frozen_fp32=False, expands_kv=False, wraps_one_gpu=False
    )
    strategy = strategy_of(row)._replace(task="sft", micro_batch=COUNTED["sequences"])
    found = dict(moments(prepare(Run(MODEL, strategy, None, 1, stack))))
    assert found["loss forward"] == pytest.approx(row["peaks"]["policy forward"], rel=0.02)


def test_adapters_switched_off_are_a_reference_too() -> None:
    run = next(row for _, row in ROWS if row["task"] == "dpo" and row["lora"])
    made = predict(Run(MODEL, strategy_of(run), None, 1, Stack()))
    assert "reference" in made.moments


@pytest.mark.parametrize("task", ["sft", "orpo", "simpo", "reward"])
def test_other_tasks_have_no_reference(task: Any) -> None:
    run = next(row for _, row in ROWS if row["task"] == "dpo")
    made = predict(Run(MODEL, strategy_of(run)._replace(task=task, reference_model=False), None, 1, Stack()))
    assert "reference" not in made.moments


def test_a_fused_loss_makes_no_whole_logits() -> None:
    run = next(row for _, row in ROWS if row["task"] == "dpo" and row["lora"])
    fused = prepare(Run(MODEL, strategy_of(run)._replace(loss="fused"), None, 1, Stack()), every=True)
    assert not any(phase.logits for phase in fused.phases)
