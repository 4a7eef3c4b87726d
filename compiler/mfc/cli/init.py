"""`mfc init`: a first spec, from the machine, from options, or from a few questions."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mfc import target
from mfc.cli import options, streams
from mfc.fields import BY_NAME
from mfc.machine import Machine, drafting, look

METHODS, TASKS = ("auto", *BY_NAME["method"].values), BY_NAME["task"].values


@click.command()
@click.option("--model", metavar="ID", help="Hub id or folder of the model.")
@click.option("--data", metavar="PATH", help="Rows to train on (default: data/train.jsonl).")
@click.option("--method", type=click.Choice(METHODS), help="What trains (default: auto, the most faithful that fits).")
@click.option("--task", type=click.Choice(TASKS), help="What is learned (default: sft).")
@click.option("--gpu", metavar="NAME", help="A GPU other than those here: 'RTX 4090'. See mfc gpus.")
@click.option("--count", type=click.IntRange(min=1), help="How many GPUs (default: all that are alike and free).")
@options.targets
@click.option(
    "-o", "--out", metavar="SPEC", default="spec.yaml", show_default=True, help="Where to write; - prints it."
)
def command(
    model: str | None,
    data: str | None,
    method: str | None,
    task: str | None,
    gpu: str | None,
    count: int | None,
    targets: tuple[str, ...],
    out: str,
) -> int:
    """Write a first spec with comments: what this machine has, or what --gpu and --count say.

    On a terminal it asks for the model, the data and the method where no option says them.
    """
    machine = look()
    asked = _asked(model, data, method, task)
    wishes = drafting.Wishes(*asked, gpu=gpu, gpu_count=count, targets=targets)
    cards = drafting.cards_for(machine, wishes)
    text = drafting.spec(machine, cards, wishes, _targets(wishes, machine))
    if out == "-":
        streams.exact(text)
        return 0
    options.write_new(Path(out), text, "-o")
    for note in (*cards.notes, *machine.notes):
        print(f"note: {note}", file=sys.stderr)
    print(f"wrote {out}: {cards.gpu_count} x {cards.gpu.name}. Next: mfc data {out}, mfc plan {out}")
    return 0


def _asked(model: str | None, data: str | None, method: str | None, task: str | None) -> tuple[str, str, str, str]:
    """What the options say, and answers for what they do not; without a terminal the defaults."""
    if not sys.stdin.isatty():
        if model is None:
            raise click.UsageError("nobody is there to ask: name the model, --model Qwen/Qwen2.5-7B-Instruct")
        return model, data or "data/train.jsonl", method or "auto", task or "sft"
    return (
        model or click.prompt("Model (hub id or folder)"),
        data or click.prompt("Rows to train on", default="data/train.jsonl"),
        method or click.prompt("Method", type=click.Choice(METHODS), default="auto"),
        task or click.prompt("Task", type=click.Choice(TASKS), default="sft"),
    )


def _targets(wishes: drafting.Wishes, machine: Machine) -> list[target.Target]:
    """Those that are named, else those installed, else the most used."""
    if wishes.targets:
        return [target.get(name) for name in wishes.targets]
    common = [target.get(name) for name in target.commonest()]
    return drafting.installed(machine, common) or common[:1]
