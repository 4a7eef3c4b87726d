"""The tables of docs/choosing.md are made from the targets' profiles and from tries.

Run as a program (`python -m tests.targets.test_choosing`), this writes them anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mfc import api
from mfc.errors import CannotExpress
from mfc.fields import ANYTHING, BY_NAME, NEUTRAL
from mfc.profile import Profile
from mfc.target import Target, get, names

from tests.targets.cases import over_base

ROOT = Path(__file__).parent.parent.parent
DOC = ROOT / "docs" / "choosing.md"
BLOCK = re.compile(r"(<!-- made: python -m tests.targets.test_choosing -->\n)(.*)(<!-- end -->)", re.DOTALL)
YES, NO = "✓", ""


class Row(NamedTuple):
    """What a user asks, and the values of a field that answer it; none named: any that plain training has not.

    A cell of several values is a yes for all of them, or names those that there are.
    """

    asked: str
    field: str
    values: tuple[Any, ...] = ()


class Try(NamedTuple):
    """What a user asks, and what says so over a spec that the target takes."""

    asked: str
    over: Mapping[str, Any]


def row(asked: str, field: str, *values: Any) -> Row:
    return Row(asked, field, values)


def every(asked: str, field: str) -> Row:
    """All values of a field that are more than nothing."""
    values = [value for value in BY_NAME[field].values if value != "none"]
    return Row(f"{asked}: {', '.join(values)}", field, tuple(values))


_SETS = [{"path": "data/a.jsonl"}, {"path": "data/b.jsonl"}]
_PHOTOS = [{"path": "data/a.jsonl", "format": "messages", "columns": {"images": "images"}}]
TABLES: Mapping[str, tuple[Row | Try, ...]] = {
    "Tasks": (
        row("pretraining, and going on with it", "task", "pretrain"),
        row("supervised fine-tuning", "task", "sft"),
        row("DPO", "task", "dpo"),
        row("KTO", "task", "kto"),
        row("ORPO", "task", "orpo"),
        row("SimPO", "task", "simpo"),
        row("reward models", "task", "reward"),
        row("PPO", "task", "ppo"),
        row("GRPO", "task", "grpo"),
        row("distillation from a teacher", "task", "distill"),
        row("GRPO: vLLM on the GPUs that train", "grpo_rollout", "colocate"),
        row("GRPO: vLLM on GPUs of its own", "grpo_rollout", "server"),
        row("GRPO: the trainer itself generates", "grpo_rollout", "native"),
        every("GRPO: forms of its loss", "loss_type"),
    ),
    "Methods": (
        row("all weights", "method", "full"),
        row("LoRA", "method", "lora"),
        row("QLoRA", "method", "qlora"),
        row("the last or first layers alone", "method", "freeze"),
        row("forms of LoRA: rslora, dora", "lora_variant", "rslora", "dora"),
        row("4 bits by bitsandbytes: nf4, fp4", "quantization", "nf4", "fp4"),
        row("8 bits by bitsandbytes", "quantization", "int8"),
        row("quantised by others as it loads: hqq, eetq", "quantization", "hqq", "eetq"),
        row("quantised before: gptq, awq, aqlm, bnb", "quantization", "gptq", "awq", "aqlm", "bnb"),
        row("mixed bf16", "precision", "bf16"),
        row("bf16 for everything", "precision", "pure_bf16"),
        row("fp16", "precision", "fp16"),
        row("8-bit Adam", "optimizer", "adamw_8bit"),
        row("paged Adam, in 32 bits and in 8", "optimizer", "paged_adamw", "paged_adamw_8bit"),
        row("other optimizers: adafactor, lion, sgd", "optimizer", "adafactor", "lion", "sgd"),
        row("low-rank and block-wise: galore, apollo, badam", "optimizer", "galore", "apollo", "badam"),
        Try("goes on from an adapter", {"model": {"adapter": "old"}, "train": {"method": "lora"}}),
        Try("a revision of the model", {"model": {"revision": "v1"}}),
    ),
    "What makes it fit": (
        row("gradient checkpointing", "gradient_checkpointing", True),
        row("ZeRO: zero1, zero2, zero3", "sharding", "zero1", "zero2", "zero3"),
        row("FSDP: fsdp (the first), fsdp2", "sharding", "fsdp", "fsdp2"),
        row("optimizer in host memory", "offload_optimizer", "cpu"),
        row("weights in host memory", "offload_parameters", "cpu"),
        row("optimizer on NVMe", "offload_optimizer", "nvme"),
        row("weights on NVMe", "offload_parameters", "nvme"),
        row("activations in host memory", "offload_activations", "cpu"),
        row("a sequence split over GPUs", "sequence_parallel"),
        row("a loss that never holds all logits", "loss", "fused"),
        row("MLPs in tiles of the sequence", "mlp", "tiled"),
        row("attention: sdpa, flash, flash3, eager", "attention", "sdpa", "flash", "flash3", "eager"),
    ),
    "Data": (
        row("several samples in a row (packing)", "packing", True),
        row("a system prompt from the spec", "system"),
        row("long samples are left out", "overlong", "drop"),
        every("said of a data set", "data_options"),
        Try("a data set on a hub", {"data": {"path": None, "train": [{"hub": "owner/name"}]}}),
        Try("several data sets", {"data": {"path": None, "train": _SETS}}),
        Try("mixed by weight", {"data": {"path": None, "train": [{**_SETS[0], "weight": 2}, _SETS[1]]}}),
        Try("evaluation on a share of the data", {"data": {"eval": "2%"}}),
        Try("evaluation on a file", {"data": {"eval": "data/dev.jsonl"}}),
        Try(
            "images (Qwen2.5-VL)",
            {
                "model": "Qwen/Qwen2.5-VL-7B-Instruct",
                "hardware": {"gpu": "A100-80G", "count": 8},
                "data": {"path": None, "max_length": 4096, "train": _PHOTOS, "image": {"max_pixels": 262144}},
            },
        ),
        row("videos", "image_frames"),
        row("the tower or projector trains whole beside adapters", "whole_parts"),
        row("a learning rate of their own", "vision_learning_rate"),
    ),
    "The run": (
        Try("several GPUs", {"hardware": {"count": 4}, "train": {"batch_size": "auto"}}),
        Try(
            "several machines",
            {
                "hardware": {"count": 8, "nodes": 2, "interconnect": {"inter": "100Gbps"}},
                "train": {"batch_size": "auto"},
            },
        ),
        *(Try(f"as a job of {engine}", {"run": {"launcher": engine}}) for engine in ("slurm", "ray")),
        *(
            Try(f"as a job of {engine}", {"run": {"launcher": {"engine": engine, "image": "a:1", **more}}})
            for engine, more in (("skypilot", {}), ("kubeflow", {"volume": "claim"}))
        ),
        every("schedules", "schedule"),
        every("where a run is there already", "existing"),
        every("reports to", "report_to"),
        row("answers of the model as it trains", "samples"),
        row("models from ModelScope", "hub", "modelscope"),
        row("on Ascend NPUs", "vendor", "huawei"),
    ),
}
# What a target is asked for besides: details of what stands in the tables.
DETAILS = {
    "blank_pictures",
    "blank_pictures_deepspeed",
    "critic",
    "packing_attention",
    "packing_task",
    "ppo_rollout",
    "preference_loss",
    "projector_learning_rate",
    "sink_attention",
}


def shipped() -> list[Target]:
    """The targets that lie here, the commonest first."""
    ours = [target for target in map(get, names()) if target.folder.parent.name == "targets"]
    return sorted(ours, key=lambda target: (not target.TURN, target.TURN, target.NAME))


def profile(target: Target) -> Profile:
    return target.profile(target.VERSIONS[0], {})


def able(can: tuple[Any, ...], one: Row) -> str:
    """What a target can of a row: yes or nothing, or which of several values."""
    if not one.values:
        plain = BY_NAME[one.field].neutral or ()
        return YES if can is ANYTHING or any(value not in plain for value in can) else NO
    known = [str(value) for value in one.values if value in can]
    return YES if len(known) == len(one.values) else ", ".join(known)


def planned(target: Target, over: Mapping[str, Any]) -> str:
    """Whether the target can say what lies over a spec that it takes."""
    spec, base = over_base(target.NAME, over), over_base(target.NAME, {})["model"]
    if isinstance(over.get("model"), Mapping):
        spec["model"] = {**({"id": base} if isinstance(base, str) else base), **over["model"]}
    try:
        api.plan({**spec, "targets": [target.NAME]}, target.NAME, hub_cache=False)
    except CannotExpress:
        return NO
    return YES


def cells(one: Row | Try) -> list[str]:
    if isinstance(one, Try):
        return [planned(target, one.over) for target in shipped()]
    return [able(profile(target).can(one.field), one) for target in shipped()]


def lines() -> Iterator[str]:
    targets = shipped()
    for title, rows in TABLES.items():
        yield f"### {title}\n"
        yield f"| | {' | '.join(target.NAME for target in targets)} |"
        yield "|---|" + ":-:|" * len(targets)
        yield from (f"| {one.asked} | {' | '.join(cells(one))} |" for one in rows)
        yield ""
    yield "### What the targets say of it\n"
    for target in targets:
        said = profile(target)
        remarks = [f"{name.replace('_', ' ')}: {note}" for name, note in said.notes.items()]
        if said.always:
            always = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in said.always.items())
            remarks.append(f"always: {always}")
        yield f"- **{target.NAME}**, {target.TITLE} {', '.join(target.VERSIONS)}" + "".join(
            f"\n    - {remark}" for remark in remarks
        )


def rewritten(text: str) -> str:
    made = "\n".join(lines())
    return BLOCK.sub(lambda found: f"{found[1]}\n{made}\n\n{found[3]}", text)


def test_the_tables_are_up_to_date() -> None:
    text = DOC.read_text(encoding="utf-8")
    assert BLOCK.search(text)
    assert text == rewritten(text), "run: python -m tests.targets.test_choosing"


@pytest.mark.parametrize("name", NEUTRAL)
def test_every_value_has_a_row(name: str) -> None:
    rows = [one for some in TABLES.values() for one in some if isinstance(one, Row) and one.field == name]
    assert bool(rows) != (name in DETAILS)
    if name in DETAILS or any(not one.values for one in rows):
        return
    shown = {value for one in rows for value in one.values}
    known = {value for target in shipped() for value in profile(target).can(name)}
    assert known - shown <= {*NEUTRAL[name], "none"}


if __name__ == "__main__":
    DOC.write_text(rewritten(DOC.read_text(encoding="utf-8")), encoding="utf-8")
